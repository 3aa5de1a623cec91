//! `GET /api/v1/connections/{id}`: an application that a human let in, by the agent that it is.

use axum::extract::State as FromState;
use kavachos_core::id::kind;
use kavachos_engine::Connection;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getConnection",
        tag: "Connections",
        summary: "Read what an application was let in to",
        text: "With its lines: each is one time that the human let it in, so that one tells whether somebody else uses it.",
        callers: &[Caller::Operator(Scope::AgentsRead), Caller::Session],
    };
    Operation::get("/api/v1/connections/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kind::Agent>,
    params: Params,
) -> Reply<Data<Connection>> {
    params.end()?;
    data(&state.engine.connection(&actor, id).await?)
}
