//! `GET /api/auth/session`: who is signed in, and how.

use axum::extract::State as FromState;
use kavachos_engine::{Session, User};
use serde::Serialize;

use crate::call::OwingCall;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::state::State;

/// A session with its human.
#[derive(Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnSession {
    session: Session,
    user: User,
    /// Whether a second factor is demanded that the session did not show: until then it can do nothing else.
    owes_second_factor: bool,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "showOwnSession",
        tag: "Sessions",
        summary: "Who is signed in, how, and until when",
        text: "It also answers a session that owes a second factor.",
        callers: &[Caller::Session],
    };
    Operation::get("/api/auth/session", ABOUT, handle).refusing(&[Refusal::Forbidden])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    OwingCall(actor): OwingCall,
    params: Params,
) -> Reply<Data<OwnSession>> {
    params.end()?;
    let (session, user) = state.engine.own_session(&actor).await?;
    data(&OwnSession {
        session,
        user,
        owes_second_factor: actor.caller.owes_second_factor(),
    })
}
