//! `DELETE /api/v1/connections/{id}`: ends an application that a human let in, with all that it has.

use axum::extract::State as FromState;
use kavachos_core::id::kind;
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
        id: "revokeConnection",
        tag: "Connections",
        summary: "End an application that was let in",
        text: "Its agent is revoked, and every line and token is dead. Let in again, it is another agent.",
        callers: &[Caller::Operator(Scope::AgentsWrite), Caller::Session],
    };
    Operation::delete("/api/v1/connections/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kind::Agent>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_connection(&actor, id).await?)
}
