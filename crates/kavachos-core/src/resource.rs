//! Resources and the patterns that stand for sets of them.
//!
//! Promises: a resource has one spelling and is compared byte for byte, nothing is decoded or folded; one matcher
//! answers both whether a pattern [matches](ResourcePattern::matches) a resource and whether it
//! [covers](ResourcePattern::covers) another pattern, so the two cannot disagree. `covers` is exactly inclusion of the
//! sets of resources. What could be read in two ways (`**`, `git*`, an empty segment) is refused when written.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;

use foldhash::fast::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::json;
use crate::time::clip;

/// The most segments of a resource or a pattern.
pub const MAX_SEGMENTS: usize = 16;
/// The longest resource or pattern in bytes.
pub const MAX_RESOURCE_BYTES: usize = 512;

const SEPARATOR: char = ':';
const STAR: &str = "*";

/// One concrete resource: segments joined by `:`, such as `mcp:github:repos`.
///
/// A segment is one or more of `A-Z a-z 0-9 . _ -` and of other bytes as `%XX` (upper-case hex).
#[derive(Clone)]
pub struct Resource {
    text: Box<str>,
    keys: Keys,
}

impl Resource {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The segments in order, at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split(SEPARATOR)
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl FromStr for Resource {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_size(text)?;
        let mut keys = Keys::EMPTY;
        for segment in text.split(SEPARATOR) {
            if !is_segment(segment) {
                return Err(wrong_segment(text, segment));
            }
            keys.push(segment).ok_or_else(|| too_many_segments(text))?;
        }
        Ok(Self {
            text: text.into(),
            keys,
        })
    }
}

/// A set of resources: a resource in which `*` may stand for segments.
///
/// `*` alone is every resource; a trailing `*` is one or more segments (`mcp:*` is `mcp:github` and `mcp:github:repos`,
/// not `mcp`); an inner `*` is exactly one (`mcp:*:read` is `mcp:github:read` only with one segment between).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourcePattern {
    text: Box<str>,
    shape: Shape,
}

impl ResourcePattern {
    /// The pattern of every resource, `*`.
    pub fn everything() -> Self {
        Self {
            text: STAR.into(),
            shape: Shape {
                fixed: 0,
                open: true,
                stars: 0,
            },
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the resource is in the set.
    pub fn matches(&self, resource: &Resource) -> bool {
        self.fits(&resource.text, resource.keys.count())
    }

    /// Whether every resource of `child` is in this set.
    ///
    /// A `*` of the child is compared as if it were a segment named `*`: only a `*` of ours can stand for it, and a
    /// trailing one stands for at least one segment, which is what an open child has beyond its fixed ones.
    pub fn covers(&self, child: &Self) -> bool {
        self.fits(&child.text, child.segment_count())
    }

    /// Whether some resource is in both sets.
    pub fn meets(&self, other: &Self) -> bool {
        // The fewest segments of a resource in both, if there is one.
        let segments = self.segment_count().max(other.segment_count());
        let fixed = self.shape.fixed.min(other.shape.fixed);
        self.shape.admits(segments)
            && other.shape.admits(segments)
            && (self.segments().zip(other.segments()))
                .take(fixed.into())
                .all(|(ours, theirs)| ours == theirs || ours == STAR || theirs == STAR)
    }

    /// The segments in order, `*` among them.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split(SEPARATOR)
    }

    fn segment_count(&self) -> u8 {
        self.shape.fixed.saturating_add(u8::from(self.shape.open))
    }

    /// The one matcher.
    fn fits(&self, name: &str, segments: u8) -> bool {
        let Shape { open, stars, .. } = self.shape;
        if !self.shape.admits(segments) {
            return false;
        }
        if stars != 0 {
            return (self.segments().zip(name.split(SEPARATOR)))
                .take(self.shape.fixed.into())
                .all(|(ours, theirs)| ours == STAR || ours == theirs);
        }
        match self.text.strip_suffix(STAR) {
            // INVARIANT: what is left ends in the separator, or is empty for `*`; so whole segments are compared.
            Some(fixed) if open => name.starts_with(fixed),
            _ => name == &*self.text,
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The keys of the pattern's own segments, a `*` hashed like a segment of that name.
    pub(crate) fn keys(&self) -> Keys {
        let mut keys = Keys::EMPTY;
        for segment in self.segments() {
            // INVARIANT: a pattern has at most MAX_SEGMENTS segments, so each finds its place.
            let _ = keys.push(segment);
        }
        keys
    }
}

impl FromStr for ResourcePattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_size(text)?;
        let mut count = 0_u8;
        let mut stars = 0_u32;
        for segment in text.split(SEPARATOR) {
            if usize::from(count) == MAX_SEGMENTS {
                return Err(too_many_segments(text));
            }
            if segment == STAR {
                stars |= 1 << count;
            } else if !is_segment(segment) {
                return Err(wrong_segment(text, segment));
            }
            count += 1;
        }
        let last = count.saturating_sub(1);
        let open = stars >> last & 1 == 1;
        let fixed = if open { last } else { count };
        let inner = stars & ((1 << fixed) - 1);
        Ok(Self {
            text: text.into(),
            shape: Shape {
                fixed,
                open,
                // INVARIANT: fixed is at most 16, so no bit above the 16th is set.
                stars: u16::try_from(inner).unwrap_or(u16::MAX),
            },
        })
    }
}

/// What patterns have in common that can be looked up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shape {
    /// How many segments are compared one by one.
    fixed: u8,
    /// Whether one or more segments follow them.
    open: bool,
    /// Bit n is set where fixed segment n is `*`.
    stars: u16,
}

