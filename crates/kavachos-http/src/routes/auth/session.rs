//! `GET /api/auth/session`: who is signed in, and how.

use axum::extract::State as FromState;
use kavachos_engine::{Session, User};
use serde::Serialize;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::state::State;

/// A session with its human.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct OwnSession {
    session: Session,
    user: User,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "showOwnSession",
        tag: "Sessions",
        summary: "Who is signed in, how, and until when",
        text: "",
        callers: &[Caller::Session],
    };
    Operation::get("/api/auth/session", ABOUT, handle).refusing(&[Refusal::Forbidden])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<Data<OwnSession>> {
    params.end()?;
    let (session, user) = state.engine.own_session(&actor).await?;
    data(&OwnSession { session, user })
}
