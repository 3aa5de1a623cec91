//! `/api/v1/audit`.

mod csv;
pub(crate) mod export;
pub(crate) mod list;
pub(crate) mod show;

use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::Outcome;
use kavachos_engine::AuditFilter;

use crate::params::Params;

/// Which records: the same parameters for lists and for streams.
pub(crate) fn filter(params: &mut Params) -> Result<AuditFilter, Invalid> {
    Ok(AuditFilter {
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
    })
}

fn outcome(text: &str) -> Result<Outcome, Invalid> {
    [Outcome::Allowed, Outcome::Denied]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| Invalid::at("outcome", "must be `allowed` or `denied`"))
}
