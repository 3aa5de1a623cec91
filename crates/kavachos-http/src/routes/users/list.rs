//! `GET /api/v1/users`: humans, newest first.

use axum::extract::State as FromState;
use kavachos_engine::User;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listUsers",
        tag: "Users",
        summary: "List humans, newest first",
        text: "",
        callers: &[Caller::Operator(Scope::UsersRead)],
    };
    Operation::get("/api/v1/users", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<List<User>> {
    let (at, written) = params.page()?;
    page(state.engine.users(&actor, at).await?, &written)
}
