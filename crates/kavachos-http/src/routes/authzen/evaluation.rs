//! `POST /access/v1/evaluation`: one decision.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_engine::actor::Actor;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::error::Failure;
use crate::reply::{Reply, json};
use crate::routes::authzen::{Verdict, read};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Value>,
) -> Reply {
    state.engine.admit_enforcer(&actor).await?;
    evaluate(&state, actor, &body.question()?).await
}

/// Answers one evaluation.
pub(super) async fn evaluate(state: &State, actor: Actor, evaluation: &Value) -> Reply {
    let (actor, question) = read(evaluation, actor).map_err(Failure::from)?;
    let decision = state.engine.authorize(&actor, &question).await?;
    state.metrics.decided(&decision);
    json(StatusCode::OK, &Verdict::of(&decision))
}