impl Shape {
    /// Whether a name of so many segments can match.
    pub(crate) fn admits(self, segments: u8) -> bool {
        if self.open {
            segments > self.fixed
        } else {
            segments == self.fixed
        }
    }

    /// The number of a shape without an inner `*`, of which there are 32; `None` for one with.
    pub(crate) fn number(self) -> Option<u8> {
        let number = (self.fixed << 1 | u8::from(self.open)).checked_sub(1);
        number.filter(|_| self.stars == 0)
    }

    /// The shape with this number.
    pub(crate) fn numbered(number: u8) -> Self {
        let bits = number.saturating_add(1);
        Self {
            fixed: bits >> 1,
            open: bits & 1 == 1,
            stars: 0,
        }
    }

    /// What tells the keys of this shape from the same keys of others, so that they seldom meet.
    fn salt(self) -> u16 {
        let form = u16::from(self.fixed) << 1 | u16::from(self.open);
        (form.wrapping_mul(0x9e37)).wrapping_add(self.stars.wrapping_mul(0x85eb))
    }
}

/// Hashes of a name's segments, in sums from the front, so that the key of any [`Shape`] is one subtraction per `*`.
///
/// The hash is fixed, and whoever writes permissions can make keys collide. A key therefore only ever proposes; the
/// texts are compared, and collisions cost at most one comparison per permission of the set.
#[derive(Clone)]
pub(crate) struct Keys {
    count: u8,
    sums: [u32; MAX_SEGMENTS],
}

impl Keys {
    const EMPTY: Self = Self {
        count: 0,
        sums: [0; MAX_SEGMENTS],
    };

    fn push(&mut self, segment: &str) -> Option<()> {
        let sum = self.sum(self.count);
        let slot = self.sums.get_mut(usize::from(self.count))?;
        *slot = sum.wrapping_add(hash(self.count, segment));
        self.count += 1;
        Some(())
    }

    pub(crate) fn count(&self) -> u8 {
        self.count
    }

    /// The sum over the first so many segments.
    fn sum(&self, first: u8) -> u32 {
        let last = usize::from(first).checked_sub(1);
        let sum = last.and_then(|last| self.sums.get(last));
        sum.copied().unwrap_or(0)
    }

    /// The key under which a pattern of this shape stands if it matches this name.
    pub(crate) fn under(&self, shape: Shape) -> u16 {
        let mut sum = self.sum(shape.fixed);
        let mut stars = shape.stars;
        while stars != 0 {
            // INVARIANT: at most 16 bits, so the position fits and one bit is cleared in every round.
            let at = u8::try_from(stars.trailing_zeros()).unwrap_or(0);
            sum = sum.wrapping_sub(self.sum(at + 1).wrapping_sub(self.sum(at)));
            stars &= stars - 1;
        }
        let key = u16::try_from(sum >> 16).unwrap_or(0);
        key.wrapping_add(shape.salt())
    }
}

fn hash(position: u8, segment: &str) -> u32 {
    let mut hasher = FixedState::with_seed(position.into()).build_hasher();
    hasher.write(segment.as_bytes());
    u32::try_from(hasher.finish() >> 32).unwrap_or(0)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Whether this is a segment in its only spelling: an escape never stands for a byte that needs none.
fn is_segment(text: &str) -> bool {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if is_plain(byte) {
            continue;
        }
        let high = bytes.next().and_then(digit);
        let low = bytes.next().and_then(digit);
        let escapes = high
            .zip(low)
            .is_some_and(|(high, low)| !is_plain(high << 4 | low));
        if byte != b'%' || !escapes {
            return false;
        }
    }
    !text.is_empty()
}

fn check_size(text: &str) -> Result<(), Invalid> {
    if text.len() > MAX_RESOURCE_BYTES {
        return Err(Invalid::new(format!(
            "`{}` is longer than {MAX_RESOURCE_BYTES} bytes; name something shorter",
            clip(text)
        )));
    }
    Ok(())
}

fn too_many_segments(text: &str) -> Invalid {
    Invalid::new(format!(
        "`{}` has more than {MAX_SEGMENTS} segments; join some of them",
        clip(text)
    ))
}

fn wrong_segment(text: &str, segment: &str) -> Invalid {
    let why = if segment.is_empty() {
        "a segment is empty; write text on both sides of every `:`".to_owned()
    } else if segment.contains('*') {
        format!(
            "`*` stands for whole segments of a pattern, not in `{}`",
            clip(segment)
        )
    } else {
        format!(
            "the segment `{}` may hold A-Z, a-z, 0-9, `.`, `_`, `-`, and other bytes only as %XX in upper case",
            clip(segment)
        )
    };
    Invalid::new(format!("`{}`: {why}", clip(text)))
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Resource {}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                json::text(deserializer)
            }
        }
    )*};
}
as_text!(Resource ResourcePattern);
