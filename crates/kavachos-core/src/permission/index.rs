//! Finding the few permissions of a large set that can match a name, without looking at the others.
//!
//! Patterns differ in [`Shape`] (tuple-space search): for each shape that the set has, a name has exactly one key, and
//! patterns of that shape under other keys cannot match. Promises: every pattern that matches is found under the key of
//! its shape; others found there cost a comparison each, so that the work is bounded by the number of permissions
//! whatever was written.

use std::sync::Arc;

use super::Permission;
use crate::resource::{ResourcePattern, Shape};

/// The key of a pattern: permissions must be sorted by this before they are put into [`Blocks`].
pub(super) fn key(pattern: &ResourcePattern) -> u16 {
    pattern.keys().under(pattern.shape())
}

/// The different shapes among these: those without an inner `*`, and those with, in order.
pub(super) fn shapes(all: impl Iterator<Item = Shape>) -> (PlainShapes, Vec<Shape>) {
    let mut plain = PlainShapes(0);
    let mut starred = Vec::new();
    for shape in all {
        match shape.number() {
            Some(number) => plain.0 |= 1 << number,
            None => starred.push(shape),
        }
    }
    starred.sort_unstable();
    starred.dedup();
    (plain, starred)
}

/// Shapes without an inner `*`: bit n is set where the one with [number](Shape::number) n is among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainShapes(u32);

impl PlainShapes {
    /// Those that a name of so many segments can match.
    #[inline]
    pub(super) fn admitting(self, segments: u8) -> impl Iterator<Item = Shape> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while rest != 0 {
                // INVARIANT: below 32.
                let number = u8::try_from(rest.trailing_zeros()).unwrap_or(0);
                rest &= rest - 1;
                let shape = Shape::numbered(number);
                if shape.admits(segments) {
                    return Some(shape);
                }
            }
            None
        })
    }
}

/// How many permissions stand together: with their keys, they are found in one or two lines of a processor's cache.
const TOGETHER: usize = 4;

/// Permissions in the order of their keys, in one allocation: 10 bytes for each.
#[derive(Clone)]
pub(super) struct Blocks(Arc<[Block]>);

/// The empty places of the last block have the highest key, so that keys never fall.
#[derive(Clone)]
struct Block {
    keys: [u16; TOGETHER],
    permissions: [Option<Arc<Permission>>; TOGETHER],
}

impl Block {
    const EMPTY: Self = Self {
        keys: [u16::MAX; TOGETHER],
        permissions: [const { None }; TOGETHER],
    };

    fn last_key(&self) -> u16 {
        let [.., last] = self.keys;
        last
    }
}

impl Blocks {
    /// Keeps permissions that stand in the order of these keys.
    pub(super) fn new(placed: Vec<(u16, Arc<Permission>)>) -> Self {
        let mut blocks = vec![Block::EMPTY; placed.len().div_ceil(TOGETHER)];
        let keys = blocks.iter_mut().flat_map(|block| {
            let Block { keys, permissions } = block;
            keys.iter_mut().zip(permissions)
        });
        for ((key, permission), placed) in keys.zip(placed) {
            (*key, *permission) = (placed.0, Some(placed.1));
        }
        Self(blocks.into())
    }

