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

/// From how many permissions on the keys of a set stand aside too.
const MANY: usize = 128;

/// The shapes of permissions that stand in the order of these keys, and what is to stand aside.
pub(super) fn survey(placed: &[(u16, Arc<Permission>)]) -> (PlainShapes, Option<Aside>) {
    let mut plain = PlainShapes(0);
    let mut aside = Aside::NOTHING;
    for (_, permission) in placed {
        let shape = permission.resource.shape();
        match shape.number() {
            Some(number) => plain.0 |= 1 << number,
            None => aside.starred.push(shape),
        }
    }
    aside.starred.sort_unstable();
    aside.starred.dedup();
    if placed.len() >= MANY {
        aside.keys = placed.iter().map(|(key, _)| *key).collect();
    }
    let needed = !(aside.starred.is_empty() && aside.keys.is_empty());
    (plain, needed.then_some(aside))
}

/// What few sets have.
#[derive(Debug)]
pub(super) struct Aside {
    /// The different shapes with an inner `*`.
    starred: Vec<Shape>,
    /// The keys of a large set once more, close together, so that looking in vain reads little; else none.
    keys: Vec<u16>,
}

impl Aside {
    pub(super) const NOTHING: Self = Self {
        starred: Vec::new(),
        keys: Vec::new(),
    };

    /// The shapes that a name of so many segments can match.
    #[inline]
    pub(super) fn admitting(&self, segments: u8) -> impl Iterator<Item = Shape> {
        let starred = self.starred.iter().copied();
        starred.filter(move |shape| shape.admits(segments))
    }
}

/// Shapes without an inner `*`: bit n is set where the one with [number](Shape::number) n is among them.
#[derive(Debug, Clone)]
pub(super) struct PlainShapes(u32);

impl PlainShapes {
    /// The open ones among all numbers.
    const OPEN: u32 = 0x5555_5555;

    /// Those that a name of so many segments can match: open with fewer fixed ones, or closed with as many.
    #[inline]
    pub(super) fn admitting(self, segments: u8) -> Self {
        let numbers = 2 * u32::from(segments);
        let below = u32::MAX.checked_shr(u32::BITS.saturating_sub(numbers));
        let below = below.unwrap_or(0);
        let highest = below ^ below >> 1;
        Self(self.0 & (below & Self::OPEN | highest))
    }
}

impl Iterator for PlainShapes {
    type Item = Shape;

    #[inline]
    fn next(&mut self) -> Option<Shape> {
        // INVARIANT: below 32, where there is one.
        let number = u8::try_from(self.0.trailing_zeros()).unwrap_or(0);
        let more = self.0.checked_sub(1)?;
        self.0 &= more;
        Some(Shape::numbered(number))
    }
}

/// How many permissions stand together: with their keys, they are found in one or two lines of a processor's cache.
const TOGETHER: usize = 4;

/// Permissions in the order of their keys, in one allocation: 10 bytes for each, and 2 aside in a large set.
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

    /// Those that stand under a key, of the set with this aside.
    #[inline]
    pub(super) fn under<'s>(&'s self, key: u16, aside: &'s Aside) -> Under<'s> {
        let keys = aside.keys.as_slice();
        let next = match keys {
            [] => self.first(key),
            keys => first(keys, key, |other| *other < key),
        };
        Under {
            blocks: self,
            keys,
            key,
            next,
        }
    }

    /// Where the first one stands that has this key or a higher one.
    #[inline]
    fn first(&self, key: u16) -> usize {
        let block = first(&self.0, key, |block| block.last_key() < key);
        let lower = |block: &Block| block.keys.iter().filter(|other| **other < key).count();
        block * TOGETHER + self.0.get(block).map_or(0, lower)
    }

    fn key(&self, at: usize) -> Option<u16> {
        let block = self.0.get(at / TOGETHER)?;
        block.keys.get(at % TOGETHER).copied()
    }

    fn permission(&self, at: usize) -> Option<&Permission> {
        let block = self.0.get(at / TOGETHER)?;
        block.permissions.get(at % TOGETHER)?.as_deref()
    }
}

/// Permissions under one key.
pub(super) struct Under<'s> {
    blocks: &'s Blocks,
    keys: &'s [u16],
    key: u16,
    next: usize,
}

impl<'s> Iterator for Under<'s> {
    type Item = &'s Permission;

    #[inline]
    fn next(&mut self) -> Option<&'s Permission> {
        let key = match self.keys {
            [] => self.blocks.key(self.next)?,
            keys => *keys.get(self.next)?,
        };
        if key != self.key {
            return None;
        }
        let permission = self.blocks.permission(self.next);
        self.next += 1;
        permission
    }
}

/// Where the first element stands that is not lower than the key, of elements in the order of keys.
///
/// Keys are hashes, which are spread evenly: a key stands near its share of all. It is searched for from there in steps
/// that double, so that keys which someone made uneven cost a logarithm too.
#[inline]
fn first<T>(sorted: &[T], key: u16, lower: impl Fn(&T) -> bool) -> usize {
    let is_lower = |at: usize| sorted.get(at).is_some_and(&lower);
    // INVARIANT: everything before `low` is lower, and nothing from `high` on.
    let mut low = (usize::from(key) * sorted.len()) >> u16::BITS;
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
    let between = sorted.get(low..high.min(sorted.len()));
    low + between.unwrap_or_default().partition_point(lower)
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

    fn shapes(texts: &[&str]) -> Vec<Shape> {
        texts.iter().map(|text| pattern(text).shape()).collect()
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
    fn the_shapes_that_admit_a_name_are_found_without_asking_each() {
        for segments in 1..=16 {
            let found: Vec<Shape> = PlainShapes(u32::MAX).admitting(segments).collect();
            let asked = PlainShapes(u32::MAX).filter(|shape| shape.admits(segments));
            assert_eq!(found, asked.collect::<Vec<_>>(), "{segments}");
        }
    }

    #[test]
    fn of_the_shapes_those_are_asked_that_admit_the_name() {
        let all = ["a:b", "*", "a:*", "a:b:*", "a:b:c", "a:*:c", "b:c", "*:b"];
        let placed = all.map(|text| {
            let permission = Permission::new(pattern(text), Actions::any(), Constraints::default());
            (0, Arc::new(permission))
        });
        let (plain, aside) = survey(&placed);
        let admitting: Vec<Shape> = plain.admitting(2).collect();
        assert_eq!(admitting, shapes(&["*", "a:*", "a:b"]));
        let starred: Vec<Shape> = aside.unwrap().admitting(2).collect();
        assert_eq!(starred, shapes(&["*:b"]));
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
            let placed: Vec<_> = keys.iter().copied().map(placed).collect();
            let (_, aside) = survey(&placed);
            let aside = aside.unwrap_or(Aside::NOTHING);
            assert_eq!(aside.keys.len() >= MANY, keys.len() >= MANY);
            let blocks = Blocks::new(placed);
            assert_eq!(blocks.iter().count(), keys.len());
            for key in 0..=high {
                let lowest = keys.partition_point(|other| *other < key);
                let highest = keys.partition_point(|other| *other <= key);
                let resource = format!("a{key}");
                for aside in [&aside, &Aside::NOTHING] {
                    let found = || blocks.under(key, aside);
                    assert_eq!(found().count(), highest - lowest, "{key}");
                    assert!(found().all(|one| one.resource().as_str() == resource));
                }
            }
        }
    }
}
