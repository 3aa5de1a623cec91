//! The answer to everything that stops something.

use kavachos_core::time::Timestamp;
use serde::Serialize;

/// From when on a kill counts, and how far it has reached.
///
/// Here it counts from the moment of its commit: no decision that begins after this answer allows what was stopped.
/// Others accept tokens by a copy of the revocation log, each for as long as its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// From this time on nobody accepts what was stopped: the moment of the commit, or the end of the longest lease of
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
