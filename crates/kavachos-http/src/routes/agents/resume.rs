//! `POST /api/v1/agents/{id}/resume`: let a suspended agent go on; it needs a new key.

use axum::extract::State as FromState;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::reply::{Reply, done};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    body: Body<Nothing>,
) -> Reply {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.resume_agent(&actor, id).await?)
}
