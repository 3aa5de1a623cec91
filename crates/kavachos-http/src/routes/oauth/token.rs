//! `POST /oauth/token`: tokens for what a client was given (RFC 6749), and for what somebody holds (RFC 8693).

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_core::tool_server::MAX_AUDIENCE_BYTES;
use kavachos_oauth::{Answer, Code, GRANTS, MAX_DETAILS_BYTES, TokenType};
use schemars::{Schema, json_schema};

use super::{Arrival, next_nonce};
use crate::error::Failure;
use crate::operation::{About, Form, Operation};
use crate::reply::{Bare, Reply, json};
use crate::state::State;

/// What is refused besides what every endpoint refuses.
const REFUSED: [Code; 13] = [
    Code::InvalidGrant,
    Code::InvalidScope,
    Code::InvalidTarget,
    Code::InvalidAuthorizationDetails,
    Code::InvalidDpopProof,
    Code::UseDpopNonce,
    Code::UnsupportedGrantType,
    Code::UnauthorizedClient,
    Code::InvalidClient,
    Code::AuthorizationPending,
    Code::SlowDown,
    Code::AccessDenied,
    Code::ExpiredToken,
];

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "exchangeToken",
        tag: "Tokens",
        summary: "Get a token for a code, a refresh token, or what you hold",
        text: "`grant_type` says what is asked for. Token exchange is RFC 8693, with the same rules as `POST /api/v1/delegate`: `subject_token`, `subject_token_type`, a tool server and `reason` are needed. Whoever calls is known by `subject_token`. For a human's session the token is for the agent whose key is the `actor_token`, or for one that exists for such tokens alone; for an agent's key, for that agent. A human of an outside provider is named by that provider's id_token, once: presented by a client of the provider (`client_secret_basic` or `client_secret_post`), or with an operator's key as `Bearer` that has the scope `exchange:<provider>`. A tool server exchanges what it was shown for a token for the next one, with its own key as `Bearer`, where every grant of the chain names it in `exchangeBy`. A root is asked for several tool servers, with `audience` or `resource` repeated; it is bound to the key of the proof that came with the request, and shown here again with a proof of that key. A proof in the header `DPoP` (RFC 9449) binds it to a key. A client that a human let in redeems its code here (`authorization_code`) and asks for the next tokens (`refresh_token`); one that an operator made an agent asks for itself (`client_credentials`), with `resource` and `scope` and nothing of an exchange; a device whose code a human typed shows its own (`urn:ietf:params:oauth:grant-type:device_code`, RFC 8628). Clients show who they are as they registered to: with their secret in the header or the body, or with `client_assertion` (`private_key_jwt`, RFC 7523: `aud` is the issuer, `jti` is used once, ten minutes at most); the proofs of their keys repeat the nonce of the header `DPoP-Nonce`. Parameters that are not told here are ignored.",
        callers: &[],
    };
    Operation::post("/oauth/token", ABOUT, handle)
        .reading_form(Form::known(parameters()))
        .in_oauth(&REFUSED)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Arrival { call, body }: Arrival,
) -> Reply<Bare<Answer>> {
    let answer = kavachos_oauth::token(&state.engine, &call, &body).await;
    let mut reply = json(StatusCode::OK, &answer.map_err(Failure::from)?)?;
    reply.headers_mut().extend(next_nonce(&state, &call));
    Ok(reply)
}

/// What the body may say.
fn parameters() -> Schema {
    let subjects = TokenType::ALL.map(TokenType::uri);
    let made = [TokenType::AccessToken.uri(), TokenType::Root.uri()];
    let audience = json_schema!({ "type": "string", "maxLength": MAX_AUDIENCE_BYTES });
    json_schema!({
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": { "type": "string", "enum": GRANTS },
            "code": { "type": "string", "description": "What a browser brought back." },
            "code_verifier": { "type": "string", "description": "With a code: what its challenge was made of (RFC 7636)." },
            "redirect_uri": { "type": "string", "description": "With a code: where it was sent, if the client says so." },
            "refresh_token": { "type": "string", "description": "What the answer before had." },
            "device_code": { "type": "string", "description": "What the device polls with (RFC 8628)." },
            "subject_token": { "type": "string", "description": "Whose authority it is." },
            "subject_token_type": { "type": "string", "enum": subjects },
            "actor_token": { "type": "string", "description": "The key of the agent that will show the token; with a session or an id_token only." },
            "actor_token_type": { "type": "string", "const": TokenType::AgentKey.uri() },
            "proven": { "type": "string", "description": "Of a bound token that a tool server was shown: the thumbprint of the key of which it saw a proof." },
            "client_id": { "type": "string", "description": "The client that calls, or presents an id_token." },
            "client_assertion": { "type": "string", "description": "What the client signed (RFC 7523)." },
            "client_assertion_type": { "type": "string" },
            "client_secret": { "type": "string", "description": "Its secret, where it is not in the header." },
            "audience": audience,
            "resource": audience,
            "scope": { "type": "string", "description": "Resources with every action, with one blank between them. The tool server's default scope unless said; with a refresh token, all that was given." },
            "authorization_details": { "type": "string", "maxLength": MAX_DETAILS_BYTES,
                "description": "Of an exchange: the same as permissions, with actions and constraints: `[{\"type\": \"kavachos_delegation\", \"permissions\": [...]}]` (RFC 9396)." },
            "requested_token_type": { "type": "string", "enum": made, "description": "An access token unless said." },
            "ttl_seconds": { "type": "integer", "minimum": 1, "description": "Of an exchange: how long it lives, at most what the tool server allows and its parents have left." },
            "reason": { "type": "string", "minLength": 1, "maxLength": 200, "description": "Of an exchange: why, for the record." },
        },
    })
}
