//! `POST /api/v1/webhooks/{id}/test`: a message of its own, sent at once, and what came of it.

use axum::extract::State as FromState;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::reply::{Reply, done};
use crate::routes::PathId;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    body: Body<Nothing>,
) -> Reply {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.test_webhook(&actor, id).await?)
}
