//! `DELETE /api/v1/keys/{id}`: revoke an operator key for good.

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
        id: "revokeKey",
        tag: "Operator keys",
        summary: "Revoke an operator key for good",
        text: "",
        callers: &[Caller::Operator(Scope::KeysWrite)],
    };
    Operation::delete("/api/v1/keys/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Key>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_key(&actor, id).await?)
}
