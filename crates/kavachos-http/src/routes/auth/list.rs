//! `GET /api/auth/sessions`: the caller's own sessions, newest first.

pub(crate) mod end;

use axum::extract::State as FromState;
use kavachos_engine::Session;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listOwnSessions",
        tag: "Sessions",
        summary: "List your own sessions, newest first",
        text: "The one that asks is `current`.",
        callers: &[Caller::Session],
    };
    Operation::get("/api/auth/sessions", ABOUT, handle).refusing(&[Refusal::Forbidden])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<List<Session>> {
    let (at, written) = params.page()?;
    page(state.engine.own_sessions(&actor, at).await?, &written)
}
