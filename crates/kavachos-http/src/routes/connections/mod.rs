//! `/api/v1/connections`.

pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod revoke_line;
pub(crate) mod show;
pub(crate) mod withdraw;

use axum::extract::FromRequestParts;
use http::request::Parts;
use kavachos_core::id::ToolServerId;
use kavachos_engine::LineName;

use super::part;
use crate::error::Failure;

/// The `{line}` of a path.
pub(crate) struct PathLine(pub(crate) LineName);

/// The `{resource}` of a path.
pub(crate) struct PathResource(pub(crate) ToolServerId);

impl<S: Send + Sync> FromRequestParts<S> for PathLine {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        part(parts, state, "line").await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathResource {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        part(parts, state, "resource").await.map(Self)
    }
}
