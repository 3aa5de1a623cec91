//! `/api/v1/signing-keys`: the keys that tokens, heads of the revocation log and checkpoints are signed with.

pub(crate) mod install;
pub(crate) mod list;
pub(crate) mod request;
pub(crate) mod retire;
pub(crate) mod rotate;
