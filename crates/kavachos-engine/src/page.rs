//! Pages of lists, with an opaque cursor; bounded in things, and in bytes: a page of heavy things ends early.

use kavachos_core::hex;
use kavachos_core::id::{Id, Named};
use kavachos_core::invalid::Invalid;
use kavachos_store::Listed;
use sha2::{Digest, Sha256};

use crate::error::Result;

/// How many things a page has when the caller does not say.
pub const DEFAULT_LIMIT: usize = 100;
/// How many things a page has at the most.
pub const MAX_LIMIT: usize = 1_000;
/// How much of the hash of its filters a cursor carries.
const FILTER_DIGITS: usize = 16;

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOf<T> {
    /// What comes right before the page; `None` for the first.
    pub after: Option<T>,
    /// How many things it has at the most, 1 to [`MAX_LIMIT`].
    pub limit: usize,
}

impl<T> Default for PageOf<T> {
    fn default() -> Self {
        Self {
            after: None,
            limit: DEFAULT_LIMIT,
        }
    }
}

/// A page, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The things, in the order of the list.
    pub items: Vec<T>,
    /// What the next page comes after; `None` on the last page.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// A page as it was read.
    pub(crate) fn of(rows: Vec<Listed<T>>, key: impl Fn(&T) -> K) -> Self {
        let last = rows.last().filter(|last| last.more);
        let next = last.map(|last| key(&last.thing));
        Self {
            items: rows.into_iter().map(|row| row.thing).collect(),
            next,
        }
    }

    /// Makes a page of one thing more than its limit, which tells whether there is a next page.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }

    /// The same page with every thing as it is shown.
    pub(crate) fn shown<U>(self, show: impl FnMut(T) -> Result<U>) -> Result<Page<U, K>> {
        Ok(Page {
            items: self.items.into_iter().map(show).collect::<Result<_>>()?,
            next: self.next,
        })
    }
}

/// What a cursor can hold.
pub trait CursorKey: Sized {
    /// As text without dots.
    fn encode(&self) -> String;
    /// Reads it back.
    fn decode(text: &str) -> Option<Self>;
}

impl<K: Named> CursorKey for Id<K> {
    fn encode(&self) -> String {
        self.to_string()
    }
    fn decode(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl CursorKey for u64 {
    fn encode(&self) -> String {
        self.to_string()
    }
    /// The number of a record; no database counts beyond 2^63.
    fn decode(text: &str) -> Option<Self> {
        let number: i64 = text.parse().ok()?;
        number.try_into().ok()
    }
}

/// The version of the form of cursors.
const VERSION: &str = "1";

/// Writes a cursor: its version, the last key, and a hash of the filters it belongs to.
pub fn encode_cursor(key: &impl CursorKey, filter: &str) -> String {
    format!("{VERSION}.{}.{}", key.encode(), filter_hash(filter))
}

/// Reads a cursor.
///
/// # Errors
/// It is not ours, or belongs to a list with other filters.
pub fn decode_cursor<T: CursorKey>(text: &str, filter: &str) -> std::result::Result<T, Invalid> {
    let wrong = |message: &str| Invalid::at("cursor", message);
    let mut parts = text.split('.');
    let (Some(VERSION), Some(key), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong("this is no cursor of this list; begin without one"));
    };
    if hash != filter_hash(filter) {
        return Err(wrong(
            "this cursor belongs to a list with other filters; begin without one",
        ));
    }
    T::decode(key).ok_or_else(|| wrong("this is no cursor of this list; begin without one"))
}

fn filter_hash(filter: &str) -> String {
    let hash = Sha256::digest(filter);
    hex::digits(&hash).take(FILTER_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_only_with_its_filters() {
        let cursor = encode_cursor(&41_u64, "agentId=a");
        assert_eq!(decode_cursor(&cursor, "agentId=a"), Ok(41_u64));
        assert!(decode_cursor::<u64>(&cursor, "agentId=b").is_err());
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let right = filter_hash("");
        for text in [
            "",
            "1",
            "1.2",
            "2.5.x",
            "1.-1.x",
            &format!("1.-1.{right}"),
            &format!("1.5.{right}.6"),
            "\u{0}",
        ] {
            assert!(decode_cursor::<u64>(text, "").is_err(), "{text}");
        }
    }
}
