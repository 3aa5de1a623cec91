//! `/api/v1/export` and `/api/v1/import`: a tenant that moves, in JSON Lines.

pub(crate) mod export;
pub(crate) mod import;

/// What the lines of a tenant are called among media types.
pub(crate) const LINES: &str = "application/x-ndjson";
