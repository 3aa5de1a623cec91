//! `/api/v1/approvals`.

pub(crate) mod approve;
pub(crate) mod deny;
pub(crate) mod list;
pub(crate) mod show;
