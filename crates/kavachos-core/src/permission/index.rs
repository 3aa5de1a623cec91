//! Finding the few permissions of a large set that can match a name, without looking at the others.
//!
//! Patterns are grouped by [`Shape`] (tuple-space search): within a group a name has exactly one key, and the patterns
//! under other keys cannot match. Promises: every pattern that matches is among the candidates; candidates that do not
//! match cost a comparison each, so that the work is bounded by the number of permissions whatever was written.

use std::ops::Range;

use crate::resource::{Keys, ResourcePattern, Shape};

/// The group of a pattern, and its key there.
pub(super) type Place = (Shape, u16);

/// Where a pattern belongs: permissions must be sorted by this before they are indexed.
pub(super) fn place(pattern: &ResourcePattern) -> Place {
    let shape = pattern.shape();
    (shape, pattern.keys().under(shape))
}

/// Positions of permissions by shape and key: 2 bytes a permission and 4 a group.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// A header for each group, then the key of each permission, sorted within its group.
    words: Words,
    groups: u16,
}

/// How many words are kept without an allocation: enough for 20 permissions in 4 groups.
const FEW: usize = 29;

/// A directory holds very many small sets; theirs are read without following a pointer.
#[derive(Debug, Clone)]
enum Words {
    Few([u16; FEW]),
    Many(Box<[u16]>),
}

impl Index {
    /// Indexes permissions that stand in the order of these places.
    pub(super) fn new(places: &[Place]) -> Self {
        let groups = places.chunk_by(|(left, _), (right, _)| left == right);
        let headers: Vec<u16> = groups
            .filter_map(|group| Some(header(group.first()?.0, group.len())))
            .flatten()
            .collect();
        // INVARIANT: there are at most as many groups as permissions, MAX_PERMISSIONS, and far below u16::MAX.
        let groups = u16::try_from(headers.len() / 2).unwrap_or(u16::MAX);
        let keys = places.iter().map(|(_, key)| *key);
        let words: Vec<u16> = headers.into_iter().chain(keys).collect();
        let mut few = [0; FEW];
        let words = match few.get_mut(..words.len()) {
            Some(slots) => {
                slots.copy_from_slice(&words);
                Words::Few(few)
            }
            None => Words::Many(words.into()),
        };
        Self { words, groups }
    }

    /// Where the permissions stand that may match a name with these keys.
    #[inline]
    pub(super) fn candidates(&self, name: &Keys) -> impl Iterator<Item = Range<usize>> {
        let words: &[u16] = match &self.words {
            Words::Few(words) => words,
            Words::Many(words) => words,
        };
        let headers = usize::from(self.groups) * 2;
        let (headers, keys) = words.split_at_checked(headers).unwrap_or_default();
        let mut end = 0;
        headers.as_chunks::<2>().0.iter().filter_map(move |header| {
            let (shape, count) = read(*header);
            let start = end;
            end += count;
            if !shape.admits(name.count()) {
                return None;
            }
            let equal = find(keys.get(start..end)?, name.under(shape));
            (!equal.is_empty()).then_some(start + equal.start..start + equal.end)
        })
    }
}

/// How many bits of a header count: [`super::MAX_PERMISSIONS`] fits.
const COUNT_BITS: u32 = 10;

fn header(shape: Shape, count: usize) -> [u16; 2] {
    let [stars, rest] = shape.to_words();
    let count = u16::try_from(count).unwrap_or(0);
    [stars, rest << COUNT_BITS | count]
}

fn read([stars, rest]: [u16; 2]) -> (Shape, usize) {
    let count = rest & ((1 << COUNT_BITS) - 1);
    (Shape::from_words([stars, rest >> COUNT_BITS]), count.into())
}

/// Where a key stands among sorted ones.
fn find(keys: &[u16], key: u16) -> Range<usize> {
    let first = keys.partition_point(|other| *other < key);
    let equal = keys.iter().skip(first).take_while(|other| **other == key);
    first..first + equal.count()
}

#[cfg(test)]
mod tests {
    use super::super::MAX_PERMISSIONS;
    use super::*;

    fn pattern(text: &str) -> ResourcePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_header_survives_the_round_trip_at_its_limits() {
        for text in [
            "*",
            "a",
            "*:*",
            "a:*:b",
            &["*"; 16].join(":"),
            &["a"; 16].join(":"),
        ] {
            let shape = pattern(text).shape();
            for count in [1, MAX_PERMISSIONS] {
                assert_eq!(read(header(shape, count)), (shape, count), "{text}");
            }
        }
    }

    #[test]
    fn equal_keys_are_all_candidates_and_others_are_not() {
        let name = pattern("a").keys();
        let shape = pattern("a").shape();
        let key = name.under(shape);
        assert!(
            (1..u16::MAX).contains(&key),
            "the neighbours below need room"
        );
        for many in [3, 300] {
            // Many patterns under every key, as if their hashes collided, and another group before them.
            let mut places = vec![(pattern("*").shape(), 0)];
            for other in [key - 1, key, key + 1] {
                places.extend(std::iter::repeat_n((shape, other), many));
            }
            let found: Vec<_> = Index::new(&places).candidates(&name).collect();
            assert_eq!(found, [0..1, 1 + many..1 + 2 * many], "{many}");
            places.retain(|(_, other)| *other != key);
            let found: Vec<_> = Index::new(&places).candidates(&name).collect();
            assert_eq!(found, std::iter::once(0..1).collect::<Vec<_>>(), "{many}");
        }
    }
}
