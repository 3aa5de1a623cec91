//! The answer to everything that stops something.

use kavachos_core::time::Timestamp;
use serde::Serialize;

/// From when on a kill counts, and how far it has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// From this time on nobody accepts what was stopped. Here, the only one who accepts anything, it is the moment of
    /// the commit: no decision that begins after this answer allows it.
    pub effective_by: Timestamp,
    /// How far the kill has reached.
    pub state: Reach,
}

/// How far a kill has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Everyone who could accept what was stopped knows of the kill.
    Closed,
}

impl Revoked {
    pub(crate) fn at(effective_by: Timestamp) -> Self {
        Self {
            effective_by,
            state: Reach::Closed,
        }
    }
}
