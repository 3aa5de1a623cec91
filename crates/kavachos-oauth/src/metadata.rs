//! Who issues tokens here, and how they are asked for (RFC 8414).

use kavachos_core::client::AuthMethod;
use kavachos_core::token::{Algorithm, DETAILS_TYPE};
use kavachos_engine::{Registration, Settings};
use serde::Serialize;

use crate::token::GRANTS;

/// With what clients may sign who they are (RFC 7523): Ed25519 has two names (RFC 8037, RFC 9864).
const SIGNATURES: [&str; 4] = ["EdDSA", "Ed25519", "ES256", "RS256"];

/// The metadata of an issuer. What is not there is not offered.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ServerMetadata"))]
pub struct Metadata {
    /// The `iss` of every token, byte for byte.
    issuer: String,
    /// Where browsers are sent that bring back a code.
    authorization_endpoint: String,
    /// Where tokens are given.
    token_endpoint: String,
    /// Where devices without a browser begin (RFC 8628).
    device_authorization_endpoint: String,
    /// Where clients push what they ask a human for (RFC 9126).
    pushed_authorization_request_endpoint: String,
    /// Whether they have to; each may register to.
    require_pushed_authorization_requests: bool,
    /// Where they give tokens back (RFC 7009).
    revocation_endpoint: String,
    /// How they show there who they are.
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    /// With what they may sign it there.
    revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    /// Where tool servers ask what a token is (RFC 7662).
    introspection_endpoint: String,
    /// How they show there who they are: by their id, and their key as its secret.
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    /// Where clients register themselves, where they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    /// The public keys of tokens.
    jwks_uri: String,
    /// For what tokens are given.
    grant_types_supported: Vec<&'static str>,
    /// What a browser brings back: a code.
    response_types_supported: Vec<&'static str>,
    /// How: in the query.
    response_modes_supported: Vec<&'static str>,
    /// How whoever redeems a code shows that they asked for it (RFC 7636): no other way.
    code_challenge_methods_supported: Vec<&'static str>,
    /// Every answer names its issuer (RFC 9207).
    authorization_response_iss_parameter_supported: bool,
    /// A client may be known by the document at the address that is its id.
    client_id_metadata_document_supported: bool,
    /// Scopes of the protocol; those of a tool server are in its own metadata (RFC 9728).
    scopes_supported: Vec<&'static str>,
    /// How clients show there who they are. Whoever exchanges a token is known by that, and shows nothing else.
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// With what clients may sign who they are.
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    /// With what proofs of possession may be signed (RFC 9449, section 5.1).
    dpop_signing_alg_values_supported: Vec<&'static str>,
    /// A tool server of ours is told the human's id, one of others' a name that no other is told.
    subject_types_supported: Vec<&'static str>,
    /// None: there are no id_tokens.
    id_token_signing_alg_values_supported: Vec<&'static str>,
    /// What `authorization_details` may be (RFC 9396, section 10).
    authorization_details_types_supported: Vec<&'static str>,
}

impl Metadata {
    /// The metadata of an issuer with these settings.
    pub fn of(settings: &Settings) -> Self {
        let issuer = &settings.issuer;
        let registers = settings.registration != Registration::Off;
        let methods = || AuthMethod::ALL.map(AuthMethod::as_str).to_vec();
        let secrets = [AuthMethod::SecretBasic, AuthMethod::SecretPost];
        Self {
            issuer: issuer.to_string(),
            authorization_endpoint: format!("{issuer}/oauth/authorize"),
            token_endpoint: format!("{issuer}/oauth/token"),
            device_authorization_endpoint: format!("{issuer}/oauth/device_authorization"),
            pushed_authorization_request_endpoint: format!("{issuer}/oauth/par"),
            require_pushed_authorization_requests: false,
            revocation_endpoint: format!("{issuer}/oauth/revoke"),
            revocation_endpoint_auth_methods_supported: methods(),
            revocation_endpoint_auth_signing_alg_values_supported: SIGNATURES.to_vec(),
            introspection_endpoint: format!("{issuer}/oauth/introspect"),
            introspection_endpoint_auth_methods_supported: secrets.map(AuthMethod::as_str).to_vec(),
            registration_endpoint: registers.then(|| format!("{issuer}/oauth/register")),
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            grant_types_supported: GRANTS.to_vec(),
            response_types_supported: vec!["code"],
            response_modes_supported: vec!["query"],
            code_challenge_methods_supported: vec!["S256"],
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: true,
            scopes_supported: vec!["offline_access"],
            token_endpoint_auth_methods_supported: methods(),
            token_endpoint_auth_signing_alg_values_supported: SIGNATURES.to_vec(),
            dpop_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::as_str).to_vec(),
            subject_types_supported: vec!["public", "pairwise"],
            id_token_signing_alg_values_supported: Vec::new(),
            authorization_details_types_supported: vec![DETAILS_TYPE],
        }
    }
}
