//! `/api/v1/agents`.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod permissions;
pub(crate) mod resume;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod show;
pub(crate) mod suspend;
pub(crate) mod update;

use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::token::PublicKey;
use serde_json::Value;

/// A list of permissions, refused with the place of what is wrong in it.
pub(crate) fn permissions(field: &str, value: &Value) -> Result<PermissionSet, Invalid> {
    PermissionSet::from_json(value).map_err(|error| error.within(field))
}

/// A key that an agent proves.
fn proof_key(jwk: &Value) -> Result<PublicKey, Invalid> {
    PublicKey::from_jwk(jwk).map_err(|error| error.within("proofKey"))
}
