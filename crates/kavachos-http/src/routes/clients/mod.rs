//! `/api/v1/clients`.

pub(crate) mod allow;
pub(crate) mod create;
pub(crate) mod deny;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod show;
pub(crate) mod update;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use kavachos_core::client::ClientId;
use kavachos_core::invalid::Invalid;

use crate::error::Failure;

/// The `{id}` of a path: an id that was given here, or the address of a document, percent-encoded.
pub(crate) struct PathClient(pub(crate) ClientId);

impl<S: Send + Sync> FromRequestParts<S> for PathClient {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let wrong = |message: String| Failure::from(Invalid::at("id", message));
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params =
            params.map_err(|_| wrong("cannot be read: percent-encode it as UTF-8".to_owned()))?;
        let text = params
            .iter()
            .find(|(name, _)| *name == "id")
            .map_or("", |(_, value)| value);
        text.parse()
            .map(Self)
            .map_err(|error: Invalid| wrong(error.to_string()))
    }
}
