//! `DELETE /api/v1/connections/{id}/lines/{line}`: ends what came of one time that a human let an application in.

use axum::extract::State as FromState;
use kavachos_core::id::kind;
use kavachos_engine::Revoked;
use kavachos_engine::actor::Scope;

use super::PathLine;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "revokeConnectionLine",
        tag: "Connections",
        summary: "End one line of an application",
        text: "Its refresh token and every token that was made of it are dead; the other lines go on.",
        callers: &[Caller::Operator(Scope::AgentsWrite), Caller::Session],
    };
    Operation::delete("/api/v1/connections/{id}/lines/{line}", ABOUT, handle)
        .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kind::Agent>,
    PathLine(line): PathLine,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.revoke_line(&actor, id, line).await?)
}
