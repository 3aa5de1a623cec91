//! `/api/v1/explain`.

pub(crate) mod dry_run;
pub(crate) mod recorded;
