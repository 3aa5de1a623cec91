//! The codes of decisions: stable texts that callers may compare, and their order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::constraint::Verdict;
use crate::invalid::Invalid;
use crate::time::clip;

macro_rules! codes {
    ($($name:ident = $text:literal, $reason:literal, $remedy:literal;)*) => {
        /// Why a request is allowed or denied.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $reason, ".")] $name,)*
        }

        impl Code {
            /// Every code: first those that a path can have, from the best to the worst, then those that are found
            /// before any path is looked at, in the order in which they are asked, and last what is asked only about
            /// an allow.
            pub const ALL: [Self; 22] = [$(Self::$name,)*];

            /// The text that never changes.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The sentence for people; it names no person and repeats nothing from outside.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// What would have to change for the request to be allowed, as far as this code stands against it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

codes! {
    Allowed = "allowed", "the request is permitted by the human and every grant down to the agent",
        "nothing";
    ApprovalRequired = "approval_required", "a human must approve this very call first",
        "let the human, or an operator, approve this call";
    ApprovalPending = "approval_pending", "a human has been asked to approve this call and has not answered yet",
        "wait for the human's answer, then ask again";
    RateLimited = "rate_limited", "the rate limit of a permission or grant is reached",
        "wait until the limit's period has room, or raise the limit";
    BudgetExhausted = "budget_exhausted", "the budget of a permission or grant does not cover this call",
        "raise the budget, or ask for less";
    ApprovalDenied = "approval_denied", "a human has denied this call",
        "wait until the denial's time is over, then ask the human again";
    ArgumentNotAllowed = "argument_not_allowed", "an argument breaks a rule, is missing or is of another type",
        "call with arguments that keep to the rules, or change the rules on every grant that states them";
    IpNotAllowed = "ip_not_allowed", "the call does not come from an allowed address",
        "call from an allowed address, or add this one on every grant that lists addresses";
    OutsideTimeWindow = "outside_time_window", "the permission may not be used at this time",
        "call within the window, or widen it on every grant that states one";
    GrantExpired = "grant_expired", "a grant or permission on the way from the human to the agent has expired",
        "delegate anew, or give the grant or permission a later end";
    AncestorNotActive = "ancestor_not_active", "a grant or principal between the human and the agent is not active",
        "resume or unban what is stopped, or delegate along another chain";
    PermissionDenied = "permission_denied", "no grant of the agent permits this action on this resource",
        "permit the action and resource on every hop of one path, from the human down to the agent";
    CostRequired = "cost_required", "a matching budget is not counted in calls, so the request must state its cost in that unit",
        "state the cost of the call in the budget's unit";
    UnknownAgent = "unknown_agent", "there is no such agent",
        "create the agent, or correct its id";
    KeyExpired = "key_expired", "the agent's key has expired; rotate it",
        "rotate the agent's key";
    KeyRevoked = "key_revoked", "the agent's key has been revoked",
        "use the agent's current key, or rotate it";
    AgentRevoked = "agent_revoked", "the agent has been revoked",
        "create another agent; this one is revoked for good";
    AgentSuspended = "agent_suspended", "the agent is suspended",
        "resume the agent, then rotate its key";
    AgentExpired = "agent_expired", "the agent has expired",
        "give the agent a later end";
    OwnerNotActive = "owner_not_active", "an owner of the agent is not active",
        "resume or unban the owner";
    SubjectRequired = "subject_required", "the agent has no grant from this human but has some from others; name the human in `for`",
        "name in `for` the human for whom the agent acts";
    DeniedByHook = "denied_by_hook", "a hook of this server denied the request, failed or did not answer in time",
        "ask whoever runs the server; nothing that is granted stands against the request";
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
             agent_expired owner_not_active subject_required denied_by_hook"
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
