//! `DELETE /api/v1/clients/{id}`: ends an OAuth client, with all that was made for it.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
use kavachos_engine::actor::Scope;

use super::PathClient;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "revokeClient",
        tag: "OAuth clients",
        summary: "Revoke an OAuth client",
        text: "Every token and code that was made for it is dead. One that was registered ends for good.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::delete("/api/v1/clients/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathClient(id): PathClient,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_client(&actor, &id).await?)
}
