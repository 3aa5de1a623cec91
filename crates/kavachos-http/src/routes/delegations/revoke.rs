//! `DELETE /api/v1/delegations/{id}`: stop a grant and all below it for good.

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
        id: "revokeDelegation",
        tag: "Delegations",
        summary: "Revoke a grant for good",
        text: "It and all that was given on from it stop at once.",
        callers: &[
            Caller::Operator(Scope::AgentsWrite),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::delete("/api/v1/delegations/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Grant>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_delegation(&actor, id).await?)
}
