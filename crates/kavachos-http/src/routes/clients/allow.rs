//! `POST /api/v1/clients/{id}/allow`: an OAuth client that was denied may be let in again.

use axum::extract::State as FromState;
use kavachos_engine::RegisteredClient;
use kavachos_engine::actor::Scope;

use super::PathClient;
use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "allowClient",
        tag: "OAuth clients",
        summary: "Let an OAuth client in again that was denied",
        text: "Nothing of before lives again: humans are asked anew.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::post("/api/v1/clients/{id}/allow", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathClient(id): PathClient,
    body: Body<Nothing>,
) -> Reply<Done<RegisteredClient>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.allow_client(&actor, &id).await?)
}
