//! `DELETE /api/v1/sessions/{id}`: end a session for good.

use axum::extract::State as FromState;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn revoke(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Session>,
    params: Params,
) -> Reply {
    params.end()?;
    data(&state.engine.revoke_session(&actor, id).await?)
}
