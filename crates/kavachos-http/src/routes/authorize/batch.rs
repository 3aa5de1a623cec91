//! `POST /api/v1/authorize/batch`: up to 100 questions, answered in their order.

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Actor;
use kavachos_engine::{MAX_QUESTIONS, Question};
use serde::Deserialize;

use crate::body::Body;
use crate::call::AnyKeyCall;
use crate::reply::{Reply, data};
use crate::routes::authorize::{Ask, answer, question};
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asks {
    requests: Vec<Ask>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    AnyKeyCall(actor): AnyKeyCall,
    body: Body<Asks>,
) -> Reply {
    let questions = questions(body.question()?.requests, &actor)?;
    let decisions = state.engine.authorize_all(&questions).await?;
    decisions
        .iter()
        .for_each(|decision| state.metrics.decided(decision));
    data(&decisions.iter().map(answer).collect::<Vec<_>>())
}

fn questions(asks: Vec<Ask>, actor: &Actor) -> Result<Vec<(Actor, Question)>, Invalid> {
    // One more than there may be, for the engine to refuse.
    let asks = asks.into_iter().take(MAX_QUESTIONS + 1).enumerate();
    asks.map(|(index, ask)| {
        let (question, actor) = question(ask, actor.clone())
            .map_err(|error| error.within(&format!("requests[{index}]")))?;
        Ok((actor, question))
    })
    .collect()
}
