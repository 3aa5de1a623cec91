//! `POST /api/v1/agents/{id}/suspend`: stop an agent and all below it until it is resumed.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
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
        id: "suspendAgent",
        tag: "Agents",
        summary: "Stop an agent until it is resumed",
        text: "It and all below it stop at once.",
        callers: &[Caller::Operator(Scope::AgentsWrite), Caller::Session],
    };
    Operation::post("/api/v1/agents/{id}/suspend", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    body: Body<Nothing>,
) -> Reply<Done<Revoked>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.suspend_agent(&actor, id).await?)
}
