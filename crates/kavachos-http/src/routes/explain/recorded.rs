//! `GET /api/v1/explain/{id}`: why a decision on record went as it did.

use axum::extract::State as FromState;
use kavachos_engine::Recorded;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "explainRecord",
        tag: "Audit",
        summary: "Tell why a decision on record went as it did",
        text: "In the words of its record; later changes do not change it.",
        callers: &[Caller::Operator(Scope::AuditRead), Caller::Session],
    };
    Operation::get("/api/v1/explain/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Audit>,
    params: Params,
) -> Reply<Data<Recorded>> {
    params.end()?;
    data(&state.engine.explain_recorded(&actor, id).await?)
}
