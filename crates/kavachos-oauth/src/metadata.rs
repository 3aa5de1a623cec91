//! Who issues tokens here, and how they are asked for (RFC 8414).

use kavachos_core::token::{Algorithm, DETAILS_TYPE, Issuer};
use serde::Serialize;

use crate::token::TOKEN_EXCHANGE;

/// The metadata of an issuer. What is not there is not offered.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ServerMetadata"))]
pub struct Metadata {
    /// The `iss` of every token, byte for byte.
    issuer: String,
    /// Where tokens are exchanged.
    token_endpoint: String,
    /// The public keys of tokens.
    jwks_uri: String,
    /// The one grant: token exchange (RFC 8693).
    grant_types_supported: Vec<&'static str>,
    /// There is no authorization endpoint yet, so no response types either.
    response_types_supported: Vec<String>,
    /// Whoever calls the token endpoint is known by what it shows there; who presents a provider's token authenticates.
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// With what proofs of possession may be signed (RFC 9449, section 5.1).
    dpop_signing_alg_values_supported: Vec<&'static str>,
    /// What `authorization_details` may be (RFC 9396, section 10).
    authorization_details_types_supported: Vec<&'static str>,
}

impl Metadata {
    /// The metadata of this issuer.
    pub fn of(issuer: &Issuer) -> Self {
        Self {
            issuer: issuer.to_string(),
            token_endpoint: format!("{issuer}/oauth/token"),
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            grant_types_supported: vec![TOKEN_EXCHANGE],
            response_types_supported: Vec::new(),
            token_endpoint_auth_methods_supported: vec![
                "none",
                "client_secret_basic",
                "client_secret_post",
            ],
            dpop_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::as_str).to_vec(),
            authorization_details_types_supported: vec![DETAILS_TYPE],
        }
    }
}
