//! `GET /api/v1/delegations/{id}`: one grant.

use axum::extract::State as FromState;
use kavachos_engine::Delegation;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getDelegation",
        tag: "Delegations",
        summary: "Read a grant",
        text: "",
        callers: &[
            Caller::Operator(Scope::AgentsRead),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::get("/api/v1/delegations/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Grant>,
    params: Params,
) -> Reply<Data<Delegation>> {
    params.end()?;
    data(&state.engine.delegation(&actor, id).await?)
}
