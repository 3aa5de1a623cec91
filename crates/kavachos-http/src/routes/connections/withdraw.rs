//! `DELETE /api/v1/connections/{id}/consents/{resource}`: what a human said yes to is remembered no more.

use axum::extract::State as FromState;
use kavachos_core::id::kind;
use kavachos_engine::Revoked;
use kavachos_engine::actor::Scope;

use super::PathResource;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "withdrawConsent",
        tag: "Connections",
        summary: "Have a human asked again for a tool server",
        text: "What they said yes to is remembered no more. What the application has goes on; its lines, or all of it, are ended apart.",
        callers: &[Caller::Operator(Scope::AgentsWrite), Caller::Session],
    };
    Operation::delete(
        "/api/v1/connections/{id}/consents/{resource}",
        ABOUT,
        handle,
    )
    .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kind::Agent>,
    PathResource(server): PathResource,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.withdraw_consent(&actor, id, server).await?)
}
