//! `POST /api/v1/clients`: registers an OAuth client; only this answer shows its secret.

use axum::extract::State as FromState;
use kavachos_core::id::AgentId;
use kavachos_engine::actor::Scope;
use kavachos_engine::{NewClient, RegisteredClient, operators_word};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewClient")]
pub(crate) struct Ask {
    /// What humans are told that it is called.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// Where browsers are sent back to, 1 to 20.
    #[serde(default)]
    redirect_uris: Vec<String>,
    /// What it may ask for; `authorization_code` and `refresh_token` unless said.
    grant_types: Option<Vec<String>>,
    /// How it shows who it is at the token endpoint; `client_secret_basic` unless said, `none` for one that can keep no secret.
    auth_method: Option<String>,
    /// Whether all its tokens are bound to a key (RFC 9449).
    #[serde(default)]
    dpop_bound: bool,
    /// Whether it pushes what it asks a human for (RFC 9126), and is refused in any other way.
    #[serde(default)]
    require_pushed_requests: bool,
    /// The public keys with which it signs who it is, as a JSON Web Key Set, where `authMethod` is `private_key_jwt`.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    jwks: Option<Value>,
    /// The agent that it is when it asks for itself, with the grant `client_credentials`. It acts by a key of that agent which
    /// nobody sees; to name one needs the scope `agents:write`.
    #[schemars(with = "Option<String>")]
    agent: Option<AgentId>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createClient",
        tag: "OAuth clients",
        summary: "Register an OAuth client",
        text: "A client that shows a secret gets one, which only this answer shows. What a human lets it be is an agent of theirs.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::post("/api/v1/clients", ABOUT, handle)
        .refusing(&[Refusal::NotFound, Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<WithToken<RegisteredClient>> {
    let (ask, actor) = body.with(actor);
    let usual = || vec!["authorization_code".to_owned(), "refresh_token".to_owned()];
    let said = json!({
        "client_name": ask.name,
        "redirect_uris": ask.redirect_uris,
        "grant_types": ask.grant_types.unwrap_or_else(usual),
        "token_endpoint_auth_method": ask.auth_method,
        "dpop_bound_access_tokens": ask.dpop_bound,
        "require_pushed_authorization_requests": ask.require_pushed_requests,
        "jwks": ask.jwks,
    });
    let said = said.as_object().cloned().unwrap_or_default();
    let new = NewClient {
        metadata: operators_word(&said)?,
        agent: ask.agent,
    };
    issued(&state.engine.register_client(&actor, &new).await?)
}
