//! `POST /api/auth/sign-out`: end the session that asks.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;

use crate::body::{Body, Nothing};
use crate::call::OwingCall;
use crate::cookie;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "signOut",
        tag: "Sessions",
        summary: "End the session that asks",
        text: "A session in a cookie is taken out of the browser, too.",
        callers: &[Caller::Session],
    };
    Operation::post("/api/auth/sign-out", ABOUT, handle)
        .refusing(&[Refusal::Forbidden, Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    OwingCall(actor): OwingCall,
    body: Body<Nothing>,
) -> Reply<Data<Revoked>> {
    let (Nothing {}, actor) = body.with(actor);
    let ended = data(&state.engine.sign_out(&actor).await?)?;
    Ok(ended.setting(&cookie::remove_session()))
}
