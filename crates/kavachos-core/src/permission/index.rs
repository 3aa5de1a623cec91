//! Finding the few permissions of a large set that can match a name, without looking at the others.
//!
//! Patterns are grouped by [`Shape`] (tuple-space search): within a group a name has exactly one key, and the patterns
//! under other keys cannot match. Promises: every pattern that matches is among the candidates; candidates that do not
//! match cost a comparison each, so that the work is bounded by the number of permissions whatever was written.

use std::ops::Range;

use crate::resource::{Keys, ResourcePattern, Shape};

/// Positions of permissions by shape and key. 2 bytes a permission and 8 a shape.
#[derive(Debug, Clone)]
pub(super) struct Index {
    groups: Box<[Group]>,
    /// The key of each permission, in the order of the permissions; sorted within a group.
    keys: Box<[u16]>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    shape: Shape,
    start: u16,
    end: u16,
}

/// The group of a pattern, and its key there.
pub(super) type Place = (Shape, u16);

/// Where a pattern belongs: permissions must be sorted by this before they are indexed.
pub(super) fn place(pattern: &ResourcePattern) -> Place {
    let shape = pattern.shape();
    (shape, pattern.keys().under(shape))
}

impl Index {
    /// Indexes permissions that stand in the order of these places.
    pub(super) fn new(places: &[Place]) -> Self {
        let mut groups = Vec::new();
        let mut start = 0_u16;
        for group in places.chunk_by(|(left, _), (right, _)| left == right) {
            // INVARIANT: a set holds at most MAX_PERMISSIONS, far below u16::MAX.
            let end = start.saturating_add(u16::try_from(group.len()).unwrap_or(u16::MAX));
            groups.extend(group.first().map(|(shape, _)| Group {
                shape: *shape,
                start,
                end,
            }));
            start = end;
        }
        Self {
            groups: groups.into(),
            keys: places.iter().map(|(_, key)| *key).collect(),
        }
    }

    /// Where the permissions stand that may match a name with these keys.
    #[inline]
    pub(super) fn candidates(&self, name: &Keys) -> impl Iterator<Item = Range<usize>> {
        self.groups
            .iter()
            .filter(|group| group.shape.admits(name.count()))
            .filter_map(|group| group.find(&self.keys, name.under(group.shape)))
    }
}

impl Group {
    fn find(self, keys: &[u16], key: u16) -> Option<Range<usize>> {
        let start = usize::from(self.start);
        let ours = keys.get(start..usize::from(self.end))?;
        let first = ours.partition_point(|other| *other < key);
        let equal = ours.iter().skip(first).take_while(|other| **other == key);
        let count = equal.count();
        (count > 0).then(|| start + first..start + first + count)
    }
}
