//! Pages of listings, and the tokens that lead to the next one.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::Checks;
use crate::{
    domain::{check_name, limits},
    grpc::reason::Reason,
};

/// One page of a listing by name.
#[derive(Debug)]
pub(crate) struct Page {
    /// Items after this name; empty: from the start.
    pub(crate) after: String,
    /// Items in the page.
    pub(crate) size: usize,
    query: [u8; 8],
}

/// Reads the page that a request wants. `query` says what is listed, with every parameter that a token
/// must not be carried over.
pub(crate) fn page(checks: &mut Checks, query: &[&str], page_size: i32, page_token: &str) -> Option<Page> {
    let size = self::page_size(checks, page_size)?;
    let query = digest(query);
    if page_token.is_empty() {
        return Some(Page { after: String::new(), size, query });
    }
    let after = URL_SAFE_NO_PAD.decode(page_token).ok().and_then(|bytes| {
        let name = String::from_utf8(bytes.strip_prefix(&query)?.to_vec()).ok()?;
        check_name(&name).ok().map(|()| name)
    });
    match after {
        Some(after) => Some(Page { after, size, query }),
        None => {
            refuse_token(checks);
            None
        }
    }
}

/// How many items a page is to have.
pub(super) fn page_size(checks: &mut Checks, page_size: i32) -> Option<usize> {
    match usize::try_from(page_size) {
        Ok(0) => Some(limits::PAGE_ITEMS_DEFAULT),
        Ok(size) => Some(size.min(limits::PAGE_ITEMS)),
        Err(_) => {
            checks.add(Reason::RequestInvalid, "page_size", format!("{page_size} is negative; 0 means 50"));
            None
        }
    }
}

/// Says that a page token is not one of this query.
pub(super) fn refuse_token(checks: &mut Checks) {
    let text = "is damaged, or belongs to another query; begin again without one";
    checks.add(Reason::PageTokenInvalid, "page_token", text);
}

impl Page {
    /// How many items to look for: one more than the page has, to know whether another page follows.
    pub(crate) fn limit(&self) -> usize {
        self.size + 1
    }

    /// Cuts what was found to the page, and returns the token of the next one, or "".
    pub(crate) fn cut<T>(&self, items: &mut Vec<T>, name: impl Fn(&T) -> &str) -> String {
        if items.len() <= self.size {
            return String::new();
        }
        items.truncate(self.size);
        let last = items.last().map(name).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&self.query, last.as_bytes()].concat())
    }
}

/// A short digest of what must be the same from page to page.
pub(super) fn digest(query: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in query {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 8];
    short.copy_from_slice(&hash.finalize()[..8]);
    short
}

#[cfg(test)]
mod tests {
    use super::{super::Checks, page};

    #[test]
    fn a_token_leads_on_in_its_own_query_only() {
        let first = page(&mut Checks::default(), &["topics", "a"], 2, "").unwrap();
        let mut items = vec!["a1", "a2", "a3"];
        let token = first.cut(&mut items, |item| item);
        assert_eq!(items, ["a1", "a2"]);
        assert_eq!(page(&mut Checks::default(), &["topics", "a"], 2, &token).unwrap().after, "a2");
        for (query, token) in [(["topics", "b"], &*token), (["topics", "a"], "x"), (["topics", "a"], "AAAAAAAAAAA")] {
            assert!(page(&mut Checks::default(), &query, 2, token).is_none(), "{token} was taken");
        }
        let mut rest = vec!["a3"];
        assert_eq!(first.cut(&mut rest, |item| item), "");
    }
}
