//! `GET /api/v1/audit/{id}`: one record.

use axum::extract::State as FromState;
use kavachos_engine::AuditRecord;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getRecord",
        tag: "Audit",
        summary: "Read a record",
        text: "",
        callers: &[Caller::Operator(Scope::AuditRead), Caller::Session],
    };
    Operation::get("/api/v1/audit/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Audit>,
    params: Params,
) -> Reply<Data<AuditRecord>> {
    params.end()?;
    data(&state.engine.audit_record(&actor, id).await?)
}
