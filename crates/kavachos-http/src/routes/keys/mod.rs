//! `/api/v1/keys`.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod show;
pub(crate) mod update;
