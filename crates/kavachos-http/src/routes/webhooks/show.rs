//! `GET /api/v1/webhooks/{id}`: one webhook, without its secret.

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
    data(&state.engine.webhook(&actor, id).await?)
}
