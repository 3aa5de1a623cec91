//! `DELETE /api/auth/sessions/{id}`: end a session of your own for good.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "endOwnSession",
        tag: "Sessions",
        summary: "End a session of your own for good",
        text: "",
        callers: &[Caller::Session],
    };
    Operation::delete("/api/auth/sessions/{id}", ABOUT, handle)
        .refusing(&[Refusal::Forbidden, Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Session>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    // Says that a session is needed before it says anything of another one.
    state.engine.own_session(&actor).await?;
    data(&state.engine.revoke_session(&actor, id).await?)
}
