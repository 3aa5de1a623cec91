//! `POST /api/v1/explain`: why this would be allowed or denied now. The body is that of a decision; nothing is decided.

use axum::extract::State as FromState;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, data};
use crate::routes::authorize::{Ask, question};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply {
    let (question, actor) = question(body.question()?, actor)?;
    data(&state.engine.dry_run(&actor, &question).await?)
}
