//! `GET /api/v1/users/{id}`: one human.

use axum::extract::State as FromState;
use kavachos_engine::User;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getUser",
        tag: "Users",
        summary: "Read a human",
        text: "",
        callers: &[Caller::Operator(Scope::UsersRead)],
    };
    Operation::get("/api/v1/users/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    params: Params,
) -> Reply<Data<User>> {
    params.end()?;
    data(&state.engine.user(&actor, id).await?)
}
