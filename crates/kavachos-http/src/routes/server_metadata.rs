//! `GET /.well-known/oauth-authorization-server`: who issues tokens here, and where its keys are (RFC 8414).

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_core::token::Algorithm;
use schemars::JsonSchema;
use serde::Serialize;

use crate::operation::{About, Operation};
use crate::params::Params;
use crate::reply::{Bare, Reply, json};
use crate::state::State;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ServerMetadata")]
pub(crate) struct Metadata {
    /// The `iss` of every token, byte for byte.
    issuer: String,
    /// The public keys of tokens.
    jwks_uri: String,
    /// There is no authorization endpoint yet, so no response types either.
    response_types_supported: Vec<String>,
    /// With what proofs of possession may be signed (RFC 9449, section 5.1).
    dpop_signing_alg_values_supported: Vec<&'static str>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "serverMetadata",
        tag: "Tokens",
        summary: "Find the issuer's keys",
        text: "RFC 8414. Authorization and token endpoints come with the authorization server.",
        callers: &[],
    };
    Operation::get("/.well-known/oauth-authorization-server", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    params: Params,
) -> Reply<Bare<Metadata>> {
    params.end()?;
    let issuer = state.engine.settings().issuer.to_string();
    json(
        StatusCode::OK,
        &Metadata {
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            issuer,
            response_types_supported: Vec::new(),
            dpop_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::as_str).to_vec(),
        },
    )
}
