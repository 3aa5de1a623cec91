//! `GET /api/v1/clients/{id}`: one OAuth client, without its secret.

use axum::extract::State as FromState;
use kavachos_engine::RegisteredClient;
use kavachos_engine::actor::Scope;

use super::PathClient;
use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getClient",
        tag: "OAuth clients",
        summary: "Read an OAuth client",
        text: "Without its secret. An id that is the address of a document is percent-encoded, here and in the other routes.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::get("/api/v1/clients/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathClient(id): PathClient,
    params: Params,
) -> Reply<Data<RegisteredClient>> {
    params.end()?;
    data(&state.engine.registered_client(&actor, &id).await?)
}
