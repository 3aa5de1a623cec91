//! `POST /api/v1/approvals/{id}/approve`: yes to exactly the call with this digest, once.

use axum::extract::State as FromState;
use kavachos_engine::Approval;
use kavachos_engine::actor::Scope;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Approving")]
pub(crate) struct Ask {
    /// The digest of the document that was read.
    digest: String,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "approve",
        tag: "Approvals",
        summary: "Approve a call, once",
        text: "Exactly the call whose document has this digest. A session must be fresh.",
        callers: &[Caller::Operator(Scope::ApprovalsDecide), Caller::Session],
    };
    Operation::post("/api/v1/approvals/{id}/approve", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Approval>,
    body: Body<Ask>,
) -> Reply<Done<Approval>> {
    let (ask, actor) = body.with(actor);
    done(&state.engine.approve(&actor, id, &ask.digest).await?)
}
