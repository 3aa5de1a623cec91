//! `POST /api/v1/users/{id}/sessions`: a session for a human who signed in elsewhere.

use axum::extract::State as FromState;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::reply::{Reply, issued};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Nothing>,
) -> Reply {
    let (Nothing {}, actor) = body.with(actor);
    issued(&state.engine.open_session(&actor, id).await?)
}