    /// Whether one is a clone of the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Permission>> {
        self.0.iter().flat_map(|block| &block.permissions).flatten()
    }

    /// Those that stand under a key.
    #[inline]
    pub(super) fn under(&self, key: u16) -> impl Iterator<Item = &Permission> {
        let first = self.first_with(key);
        let lower = |block: &Block| block.keys.iter().filter(|other| **other < key).count();
        let mut next = first * TOGETHER + self.0.get(first).map_or(0, lower);
        std::iter::from_fn(move || {
            let block = self.0.get(next / TOGETHER)?;
            if *block.keys.get(next % TOGETHER)? != key {
                return None;
            }
            let permission = block.permissions.get(next % TOGETHER)?.as_deref();
            next += 1;
            permission
        })
    }

    /// The first block that has this key or a higher one.
    ///
    /// Keys are hashes, which are spread evenly: a block is near its share of all. It is searched for from there in
    /// steps that double, so that keys which someone made uneven cost a logarithm too.
    #[inline]
    fn first_with(&self, key: u16) -> usize {
        let blocks = &*self.0;
        let lower = |block: &Block| block.last_key() < key;
        let is_lower = |at: usize| blocks.get(at).is_some_and(lower);
        // INVARIANT: every block before `low` is lower, and none from `high` on.
        let mut low = (usize::from(key) * blocks.len()) >> u16::BITS;
        let mut high = low;
        let mut step = 1;
        if is_lower(low) {
            while is_lower(high) {
                low = high + 1;
                high += step;
                step *= 2;
            }
        } else {
            while low > 0 {
                low = low.saturating_sub(step);
                step *= 2;
                if is_lower(low) {
                    low += 1;
                    break;
                }
                high = low;
            }
        }
        let between = blocks.get(low..high.min(blocks.len())).unwrap_or_default();
        low + between.partition_point(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_PERMISSIONS;
    use super::*;
    use crate::action::Actions;
    use crate::constraint::Constraints;

    fn pattern(text: &str) -> ResourcePattern {
        text.parse().unwrap()
    }

    fn placed(key: u16) -> (u16, Arc<Permission>) {
        let resource = pattern(&format!("a{key}"));
        let permission = Permission::new(resource, Actions::any(), Constraints::default());
        (key, Arc::new(permission))
    }

    fn blocks(keys: &[u16]) -> Blocks {
        Blocks::new(keys.iter().copied().map(placed).collect())
    }

    #[test]
    fn every_shape_without_an_inner_star_has_its_own_number() {
        let mut seen = PlainShapes(0);
        for segments in 1..=16 {
            for last in ["a", "*"] {
                let mut text = vec!["a"; segments];
                text[segments - 1] = last;
                let shape = pattern(&text.join(":")).shape();
                let number = shape.number().unwrap();
                assert_eq!(Shape::numbered(number), shape, "{text:?}");
                assert_eq!(seen.0 >> number & 1, 0, "{text:?}");
                seen.0 |= 1 << number;
            }
        }
        assert_eq!(seen.0, u32::MAX);
        assert_eq!(pattern("*:a").shape().number(), None);
    }

    #[test]
    fn of_the_shapes_those_are_asked_that_admit_the_name() {
        let texts = ["a:b", "*", "a:*", "a:b:*", "a:b:c", "a:*:c", "b:c", "*:b"];
        let (plain, starred) = shapes(texts.iter().map(|text| pattern(text).shape()));
        let admitting: Vec<Shape> = plain.admitting(2).collect();
        assert_eq!(
            admitting,
            ["*", "a:*", "a:b"].map(|text| pattern(text).shape())
        );
        assert_eq!(starred.len(), 2);
    }

    #[test]
    fn all_under_a_key_are_found_and_no_others_however_the_keys_are_spread() {
        let high = u16::MAX;
        let even: Vec<u16> = (0..1000).map(|n| n * 65).collect();
        let low: Vec<u16> = (0..1000).collect();
        let top: Vec<u16> = (0..1000).map(|n| high - 999 + n).collect();
        let equal = vec![7; MAX_PERMISSIONS];
        let ends = [vec![0; 500], vec![high; 500]].concat();
        for keys in [
            even,
            low,
            top,
            equal,
            ends,
            vec![9],
            vec![1, 2, 2, 2, 2, 2, 3],
        ] {
            let blocks = blocks(&keys);
            assert_eq!(blocks.iter().count(), keys.len());
            for key in 0..=high {
                let lowest = keys.partition_point(|other| *other < key);
                let highest = keys.partition_point(|other| *other <= key);
                let resource = format!("a{key}");
                let found = || blocks.under(key);
                assert_eq!(found().count(), highest - lowest, "{key}");
                assert!(found().all(|one| one.resource().as_str() == resource));
            }
        }
    }
}
