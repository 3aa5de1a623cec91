//! `POST /api/v1/resources`: registers a tool server; only this answer shows its key.

use axum::extract::State as FromState;
use kavachos_engine::NewToolServer;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, issued};
use crate::routes::resources::{Members, missing, read};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Members>,
) -> Reply {
    let (mut ask, actor) = body.with(actor);
    let audience = ask.audience.take().ok_or_else(|| missing("audience"))?;
    let new = NewToolServer {
        audience: read("audience", &audience)?,
        name: ask.name.take().ok_or_else(|| missing("name"))?,
        scopes: ask.scopes()?.ok_or_else(|| missing("scopes"))?,
        policy: ask.policy(),
    };
    issued(&state.engine.register_tool_server(&actor, &new).await?)
}
