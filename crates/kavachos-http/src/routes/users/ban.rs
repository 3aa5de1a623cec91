//! `POST /api/v1/users/{id}/ban`: stop a human and all below until they are unbanned.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
use kavachos_engine::actor::Scope;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "banUser",
        tag: "Users",
        summary: "Ban a human until unbanned",
        text: "They and all below stop at once.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users/{id}/ban", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Nothing>,
) -> Reply<Done<Revoked>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.ban_user(&actor, id).await?)
}
