//! `DELETE /api/v1/webhooks/{id}`: a webhook and what it was not told yet.

use axum::extract::State as FromState;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    params: Params,
) -> Reply {
    params.end()?;
    data(&state.engine.delete_webhook(&actor, id).await?)
}
