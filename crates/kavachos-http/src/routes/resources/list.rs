//! `GET /api/v1/resources`: tool servers, newest first.

use axum::extract::State as FromState;
use kavachos_engine::ToolServer;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listResources",
        tag: "Tool servers",
        summary: "List tool servers, newest first",
        text: "",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::get("/api/v1/resources", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<List<ToolServer>> {
    let (at, written) = params.page()?;
    page(state.engine.tool_servers(&actor, at).await?, &written)
}
