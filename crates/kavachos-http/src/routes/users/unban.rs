//! `POST /api/v1/users/{id}/unban`: let a banned human's grants live again.

use axum::extract::State as FromState;
use kavachos_engine::User;
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
        id: "unbanUser",
        tag: "Users",
        summary: "Let a banned human's grants live again",
        text: "",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users/{id}/unban", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Nothing>,
) -> Reply<Done<User>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.unban_user(&actor, id).await?)
}
