//! `POST /api/v1/revocations/head`: what is new, with a head that is signed for this question.

use axum::extract::State as FromState;
use kavachos_core::revocation::{PollAnswer, PollRequest};

use super::{FOLLOWERS, FeedCall};
use crate::body::Question;
use crate::error::Refusal;
use crate::operation::{About, Operation};
use crate::reply::{Data, Reply, data};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "pollRevocations",
        tag: "Revocations",
        summary: "Ask what was revoked, and for a lease",
        text: "The head is signed by one of `/.well-known/kavach-feed-keys.json`, from a read that began after the question \
               came. What the question says was applied counts as acknowledged.",
        callers: FOLLOWERS,
    };
    Operation::post("/api/v1/revocations/head", ABOUT, handle)
        .refusing(&[Refusal::Conflict, Refusal::FollowerLimitExceeded])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    FeedCall(reader): FeedCall,
    Question(question): Question<PollRequest>,
) -> Reply<Data<PollAnswer>> {
    data(&state.engine.poll_revocations(&reader, &question).await?)
}
