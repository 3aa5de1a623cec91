//! `DELETE /api/v1/resources/{id}`: revokes a tool server and its key for good.

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
        id: "revokeResource",
        tag: "Tool servers",
        summary: "Revoke a tool server and its key for good",
        text: "",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::delete("/api/v1/resources/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::ToolServer>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_tool_server(&actor, id).await?)
}
