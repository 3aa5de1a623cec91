//! `/api/v1/audit`.

mod csv;
pub(crate) mod export;
pub(crate) mod list;
pub(crate) mod show;

use kavachos_core::id::{AgentId, RequestId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::Outcome;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::time::Timestamp;
use kavachos_engine::AuditFilter;
use schemars::json_schema;

use crate::operation::{Form, Operation};
use crate::params::Params;

/// An operation with the parameters that [`filter`] reads.
pub(crate) fn filtered(operation: Operation) -> Operation {
    let word =
        || Form::known(json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }));
    operation
        .query::<AgentId>("agentId", "About this agent.")
        .query::<UserId>("userId", "For this human.")
        .query::<AgentId>("member", "With this agent anywhere in the chain.")
        .query_of("action", "About this action.", word())
        .query::<ResourcePattern>("resource", "About resources of this pattern.")
        .query::<Outcome>("outcome", "Allowed, or denied.")
        .query_of("code", "With this code.", word())
        .query_of("kind", "Of this kind.", word())
        .query::<RequestId>("requestId", "Of this request.")
        .query::<Timestamp>("since", "From this time on.")
        .query::<Timestamp>("until", "Before this time.")
}

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
