//! The rules of the source tree that the compiler does not know; each has a test that shows a breach.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]
#![expect(unreachable_pub, reason = "nothing is reached from outside a test binary")]

use std::{collections::HashSet, path::Path};

#[path = "architecture/source.rs"]
mod source;

use source::{Reference, references, tree};

/// Each module's rank; a module imports only from lower ranks.
const RANKS: [(&str, u32); 13] = [
    ("domain", 0),
    ("shutdown", 0),
    ("telemetry", 0),
    ("config", 1),
    ("store", 2),
    ("notify", 2),
    ("auth", 3),
    ("broker", 4),
    ("grpc", 5),
    ("server", 6),
    ("cli", 7),
    ("lib", 8),
    ("main", 8),
];

/// The modules that see the generated code.
const PROTO_READERS: [&str; 5] = ["grpc", "server", "cli", "proto", "lib"];

/// Frameworks, and the beginnings of the paths that may name them.
const DOORS: [(&str, &[&str]); 12] = [
    ("tonic", WIRE),
    ("tonic_health", WIRE),
    ("tonic_prost", WIRE),
    ("tonic_reflection", WIRE),
    ("tonic_types", WIRE),
    ("tonic_web", WIRE),
    ("prost", WIRE),
    ("prost_reflect", WIRE),
    ("prost_types", WIRE),
    ("sqlx", &["src/store/"]),
    ("fred", &["src/notify/redis"]),
    ("jsonwebtoken", &["src/auth/jwt.rs", "src/auth/jwt_tests.rs"]),
];
const WIRE: &[&str] =
    &["src/grpc/", "src/grpc.rs", "src/server/", "src/server.rs", "src/cli/", "src/cli.rs", "src/proto.rs"];

/// Lines in a file, at most: what a reader can hold.
const LINES_MAX: usize = 400;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 4] = ["utils", "traits", "helpers", "common"];

/// A file to be checked.
struct File {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

impl File {
    fn all() -> Vec<File> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files: Vec<File> = ["src", "tests"]
            .iter()
            .flat_map(|folder| tree(root, folder))
            .map(|(path, text)| File { path, text })
            .collect();
        assert!(files.iter().any(|file| file.path == "src/lib.rs"), "the sources are not where they were");
        files
    }

    /// The module path, such as `store::postgres`; `None` outside `src/`.
    fn module(&self) -> Option<Vec<&str>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        Some(path.strip_suffix("/mod").unwrap_or(path).split('/').collect())
    }
}

fn rank(module: &str) -> Option<u32> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

/// Imports that do not go leftwards.
fn wrong_imports(file: &File) -> Vec<String> {
    let Some(module) = file.module() else { return vec![] };
    let from = module.first().expect("a path has a first part");
    if *from != "proto" && rank(from).is_none() {
        return vec![format!("{}: the module {from} has no rank; give it one here", file.path)];
    }
    let mut wrong = vec![];
    for Reference { line, path } in references(&module, &file.text) {
        let Some(to) = path.first() else { continue };
        let allowed = match to.as_str() {
            to if to == *from => true,
            "proto" => PROTO_READERS.contains(from),
            // An item of the crate root, which re-exports nothing and so has none.
            to => rank(to).is_some_and(|to| rank(from).is_none_or(|from| to < from)),
        };
        if !allowed {
            wrong.push(format!("{}:{line}: {from} may not import {to}", file.path));
        }
    }
    wrong.dedup();
    wrong
}

/// Frameworks outside their doors.
fn wrong_frameworks(file: &File) -> Vec<String> {
    if !file.path.starts_with("src/") {
        return vec![];
    }
    let named = source::roots(&file.text);
    let wrong = DOORS.iter().filter(|(_, doors)| !doors.iter().any(|door| file.path.starts_with(door)));
    wrong
        .flat_map(|(framework, _)| named.iter().filter(move |(_, name)| name == framework))
        .map(|(line, framework)| format!("{}:{line}: {framework} stays behind its door", file.path))
        .collect()
}

/// Files that are too long.
fn too_long(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines <= LINES_MAX { vec![] } else { vec![format!("{} has {lines} lines; split it by meaning", file.path)] }
}

/// Files and folders that are named for nothing.
fn badly_named(file: &File) -> Vec<String> {
    let mut names = file.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    names
        .find(|name| EMPTY_NAMES.contains(name))
        .map(|name| format!("{}: {name} says nothing; name it by meaning", file.path))
        .into_iter()
        .collect()
}

/// Words of capitals in the strings of a text, such as the names of reasons.
fn capitals(text: &str) -> Vec<&str> {
    let words = source::strings(text).into_iter().flat_map(|string| string.split(|c: char| !is_capital(c)));
    words.filter(|word| word.len() > 2).collect()
}

fn is_capital(c: char) -> bool {
    c.is_ascii_uppercase() || c == '_'
}

/// Reasons of a table of them that no string of the integration tests names.
fn unprovoked<'a>(reasons: &'a str, files: &[File]) -> Vec<&'a str> {
    let tests = files.iter().filter(|file| file.path.starts_with("tests/it/"));
    let named: HashSet<&str> = tests.flat_map(|file| capitals(&file.text)).collect();
    capitals(reasons).into_iter().filter(|reason| !named.contains(reason)).collect()
}

