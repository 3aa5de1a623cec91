//! `POST /access/v1/evaluation`: one decision.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_engine::actor::{Actor, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Question;
use crate::call::Call;
use crate::error::Failure;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Bare, Reply, json};
use crate::routes::authzen::{Evaluation, Verdict, read};
use crate::state::State;

/// An evaluation as it was sent; it is read once what a list of them has for all of them is known.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct Ask(#[schemars(with = "Evaluation")] Value);

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "evaluate",
        tag: "AuthZEN",
        summary: "Ask for a decision in the form of AuthZEN 1.0",
        text: "Unknown members are ignored, and errors are a plain message, as the standard asks.",
        callers: &[Caller::Operator(Scope::AuthorizeAny), Caller::ToolServer],
    };
    Operation::post("/access/v1/evaluation", ABOUT, handle).in_plain_words()
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    Question(Ask(evaluation)): Question<Ask>,
) -> Reply<Bare<Verdict<'static>>> {
    state.engine.admit_enforcer(&actor).await?;
    evaluate(&state, actor, &evaluation).await
}

/// Answers one evaluation.
pub(super) async fn evaluate<K>(state: &State, actor: Actor, evaluation: &Value) -> Reply<K> {
    let (actor, question) = read(evaluation, actor).map_err(Failure::from)?;
    let decision = state.engine.authorize(&actor, &question).await?;
    state.metrics.decided(&decision);
    json(StatusCode::OK, &Verdict::of(&decision))
}
