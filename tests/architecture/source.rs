//! Reads Rust just well enough to see which modules and crates a file names, and what its strings are.

use std::path::Path;

/// A path into this crate, such as `crate::domain::Offset`.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    /// Counted from 1.
    pub line: usize,
    /// Its beginning, from the crate root.
    pub path: Vec<String>,
}

/// A word, `::`, or another character.
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Every `.rs` file under a folder: its path from `root`, and its text.
pub fn tree(root: &Path, folder: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(root.join(folder)).expect("a folder of the repository");
    entries
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a name in ASCII"))
        .flat_map(|name| {
            let path = format!("{folder}/{name}");
            if root.join(&path).is_dir() {
                return tree(root, &path);
            }
            if !name.ends_with(".rs") {
                return vec![];
            }
            let text = std::fs::read_to_string(root.join(&path)).expect("a readable file");
            vec![(path, text)]
        })
        .collect()
}

/// Every word that a path can begin with, and its line.
pub fn roots(text: &str) -> Vec<(usize, String)> {
    let tokens = tokens(text);
    let begins = |index: usize| match index.checked_sub(1).map(|before| tokens[before].text) {
        Some(".") => false,
        // `::fred` names a crate, `x::fred` does not.
        Some("::") => index < 2 || !is_word(tokens[index - 2].text) || tokens[index - 2].text == "use",
        _ => true,
    };
    let words = (0..tokens.len()).filter(|index| is_word(tokens[*index].text) && begins(*index));
    words.map(|index| (tokens[index].line, tokens[index].text.to_owned())).collect()
}

/// Every path into this crate that a file of the given module names.
pub fn references(module: &[&str], text: &str) -> Vec<Reference> {
    let tokens = tokens(text);
    // The inline module at each open brace, if it opens one.
    let mut braces: Vec<Option<&str>> = vec![];
    let mut found = vec![];
    let mut index = 0;
    while index < tokens.len() {
        match tokens[index].text {
            "{" => braces.push((index >= 2 && tokens[index - 2].text == "mod").then(|| tokens[index - 1].text)),
            "}" => drop(braces.pop()),
            "crate" | "super" | "self" if index == 0 || tokens[index - 1].text != "::" => {
                let inline = braces.iter().flatten().copied();
                let here: Vec<String> = module.iter().copied().chain(inline).map(Into::into).collect();
                index = walk(&tokens, index, here, &mut found);
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    found
}

/// Every string of a text, with its quotes; characters too.
pub fn strings(text: &str) -> Vec<&str> {
    let (mut strings, mut rest) = (vec![], text);
    while !rest.is_empty() {
        let (token, after) = rest.split_at(next(rest).0);
        if string(rest).is_some() {
            strings.push(token);
        }
        rest = after;
    }
    strings
}

/// Follows a path, or a tree of paths in braces, from the module `at`; returns the index after it.
fn walk(tokens: &[Token<'_>], mut index: usize, mut at: Vec<String>, found: &mut Vec<Reference>) -> usize {
    let line = tokens[index].line;
    loop {
        let Some(token) = tokens.get(index) else { return index };
        match token.text {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            "self" | "*" => {}
            "{" => return walk_branches(tokens, index, &at, found),
            word => at.push(word.to_owned()),
        }
        index += 1;
        if tokens.get(index).is_none_or(|token| token.text != "::") {
            break;
        }
        index += 1;
    }
    found.push(Reference { line, path: at });
    index
}

fn walk_branches(tokens: &[Token<'_>], open: usize, at: &[String], found: &mut Vec<Reference>) -> usize {
    let mut index = open + 1;
    while let Some(token) = tokens.get(index) {
        match token.text {
            "}" => return index + 1,
            "as" => index += 2,
            word if is_word(word) || word == "{" || word == "*" => index = walk(tokens, index, at.to_vec(), found),
            _ => index += 1,
        }
    }
    index
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Takes a text apart, without comments, strings and characters.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest, mut line) = (vec![], text, 1);
    while !rest.is_empty() {
        let (length, keep) = next(rest);
        let (token, after) = rest.split_at(length);
        if keep {
            tokens.push(Token { text: token, line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of what `rest` begins with, and whether it is a token.
fn next(rest: &str) -> (usize, bool) {
    let first = rest.chars().next().map_or(1, char::len_utf8);
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (comment(rest), false);
    }
    if let Some(length) = string(rest) {
        return (length, false);
    }
    if rest.starts_with("::") {
        return (2, true);
    }
    if is_word(rest) {
        return (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true);
    }
    (first, !rest.starts_with(char::is_whitespace))
}

/// The length of a block comment, which may hold others.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        match &rest.as_bytes()[at..] {
            [] => return at,
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The length of a string, a raw string or a character; `None` if `rest` begins with none.
fn string(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !"bcr".contains(c)).filter(|prefix| *prefix <= 2)?;
    let body = &rest[prefix..];
    if rest[..prefix].contains('r') {
        let hashes = body.find(|c| c != '#')?;
        let end = format!("\"{}", &body[..hashes]);
        let content = body[hashes..].strip_prefix('"')?;
        return Some(prefix + hashes + 1 + content.find(&end).map_or(content.len(), |at| at + end.len()));
    }
    let quote = body.chars().next().filter(|c| "\"'".contains(*c))?;
    // A lifetime is no character: 'a but not 'a'.
    if quote == '\'' && !body.starts_with("'\\") && body.chars().nth(2) != Some('\'') {
        return None;
    }
    let mut escaped = false;
    let end = body.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(rest.len(), |(at, _)| prefix + at + 1))
}
