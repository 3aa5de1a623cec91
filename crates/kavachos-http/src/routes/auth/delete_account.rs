//! `POST /api/auth/delete-account`: a human goes for good.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::cookie;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "deleteOwnAccount",
        tag: "Users",
        summary: "Delete your own account for good",
        text: "All below stops at once, and what is personal goes: the address, the name, how you sign in. A tombstone and the records stay. The session must be fresh, and your own.",
        callers: &[Caller::Session],
    };
    Operation::post("/api/auth/delete-account", ABOUT, handle)
        .refusing(&[Refusal::Forbidden, Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Nothing>,
) -> Reply<Data<Revoked>> {
    let (Nothing {}, actor) = body.with(actor);
    let gone = data(&state.engine.delete_own_account(&actor).await?)?;
    Ok(gone.setting(&cookie::remove_session()))
}
