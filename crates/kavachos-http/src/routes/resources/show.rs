//! `GET /api/v1/resources/{id}`: one tool server, without the key itself.

use axum::extract::State as FromState;
use kavachos_engine::ToolServer;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getResource",
        tag: "Tool servers",
        summary: "Read a tool server",
        text: "Without its key.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::get("/api/v1/resources/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::ToolServer>,
    params: Params,
) -> Reply<Data<ToolServer>> {
    params.end()?;
    data(&state.engine.tool_server(&actor, id).await?)
}
