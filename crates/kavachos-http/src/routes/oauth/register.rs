//! `/oauth/register`: clients register themselves (RFC 7591), and look at, change and end what they registered (RFC 7592).

use axum::extract::State as FromState;
use axum::response::IntoResponse;
use http::StatusCode;
use kavachos_core::client::{AuthMethod, GrantType, MAX_CLIENT_NAME_BYTES, MAX_REDIRECTS};
use kavachos_core::id_token::SignatureKind;
use kavachos_oauth::{Code, Registered};
use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::{One, Said};
use crate::error::Failure;
use crate::operation::{About, Form, Operation};
use crate::reply::{self, Answered, Bare, Made, NoContent, Reply};
use crate::state::State;

const ONE: &str = "/oauth/register/{client_id}";

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "registerClient",
        tag: "OAuth clients",
        summary: "Register yourself as an OAuth client",
        text: "RFC 7591, where `oauth.registration` lets: whoever comes, or whoever shows an operator's key as `Bearer`. Redirect addresses that may be none are left out; members that are not known are passed over; grants are those that strangers get, `authorization_code` and `refresh_token`. What a human lets you be they say on a page.",
        callers: &[],
    };
    Operation::post("/oauth/register", ABOUT, handle)
        .reading_json(Form::known(said()))
        .in_oauth(&[
            Code::AccessDenied,
            Code::InvalidRedirectUri,
            Code::InvalidClientMetadata,
            Code::InvalidToken,
            Code::InsufficientScope,
        ])
}

/// As an operation of one client that registered itself.
const fn about(id: &'static str, summary: &'static str, text: &'static str) -> About {
    About {
        id,
        tag: "OAuth clients",
        summary,
        text,
        callers: &[],
    }
}

pub(crate) fn look() -> Operation {
    let about = about(
        "showRegisteredClient",
        "See what you registered",
        "RFC 7592: with the registration token as `Bearer`.",
    );
    Operation::get(ONE, about, looked).in_oauth(&[Code::InvalidToken])
}

pub(crate) fn change() -> Operation {
    let about = about(
        "changeRegisteredClient",
        "Register something else in its place",
        "RFC 7592: with the registration token as `Bearer`, and the client's own `client_id` in the body. What is not said is taken away. Humans who said yes to the client are asked anew; where something is taken away (a key, an address, a grant) or more is demanded, tokens that were made are dead at once.",
    );
    Operation::put(ONE, about, changed)
        .reading_json(Form::known(said_again()))
        .in_oauth(&[
            Code::InvalidRedirectUri,
            Code::InvalidClientMetadata,
            Code::InvalidToken,
        ])
}

pub(crate) fn remove() -> Operation {
    let about = about(
        "removeRegisteredClient",
        "End a client that registered itself",
        "RFC 7592: with the registration token as `Bearer`. Every token that was made for it is dead.",
    );
    Operation::delete(ONE, about, removed).in_oauth(&[Code::InvalidToken])
}

/// What a client may say of itself.
fn said() -> Schema {
    let grants = [GrantType::AuthorizationCode, GrantType::RefreshToken].map(GrantType::as_str);
    let methods = AuthMethod::ALL.map(AuthMethod::as_str);
    json_schema!({
        "type": "object",
        "required": ["redirect_uris"],
        "properties": {
            "client_name": { "type": "string", "maxLength": MAX_CLIENT_NAME_BYTES },
            "client_uri": { "type": "string", "description": "Its page for people: shown, never fetched." },
            "redirect_uris": { "type": "array", "minItems": 1, "maxItems": MAX_REDIRECTS, "items": { "type": "string" } },
            "grant_types": { "type": "array", "items": { "type": "string" }, "description": format!("Of these: `{}`.", grants.join("`, `")) },
            "response_types": { "type": "array", "items": { "type": "string" } },
            "token_endpoint_auth_method": { "type": "string", "enum": methods },
            "jwks": { "type": "object", "description": "The public keys of a client that signs who it is (`private_key_jwt`); `jwks_uri` is not fetched." },
            "token_endpoint_auth_signing_alg": { "type": "string", "enum": SignatureKind::ALL.map(SignatureKind::as_str) },
            "application_type": { "type": "string", "enum": ["native", "web"] },
            "dpop_bound_access_tokens": { "type": "boolean" },
            "require_pushed_authorization_requests": { "type": "boolean" },
        },
    })
}

/// The same of a client that is known already.
fn said_again() -> Schema {
    let mut said = said();
    let own = [
        (
            "client_id",
            json!({ "type": "string", "description": "Its own." }),
        ),
        (
            "client_secret",
            json!({ "type": "string", "description": "Its own, if it is said: a client does not choose one." }),
        ),
    ];
    if let Some(properties) = said.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(own.map(|(name, form)| (name.to_owned(), form)));
    }
    said.insert("required".to_owned(), json!(["client_id", "redirect_uris"]));
    said
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Said { call, body }: Said,
) -> Reply<Made<Registered>> {
    let made = kavachos_oauth::register(&state.engine, &call, &body).await;
    reply::json(StatusCode::CREATED, &made.map_err(Failure::from)?)
}

pub(crate) async fn looked(
    FromState(state): FromState<State>,
    One(id): One,
    Said { call, .. }: Said,
) -> Reply<Bare<Registered>> {
    let known = kavachos_oauth::look(&state.engine, &call, &id).await;
    reply::json(StatusCode::OK, &known.map_err(Failure::from)?)
}

pub(crate) async fn changed(
    FromState(state): FromState<State>,
    One(id): One,
    Said { call, body }: Said,
) -> Reply<Bare<Registered>> {
    let changed = kavachos_oauth::change(&state.engine, &call, (&id, &body)).await;
    reply::json(StatusCode::OK, &changed.map_err(Failure::from)?)
}

pub(crate) async fn removed(
    FromState(state): FromState<State>,
    One(id): One,
    Said { call, .. }: Said,
) -> Reply<NoContent> {
    let removed = kavachos_oauth::remove(&state.engine, &call, &id).await;
    removed.map_err(Failure::from)?;
    Ok(Answered::of(StatusCode::NO_CONTENT.into_response()))
}
