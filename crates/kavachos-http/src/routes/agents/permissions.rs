//! `GET /api/v1/agents/{id}/permissions`: the effective authority, path by path.

use axum::extract::State as FromState;
use kavachos_engine::Authority;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listAgentPermissions",
        tag: "Agents",
        summary: "Read what an agent may do, path by path",
        text: "Each path leads from a human over every grant to the agent; those nearest to the human come first.",
        callers: &[
            Caller::Operator(Scope::AgentsRead),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::get("/api/v1/agents/{id}/permissions", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    params: Params,
) -> Reply<List<Authority>> {
    let (at, written) = params.page()?;
    page(state.engine.authority(&actor, id, at).await?, &written)
}
