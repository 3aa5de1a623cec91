//! `POST /api/v1/approvals/{id}/deny`: no, until the request is over.

use axum::extract::State as FromState;
use kavachos_engine::Approval;
use kavachos_engine::actor::Scope;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "denyApproval",
        tag: "Approvals",
        summary: "Deny a call, until the request is over",
        text: "",
        callers: &[Caller::Operator(Scope::ApprovalsDecide), Caller::Session],
    };
    Operation::post("/api/v1/approvals/{id}/deny", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Approval>,
    body: Body<Nothing>,
) -> Reply<Done<Approval>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.deny(&actor, id).await?)
}
