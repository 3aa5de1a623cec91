//! `/api/v1/users`.

pub(crate) mod admit;
pub(crate) mod ban;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod end_sessions;
pub(crate) mod impersonate;
pub(crate) mod list;
pub(crate) mod open_session;
pub(crate) mod remove_factors;
pub(crate) mod require_reset;
pub(crate) mod role;
pub(crate) mod sessions;
pub(crate) mod show;
pub(crate) mod unban;
pub(crate) mod update;
