//! `GET /api/v1/audit`: the ledger, newest first.

use axum::extract::State as FromState;
use kavachos_engine::AuditRecord;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::routes::audit::filter;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listRecords",
        tag: "Audit",
        summary: "List records, newest first",
        text: "A human sees what is about them.",
        callers: &[Caller::Operator(Scope::AuditRead), Caller::Session],
    };
    crate::routes::audit::filtered(Operation::get("/api/v1/audit", ABOUT, handle))
        .refusing(&[Refusal::NotFound])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<List<AuditRecord>> {
    let filter = filter(&mut params)?;
    let (at, written) = params.page()?;
    page(state.engine.audit(&actor, &filter, at).await?, &written)
}
