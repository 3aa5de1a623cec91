//! `POST /api/v1/users/{id}/require-reset`: a password alone signs a human in no more until they set a new one by mail.

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
        id: "requireReset",
        tag: "Users",
        summary: "Have a human set a new password by mail",
        text: "Their sessions end. Their agents go on.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users/{id}/require-reset", ABOUT, handle)
        .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Nothing>,
) -> Reply<Done<Revoked>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.require_reset(&actor, id).await?)
}
