//! `PATCH /api/v1/clients/{id}`: changes what an OAuth client that was registered says of itself.

use axum::extract::State as FromState;
use kavachos_core::id::AgentId;
use kavachos_engine::actor::Scope;
use kavachos_engine::{ClientChange, RegisteredClient};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::PathClient;
use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ClientChange")]
pub(crate) struct Ask {
    /// What humans are told that it is called.
    #[schemars(length(min = 1, max = 100))]
    name: Option<String>,
    /// Where browsers are sent back to, 1 to 20: instead of all that there were.
    redirect_uris: Option<Vec<String>>,
    /// What it may ask for, instead of what it might.
    grant_types: Option<Vec<String>>,
    /// Whether all its tokens are bound to a key (RFC 9449).
    dpop_bound: Option<bool>,
    /// Whether it asks humans with requests that it pushed alone (RFC 9126).
    require_pushed_requests: Option<bool>,
    /// The public keys with which it signs who it is, instead of those that there were.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    jwks: Option<Value>,
    /// The agent that it is when it asks for itself: the same one gives it a new key. What was made with the key before is
    /// dead. It needs the scope `agents:write`.
    #[schemars(with = "Option<String>")]
    agent: Option<AgentId>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "updateClient",
        tag: "OAuth clients",
        summary: "Change an OAuth client",
        text: "Humans who said yes to it are asked anew. Where something is taken away (a key, an address, a grant) or more is demanded, tokens that were made are dead at once, as by a new secret, and refresh tokens go on by what the client says now, but for those of a client that shows nothing of its own where an address is gone; otherwise tokens go on until they end. A backup of before such a change, restored with the log of revocations, has the client revoked. How it shows who it is stays, and one that is known by its document is changed there.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::patch("/api/v1/clients/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathClient(id): PathClient,
    body: Body<Ask>,
) -> Reply<Data<RegisteredClient>> {
    let (ask, actor) = body.with(actor);
    let change = ClientChange {
        name: ask.name,
        redirect_uris: ask.redirect_uris,
        grant_types: ask.grant_types,
        dpop_bound: ask.dpop_bound,
        require_pushed_requests: ask.require_pushed_requests,
        jwks: ask.jwks,
        agent: ask.agent,
    };
    data(&state.engine.change_client(&actor, &id, &change).await?)
}
