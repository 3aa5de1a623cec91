//! `GET /api/v1/agents/{id}`: one agent, without its key.

use axum::extract::State as FromState;
use kavachos_engine::Agent;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getAgent",
        tag: "Agents",
        summary: "Read an agent",
        text: "Without its key.",
        callers: &[
            Caller::Operator(Scope::AgentsRead),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::get("/api/v1/agents/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    params: Params,
) -> Reply<Data<Agent>> {
    params.end()?;
    data(&state.engine.agent(&actor, id).await?)
}
