//! `PATCH /api/v1/resources/{id}`: changes a tool server; its audience stays, since tokens name it.

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Edited, ToolServer, ToolServerChange};

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::routes::resources::Members;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "updateResource",
        tag: "Tool servers",
        summary: "Change a tool server",
        text: "Its audience stays, since tokens name it.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::patch("/api/v1/resources/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::ToolServer>,
    body: Body<Members>,
) -> Reply<Data<Edited<ToolServer>>> {
    let (mut ask, actor) = body.with(actor);
    if ask.audience.is_some() {
        let message = "an audience cannot be changed; register another tool server";
        return Err(Invalid::at("audience", message).into());
    }
    let change = ToolServerChange {
        name: ask.name.take(),
        scopes: ask.scopes()?,
        policy: ask.policy(),
    };
    data(&state.engine.change_tool_server(&actor, id, &change).await?)
}
