//! `/api/v1/clients`.

pub(crate) mod allow;
pub(crate) mod create;
pub(crate) mod deny;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod show;
pub(crate) mod update;

use axum::extract::FromRequestParts;
use http::request::Parts;
use kavachos_core::client::ClientId;

use super::part;
use crate::error::Failure;

/// The `{id}` of a path: an id that was given here, or the address of a document, percent-encoded.
pub(crate) struct PathClient(pub(crate) ClientId);

impl<S: Send + Sync> FromRequestParts<S> for PathClient {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        part(parts, state, "id").await.map(Self)
    }
}
