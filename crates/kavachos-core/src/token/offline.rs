//! What a token permits, decided without a server; and what only a server can decide.

use super::claims::Authority;
use super::failure::Code;
use crate::action::Action;
use crate::constraint::{Call, Constraints, Verdict};
use crate::permission::Permission;
use crate::resource::Resource;
use crate::time::Timestamp;

/// What a token says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offline {
    /// It permits it.
    Allowed,
    /// It would permit it, but a rate, a budget or a human has a say: the server decides. With the code to refuse with
    /// where it cannot be asked.
    AskServer(Code),
    /// It does not, whatever the server says.
    Denied(Code),
}

impl Authority {
    /// Whether a request is permitted, as far as that can be told here: the worse of the guards and the best
    /// permission. Rates, budgets and approvals are never decided here.
    pub fn permits(
        &self,
        action: &Action,
        resource: &Resource,
        call: &Call<'_>,
        now: Timestamp,
    ) -> Offline {
        let best = (self.permissions.matching(action, resource))
            .map(|permission| judge(Permission::constraints(permission), call, now))
            .min()
            .unwrap_or(Offline::Denied(Code::InsufficientScope));
        best.max(judge(self.guards.as_deref(), call, now))
    }
}

fn judge(constraints: Option<&Constraints>, call: &Call<'_>, now: Timestamp) -> Offline {
    let Some(constraints) = constraints else {
        return Offline::Allowed;
    };
    // A missing cost is for the server to tell; here it says only that somebody must be asked.
    let counted = constraints.rate().is_some() || constraints.budget().is_some();
    match constraints.check(call, now) {
        Verdict::Allowed if counted => Offline::AskServer(Code::RateLimited),
        Verdict::Allowed => Offline::Allowed,
        Verdict::ApprovalRequired => Offline::AskServer(Code::ApprovalRequired),
        Verdict::BudgetExhausted => Offline::AskServer(Code::RateLimited),
        Verdict::RateLimited => Offline::Denied(Code::RateLimited),
        Verdict::ArgumentNotAllowed
        | Verdict::IpNotAllowed
        | Verdict::OutsideTimeWindow
        | Verdict::GrantExpired => Offline::Denied(Code::ConstraintFailed),
    }
}
