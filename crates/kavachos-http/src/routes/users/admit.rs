//! `POST /api/v1/users/admit`: humans on first mention, and clients known by their documents, need wait no longer.

use axum::extract::State as FromState;
use kavachos_engine::Admitted;
use kavachos_engine::actor::Scope;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "admitUsers",
        tag: "Users",
        summary: "Let new humans in again after a restoration",
        text: "Where a backup was put back that may not know of humans who came since and were banned, deleted or allowed less, nobody is made on first mention: neither of a provider's token, nor as the `external` owner of a new agent; and no OAuth client is let in that is known by a document, since it may have been denied. This ends both; before, `POST /api/v1/users` lets single humans in, and `POST /api/v1/clients/{id}/deny` denies a client anew. It needs a key without a ceiling.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users/admit", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Nothing>,
) -> Reply<Done<Admitted>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.admit_humans(&actor).await?)
}
