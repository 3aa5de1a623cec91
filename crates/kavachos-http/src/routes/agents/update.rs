//! `PATCH /api/v1/agents/{id}`: change an agent; narrower permissions count at once.

use axum::extract::State as FromState;
use kavachos_core::constraint::Constraints;
use kavachos_core::grant::Exchangers;
use kavachos_core::permission::PermissionSet;
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Agent, AgentChange, Edited, UsesChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{permissions, proof_key};
use crate::body::{Body, present};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AgentChange")]
pub(crate) struct Ask {
    /// For display.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// What it may do from now on.
    #[schemars(with = "Option<PermissionSet>")]
    permissions: Option<Value>,
    /// What must hold for every call; `null` for nothing.
    #[serde(default, deserialize_with = "present")]
    guards: Option<Option<Constraints>>,
    /// The tool servers that may exchange its tokens for those of the next one.
    exchange_by: Option<Exchangers>,
    /// Whether what comes from a bound token may be unbound, where its tool server asks for no proof.
    bearer: Option<bool>,
    /// Whether agents may hand its tokens on by themselves.
    offline: Option<bool>,
    /// How deep delegations below it may go.
    #[schemars(range(max = kavachos_core::grant::MAX_DEPTH))]
    max_depth: Option<u8>,
    /// When it ends; `null` for never.
    #[serde(default, deserialize_with = "present")]
    expires_at: Option<Option<Timestamp>>,
    /// An object of your own; `null` for none.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Map<String, Value>>")]
    metadata: Option<Option<Value>>,
    /// The public key that is proved with its tokens: an Ed25519 or P-256 JSON Web Key, no other agent's; `null` for none. What was made
    /// before is dead.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Map<String, Value>>")]
    proof_key: Option<Option<Value>>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "updateAgent",
        tag: "Agents",
        summary: "Change an agent",
        text: "Narrower permissions count at once, for the agent and all below it.",
        callers: &[Caller::Operator(Scope::AgentsWrite)],
    };
    Operation::patch("/api/v1/agents/{id}", ABOUT, handle)
        .refusing(&[Refusal::NotNarrower, Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    body: Body<Ask>,
) -> Reply<Data<Edited<Agent>>> {
    let (ask, actor) = body.with(actor);
    let change = AgentChange {
        name: ask.name,
        permissions: ask
            .permissions
            .map(|value| permissions("permissions", &value))
            .transpose()?,
        guards: ask
            .guards
            .map(|guards| guards.filter(|guards| !guards.is_empty())),
        uses: UsesChange {
            exchange_by: ask.exchange_by,
            bearer: ask.bearer,
            offline: ask.offline,
        },
        max_depth: ask.max_depth,
        expires_at: ask.expires_at,
        metadata: ask.metadata,
        proof_key: match ask.proof_key {
            None => None,
            Some(None) => Some(None),
            Some(Some(jwk)) => Some(Some(proof_key(&jwk)?)),
        },
    };
    data(&state.engine.change_agent(&actor, id, &change).await?)
}
