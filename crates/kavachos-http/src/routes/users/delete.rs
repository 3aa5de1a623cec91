//! `DELETE /api/v1/users/{id}`: delete a human for good; a tombstone and the records stay.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "deleteUser",
        tag: "Users",
        summary: "Delete a human for good",
        text: "All below stop at once. A tombstone and the records stay.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::delete("/api/v1/users/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.delete_user(&actor, id).await?)
}
