//! `DELETE /api/v1/sessions/{id}`: end a session for good.

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
        id: "revokeSession",
        tag: "Sessions",
        summary: "End a session for good",
        text: "",
        callers: &[Caller::Operator(Scope::SessionsWrite), Caller::Session],
    };
    Operation::delete("/api/v1/sessions/{id}", ABOUT, revoke).refusing(&[Refusal::Conflict])
}

pub(crate) async fn revoke(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Session>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_session(&actor, id).await?)
}
