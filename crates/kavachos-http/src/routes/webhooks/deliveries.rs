//! `GET /api/v1/webhooks/{id}/deliveries`: what a webhook was not told yet, or not at all.

use axum::extract::State as FromState;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, page};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    params: Params,
) -> Reply {
    let (at, written) = params.page()?;
    page(state.engine.deliveries(&actor, id, at).await?, &written)
}
