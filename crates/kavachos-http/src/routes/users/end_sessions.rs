//! `DELETE /api/v1/users/{id}/sessions`: end all sessions of a human.

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
        id: "revokeSessions",
        tag: "Sessions",
        summary: "End all sessions of a human",
        text: "That there is none is no error.",
        callers: &[Caller::Operator(Scope::SessionsWrite), Caller::Session],
    };
    Operation::delete("/api/v1/users/{id}/sessions", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_sessions(&actor, id).await?)
}
