//! `POST /api/v1/agents/{id}/resume`: let a suspended agent go on; it needs a new key.

use axum::extract::State as FromState;
use kavachos_engine::Agent;
use kavachos_engine::actor::Scope;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "resumeAgent",
        tag: "Agents",
        summary: "Let a suspended agent go on",
        text: "Its key stays dead: rotate it afterwards.",
        callers: &[Caller::Operator(Scope::AgentsWrite)],
    };
    Operation::post("/api/v1/agents/{id}/resume", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    body: Body<Nothing>,
) -> Reply<Done<Agent>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.resume_agent(&actor, id).await?)
}
