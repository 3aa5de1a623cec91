//! `POST /api/v1/agents/{id}/rotate`: a new key; the old one is dead at once.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_engine::Agent;
use kavachos_engine::actor::Scope;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AgentRotation")]
pub(crate) struct Ask {
    /// How long the new key works: a day unless said, at most 366.
    #[schemars(range(min = 1, max = 31_622_400))]
    key_ttl_seconds: Option<u64>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "rotateAgent",
        tag: "Agents",
        summary: "Give an agent a new key",
        text: "The old one is dead at once.",
        callers: &[Caller::Operator(Scope::AgentsWrite)],
    };
    Operation::post("/api/v1/agents/{id}/rotate", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    body: Body<Ask>,
) -> Reply<WithToken<Agent>> {
    let (ask, actor) = body.with(actor);
    let ttl = ask.key_ttl_seconds.map(Duration::from_secs);
    issued(&state.engine.rotate_agent(&actor, id, ttl).await?)
}
