//! `GET /api/v1/approvals`: requests for a human's approval, newest first.

use axum::extract::State as FromState;
use kavachos_engine::ApprovalFilter;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, page};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply {
    let filter = ApprovalFilter {
        agent: params.take("agentId")?,
        subject: params.take("userId")?,
        stage: params.take("status")?,
    };
    let (at, written) = params.page()?;
    page(state.engine.approvals(&actor, filter, at).await?, &written)
}
