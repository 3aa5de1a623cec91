//! `GET /api/v1/explain/{id}`: why a decision on record went as it did.

use axum::extract::State as FromState;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Audit>,
    params: Params,
) -> Reply {
    params.end()?;
    data(&state.engine.explain_recorded(&actor, id).await?)
}
