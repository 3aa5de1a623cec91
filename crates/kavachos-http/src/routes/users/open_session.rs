//! `POST /api/v1/users/{id}/sessions`: a session for a human who signed in elsewhere.

use axum::extract::State as FromState;
use kavachos_engine::Session;
use kavachos_engine::actor::Scope;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "openSession",
        tag: "Sessions",
        summary: "Open a session for a human who signed in elsewhere",
        text: "It may do what the human may, within the ceiling of the key. It is fresh for 10 minutes.",
        callers: &[Caller::Operator(Scope::SessionsWrite)],
    };
    Operation::post("/api/v1/users/{id}/sessions", ABOUT, handle)
        .refusing(&[Refusal::Conflict, Refusal::SessionLimitExceeded])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Nothing>,
) -> Reply<WithToken<Session>> {
    let (Nothing {}, actor) = body.with(actor);
    issued(&state.engine.open_session(&actor, id).await?)
}
