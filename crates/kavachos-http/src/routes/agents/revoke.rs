//! `DELETE /api/v1/agents/{id}`: stop an agent and all below it for good.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "revokeAgent",
        tag: "Agents",
        summary: "Revoke an agent for good",
        text: "It and all below it stop at once.",
        callers: &[
            Caller::Operator(Scope::AgentsWrite),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::delete("/api/v1/agents/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_agent(&actor, id).await?)
}
