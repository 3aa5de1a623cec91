//! `DELETE /api/v1/resources/{id}`: revokes a tool server and its key for good.

use axum::extract::State as FromState;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::ToolServer>,
    params: Params,
) -> Reply {
    params.end()?;
    data(&state.engine.revoke_tool_server(&actor, id).await?)
}
