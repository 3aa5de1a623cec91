//! `GET /api/v1/resources`: tool servers, newest first.

use axum::extract::State as FromState;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, page};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply {
    let (at, written) = params.page()?;
    page(state.engine.tool_servers(&actor, at).await?, &written)
}
