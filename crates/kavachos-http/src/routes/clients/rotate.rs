//! `POST /api/v1/clients/{id}/rotate`: a new secret; only this answer shows it.

use axum::extract::State as FromState;
use kavachos_engine::RegisteredClient;
use kavachos_engine::actor::Scope;

use super::PathClient;
use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "rotateClient",
        tag: "OAuth clients",
        summary: "Give an OAuth client a new secret",
        text: "The old one is dead at once, with the access tokens that were made; refresh tokens go on with the new one.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::post("/api/v1/clients/{id}/rotate", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathClient(id): PathClient,
    body: Body<Nothing>,
) -> Reply<WithToken<RegisteredClient>> {
    let (Nothing {}, actor) = body.with(actor);
    issued(&state.engine.rotate_client(&actor, &id).await?)
}
