//! `GET /api/v1/users/{id}/sessions`: a human's sessions, newest first.

use axum::extract::State as FromState;
use kavachos_engine::Session;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listSessions",
        tag: "Sessions",
        summary: "List the sessions of a human, newest first",
        text: "Without their tokens.",
        callers: &[Caller::Operator(Scope::SessionsWrite), Caller::Session],
    };
    Operation::get("/api/v1/users/{id}/sessions", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    params: Params,
) -> Reply<List<Session>> {
    let (at, written) = params.page()?;
    page(state.engine.sessions(&actor, id, at).await?, &written)
}
