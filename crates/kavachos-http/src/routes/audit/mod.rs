//! `/api/v1/audit`.

pub(crate) mod list;
pub(crate) mod show;
