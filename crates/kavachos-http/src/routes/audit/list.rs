//! `GET /api/v1/audit`: the ledger, newest first.

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::Outcome;
use kavachos_engine::AuditFilter;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, page};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply {
    let filter = AuditFilter {
        agent: params.take("agentId")?,
        user: params.take("userId")?,
        member: params.take("member")?,
        action: params.take("action")?,
        resource: params.take("resource")?,
        outcome: params
            .take::<String>("outcome")?
            .map(|text| outcome(&text))
            .transpose()?,
        code: params.take("code")?,
        kind: params.take("kind")?,
        request: params.take("requestId")?,
        since: params.take("since")?,
        until: params.take("until")?,
    };
    let (at, written) = params.page()?;
    page(state.engine.audit(&actor, &filter, at).await?, &written)
}

fn outcome(text: &str) -> Result<Outcome, Invalid> {
    [Outcome::Allowed, Outcome::Denied]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| Invalid::at("outcome", "must be `allowed` or `denied`"))
}