/// Checks every file, and fails with all that is wrong.
fn check(rule: fn(&File) -> Vec<String>) {
    let wrong: Vec<String> = File::all().iter().flat_map(rule).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What a rule says about a made-up file.
fn verdict(rule: fn(&File) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    rule(&File { path: path.into(), text: text.into() })
}

#[test]
fn modules_import_only_leftwards() {
    check(wrong_imports);
}

#[test]
fn an_import_to_the_right_is_caught() {
    for (path, text) in [
        ("src/domain/topic.rs", "use crate::store::Store;"),
        ("src/domain/topic.rs", "use crate::{\n    domain::Offset,\n    broker::{log::{self, Log}, Broker},\n};"),
        ("src/domain/mod.rs", "use super::config::Config;"),
        ("src/domain/topic.rs", "use super::super::config::Config;"),
        ("src/domain/topic.rs", "mod tests { use super::super::super::config; }"),
        ("src/domain/topic.rs", "use super::{super::config::Config, Offset};"),
        ("src/store/postgres/log.rs", "fn f() { crate::notify::announce(\"a\"); }"),
        ("src/notify/redis.rs", "pub(crate) use crate::store::StoreError as E;"),
        ("src/broker/publish.rs", "fn f(p: &crate::proto::v1::Topic) {}"),
        ("src/telemetry/mod.rs", "use crate::domain::TopicId;"),
        ("src/odd.rs", ""),
    ] {
        assert_eq!(verdict(wrong_imports, path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn other_imports_are_allowed() {
    for (path, text) in [
        (
            "src/store/postgres/log.rs",
            "use crate::{config::Config, domain::{Offset, TopicId}};\nuse super::super::StoreError;",
        ),
        (
            "src/store/log.rs",
            "//! See `crate::broker`.\n/* use crate::broker; /* nested */ use crate::cli; */\nconst S: &str = \"crate::cli\";",
        ),
        (
            "src/store/log.rs",
            "const R: &str = r#\"use \"crate::cli;\"#; const C: char = '\"'; const L: &'static str = \"crate::cli\";",
        ),
        ("src/store/log.rs", "mod tests { use super::*; use super::Log; use super::super::StoreError; }"),
        ("src/notify/mod.rs", "pub(crate) fn f() {} pub(in crate::notify) fn g() {}"),
        ("src/grpc/status.rs", "use crate::{broker::PublishError, proto::v1 as proto};"),
        ("src/lib.rs", "pub mod domain; pub use crate::server::Server;"),
        ("tests/it/main.rs", "use crate::harness::server::Server;"),
    ] {
        assert_eq!(verdict(wrong_imports, path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn frameworks_stay_behind_their_doors() {
    check(wrong_frameworks);
}

#[test]
fn a_framework_outside_its_door_is_caught() {
    for (path, text) in [
        ("src/broker/publish.rs", "use tonic::Status;"),
        ("src/broker/publish.rs", "use {\n    bytes::Bytes,\n    prost::Message,\n};"),
        ("src/domain/event.rs", "#[derive(sqlx::FromRow)] struct Row;"),
        ("src/notify/hub.rs", "fn f() -> ::fred::error::Error {}"),
        ("src/auth/mod.rs", "use jsonwebtoken as jwt;"),
    ] {
        assert_eq!(verdict(wrong_frameworks, path, text).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/grpc/status.rs", "use tonic::Status;"),
        ("src/server.rs", "use tonic::transport::Server;"),
        ("src/notify/redis.rs", "use fred::prelude::*;"),
        ("src/notify/redis/publisher.rs", "use fred::prelude::*;"),
        ("src/broker/publish.rs", "// tonic::Status\nconst T: &str = \"tonic::Status\"; fn f(x: X) { x.sqlx; }"),
    ] {
        assert_eq!(verdict(wrong_frameworks, path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn files_are_short() {
    check(too_long);
}

#[test]
fn a_long_file_is_caught() {
    assert_eq!(verdict(too_long, "src/a.rs", &"\n".repeat(LINES_MAX)), [""; 0]);
    assert_eq!(verdict(too_long, "src/a.rs", &"\n".repeat(LINES_MAX + 1)).len(), 1);
}

#[test]
fn files_are_named_by_meaning() {
    check(badly_named);
}

#[test]
fn a_name_without_meaning_is_caught() {
    assert_eq!(verdict(badly_named, "src/store/utils.rs", "").len(), 1);
    assert_eq!(verdict(badly_named, "tests/it/common/mod.rs", "").len(), 1);
    assert_eq!(verdict(badly_named, "src/store/postgres/append.rs", ""), [""; 0]);
}

#[test]
fn every_reason_is_provoked_by_a_test() {
    let files = File::all();
    let table = files.iter().find(|file| file.path == "src/grpc/reason.rs").expect("the table of reasons");
    assert!(capitals(&table.text).len() > 40, "the table of reasons is not where it was");
    assert_eq!(unprovoked(&table.text, &files), [""; 0]);
}

#[test]
fn a_reason_that_no_test_provokes_is_caught() {
    let table = r#"NotFound: TopicNotFound "TOPIC_NOT_FOUND";"#;
    let said = |path: &str, text: &str| unprovoked(table, &[File { path: path.into(), text: text.into() }]);
    for (path, text) in [
        ("tests/it/errors.rs", "// \"TOPIC_NOT_FOUND\"\n/* \"TOPIC_NOT_FOUND\" */ const TOPIC_NOT_FOUND: &str = \"\";"),
        ("tests/it/errors.rs", "let reason = \"TOPIC_NOT_FOUND_HERE\";"),
        ("src/cli/failure.rs", "let reason = \"TOPIC_NOT_FOUND\";"),
    ] {
        assert_eq!(said(path, text), ["TOPIC_NOT_FOUND"], "{path}: {text}");
    }
    for text in ["assert_refused(&status, \"TOPIC_NOT_FOUND\");", "\"NOT_FOUND / TOPIC_NOT_FOUND\""] {
        assert_eq!(said("tests/it/errors.rs", text), [""; 0], "{text}");
    }
}
