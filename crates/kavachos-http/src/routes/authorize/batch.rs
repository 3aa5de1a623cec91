//! `POST /api/v1/authorize/batch`: up to 100 questions, answered in their order.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_core::invalid::Invalid;
use kavachos_core::json::Object;
use kavachos_engine::actor::{Actor, Scope};
use kavachos_engine::{MAX_QUESTIONS, Question};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body;
use crate::call::AnyKeyCall;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, json};
use crate::routes::authorize::{Answer, Ask, answer, plain};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Questions")]
pub(crate) struct Asks {
    /// The questions, answered in their order.
    #[schemars(length(min = 1, max = MAX_QUESTIONS))]
    requests: Vec<Object<Ask>>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "authorizeBatch",
        tag: "Decisions",
        summary: "Ask up to 100 questions at once",
        text: "Each is a decision of its own with its own record. One that cannot be read, or may not be asked, refuses the \
               whole batch.",
        callers: &[
            Caller::Operator(Scope::AuthorizeAny),
            Caller::Agent,
            Caller::ToolServer,
        ],
    };
    Operation::post("/api/v1/authorize/batch", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    AnyKeyCall(actor): AnyKeyCall,
    body::Question(asks): body::Question<Asks>,
) -> Reply<Data<Vec<Answer<'static>>>> {
    let questions = questions(asks.requests, &actor)?;
    let decisions = state.engine.authorize_all(&questions).await?;
    decisions
        .iter()
        .for_each(|decision| state.metrics.decided(decision));
    let answers: Vec<_> = decisions.iter().map(answer).collect();
    json(StatusCode::OK, &Data::of(answers))
}

fn questions(asks: Vec<Object<Ask>>, actor: &Actor) -> Result<Vec<(Actor, Question)>, Invalid> {
    // One more than there may be, for the engine to refuse.
    let asks = asks.into_iter().take(MAX_QUESTIONS + 1).enumerate();
    asks.map(|(index, Object(ask))| {
        let (question, actor) = plain(ask, actor.clone())
            .map_err(|error| error.within(&format!("requests[{index}]")))?;
        Ok((actor, question))
    })
    .collect()
}
