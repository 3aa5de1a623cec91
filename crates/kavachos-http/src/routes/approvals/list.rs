//! `GET /api/v1/approvals`: requests for a human's approval, newest first.

use axum::extract::State as FromState;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Approval, ApprovalFilter};

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Form, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listApprovals",
        tag: "Approvals",
        summary: "List requests for approval, newest first",
        text: "An agent sees what it asked for itself.",
        callers: &[
            Caller::Operator(Scope::ApprovalsDecide),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::get("/api/v1/approvals", ABOUT, handle).query::<kavachos_core::id::AgentId>("agentId", "Of this agent.").query::<kavachos_core::id::UserId>("userId", "For this human.").query_of("status", "With this status.", Form::known(schemars::json_schema!({ "type": "string", "enum": ["pending", "approved", "denied", "used"] })))
        .refusing(&[Refusal::NotFound])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<List<Approval>> {
    let filter = ApprovalFilter {
        agent: params.take("agentId")?,
        subject: params.take("userId")?,
        stage: params.take("status")?,
    };
    let (at, written) = params.page()?;
    page(state.engine.approvals(&actor, filter, at).await?, &written)
}
