//! The answer to everything that stops something.

use std::ops::Deref;

use kavachos_core::time::Timestamp;
use serde::Serialize;

/// From when on a kill counts, and how far it has reached.
///
/// Here it counts from the moment of this answer: no decision that begins after it allows what was stopped.
/// Others accept tokens by a copy of the revocation log, each for as long as its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// From this time on nobody accepts what was stopped: the moment of the answer, or the end of the longest lease of
    /// those who may not know of it yet.
    pub effective_by: Timestamp,
    /// How far the kill has reached.
    pub state: Reach,
    /// How many followers have acknowledged it.
    pub acknowledged: u64,
    /// How many followers there are.
    pub followers: u64,
}

/// How far a kill has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Somebody may not know of it yet, and accept what was stopped until `effectiveBy`.
    Partial,
    /// Everyone who could accept what was stopped knows of the kill.
    Closed,
}

impl Revoked {
    /// Both of two kills, as far as the one of them that has reached less.
    pub(crate) fn and(self, other: Self) -> Self {
        let both = [self.state, other.state];
        Self {
            effective_by: self.effective_by.max(other.effective_by),
            state: match both.contains(&Reach::Partial) {
                true => Reach::Partial,
                false => Reach::Closed,
            },
            ..other
        }
    }

    /// Stopped at this time, as far as this process is concerned; how far it has reached is said once it is committed.
    pub(crate) fn at(effective_by: Timestamp) -> Self {
        Self {
            effective_by,
            state: Reach::Closed,
            acknowledged: 0,
            followers: 0,
        }
    }
}

/// A thing that was changed. Reads as the thing itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "{T}Changed"))]
pub struct Edited<T> {
    /// The thing, as it is now.
    #[serde(flatten)]
    pub thing: T,
    /// Only if the change ended what was derived from the thing as it was: how far that has reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub narrowed: Option<Revoked>,
}

impl<T> Edited<T> {
    /// The same change, seen as another thing.
    pub(crate) fn with<U>(self, thing: U) -> Edited<U> {
        Edited {
            thing,
            narrowed: self.narrowed,
        }
    }
}

impl<T> Deref for Edited<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}
