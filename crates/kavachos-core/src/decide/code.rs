//! The codes of decisions: stable texts that callers may compare, and their order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::constraint::Verdict;
use crate::invalid::Invalid;
use crate::time::clip;

macro_rules! codes {
    ($($name:ident = $text:literal, $reason:literal;)*) => {
        /// Why a request is allowed or denied.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $reason, ".")] $name,)*
        }

        impl Code {
            /// Every code: first those that a path can have, from the best to the worst, then those that are found
            /// before any path is looked at, in the order in which they are asked.
            pub const ALL: [Self; 21] = [$(Self::$name,)*];

            /// The text that never changes.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The sentence for people; it names no person and repeats nothing from outside.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

codes! {
    Allowed = "allowed", "the request is permitted by the human and every grant down to the agent";
    ApprovalRequired = "approval_required", "a human must approve this very call first";
    ApprovalPending = "approval_pending", "a human has been asked to approve this call and has not answered yet";
    RateLimited = "rate_limited", "the rate limit of a permission or grant is reached";
    BudgetExhausted = "budget_exhausted", "the budget of a permission or grant does not cover this call";
    ApprovalDenied = "approval_denied", "a human has denied this call";
    ArgumentNotAllowed = "argument_not_allowed", "an argument breaks a rule, is missing or is of another type";
    IpNotAllowed = "ip_not_allowed", "the call does not come from an allowed address";
    OutsideTimeWindow = "outside_time_window", "the permission may not be used at this time";
    GrantExpired = "grant_expired", "a grant or permission on the way from the human to the agent has expired";
    AncestorNotActive = "ancestor_not_active", "a grant or principal between the human and the agent is not active";
    PermissionDenied = "permission_denied", "no grant of the agent permits this action on this resource";
    CostRequired = "cost_required", "a matching budget is not counted in calls, so the request must state its cost in that unit";
    UnknownAgent = "unknown_agent", "there is no such agent";
    KeyExpired = "key_expired", "the agent's key has expired; rotate it";
    KeyRevoked = "key_revoked", "the agent's key has been revoked";
    AgentRevoked = "agent_revoked", "the agent has been revoked";
    AgentSuspended = "agent_suspended", "the agent is suspended";
    AgentExpired = "agent_expired", "the agent has expired";
    OwnerNotActive = "owner_not_active", "an owner of the agent is not active";
    SubjectRequired = "subject_required", "the agent has no grant from this human but has some from others; name the human in `for`";
}

impl Code {
    /// Lower is better. A request that waits for an answer is as good as one that still has to ask.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::ApprovalPending => Self::ApprovalRequired as u8,
            other => other as u8,
        }
    }
}

impl From<Verdict> for Code {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allowed => Self::Allowed,
            Verdict::ApprovalRequired => Self::ApprovalRequired,
            Verdict::RateLimited => Self::RateLimited,
            Verdict::BudgetExhausted => Self::BudgetExhausted,
            Verdict::ArgumentNotAllowed => Self::ArgumentNotAllowed,
            Verdict::IpNotAllowed => Self::IpNotAllowed,
            Verdict::OutsideTimeWindow => Self::OutsideTimeWindow,
            Verdict::GrantExpired => Self::GrantExpired,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| Invalid::new(format!("`{}` is not a decision code", clip(text))))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_and_in_order() {
        let texts: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(
            texts.join(" "),
            "allowed approval_required approval_pending rate_limited budget_exhausted approval_denied \
             argument_not_allowed ip_not_allowed outside_time_window grant_expired ancestor_not_active \
             permission_denied cost_required unknown_agent key_expired key_revoked agent_revoked agent_suspended \
             agent_expired owner_not_active subject_required"
        );
        assert!(Code::ALL.is_sorted_by_key(|code| code.rank()));
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
        assert!("Allowed".parse::<Code>().is_err());
    }

    #[test]
    fn waiting_and_asking_are_equally_good() {
        assert_eq!(Code::ApprovalPending.rank(), Code::ApprovalRequired.rank());
    }
}
