//! `POST /api/v1/clients/{id}/deny`: an OAuth client that is known by its document is let in no more, or never.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
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
        id: "denyClient",
        tag: "OAuth clients",
        summary: "Deny an OAuth client that is known by its document",
        text: "Also one that nobody used yet. Every token and code that was made for it is dead, and it stays denied whatever its document says.",
        callers: &[Caller::Operator(Scope::ResourcesWrite)],
    };
    Operation::post("/api/v1/clients/{id}/deny", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathClient(id): PathClient,
    body: Body<Nothing>,
) -> Reply<Done<Revoked>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.deny_client(&actor, &id).await?)
}
