//! Constraints: under which circumstances a permission may be used.
//!
//! Promises: a constraint that was read can be judged, since everything in it was compiled, looked up and bounded when
//! it was read; what it does not know it refuses. Judging is pure and bounded, and what is missing or unclear in a call
//! fails. Whatever passes a child that is [narrower](Constraints::narrower_than) passes its parent.
//!
//! Two kinds need more than the call: `rate` and `budget` hang on [counters](crate::counter), `requireApproval` on a
//! human. [`Constraints::check`] only says that they are asked.

mod approval;
mod args;
mod budget;
mod ip;
mod literal;
mod origin;
mod pattern;
mod pointer;
mod prefix;
mod rate;
mod time_window;
mod wire;

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

pub use approval::{Approval, DEFAULT_APPROVAL_TTL, MAX_APPROVAL_TTL};
pub use args::{ArgRules, MAX_ARG_RULES, MAX_MATCHES};
pub use budget::{Budget, Cost, MAX_AMOUNT, MAX_UNIT_LEN, Unit};
pub use ip::{IpAllowlist, IpPrefix, MAX_IP_PREFIXES};
pub use literal::{MAX_LITERAL_LEN, MAX_ONE_OF};
pub(crate) use pattern::searched_bytes;
pub use pattern::{ArgPatterns, MAX_ARG_PATTERNS, MAX_MATCHED_LEN, MAX_PATTERN_LEN};
pub use pointer::MAX_POINTER_LEN;
pub use prefix::MAX_PREFIX_LEN;
pub use rate::{MAX_RATE_LIMIT, MAX_RATE_PERIOD, Rate};
pub use time_window::TimeWindow;

use crate::invalid::Invalid;
use crate::time::Timestamp;

/// All constraints of one permission, or the guards of one grant: each kind at most once, and all of them must hold.
///
/// Written as a JSON object and stored in one form: `maxCallsPerHour` becomes a `rate`, lists are sorted, addresses,
/// zones, numbers and URLs are spelled in one way.
///
/// ```
/// use kavachos_core::constraint::{Call, Constraints, Verdict};
/// use kavachos_core::time::Timestamp;
///
/// let constraints: Constraints = serde_json::from_str(
///     r#"{"args": {"/path": {"prefix": "/srv/data"}}, "timeWindow": {"start": "09:00", "end": "17:00"}}"#,
/// )?;
/// let morning: Timestamp = "2026-11-23T10:00:00Z".parse()?;
/// let arguments = serde_json::json!({"path": "/srv/data/../../etc/passwd"});
/// let call = Call { arguments: Some(&arguments), ip: None, cost: None };
/// assert_eq!(constraints.check(&call, morning), Verdict::ArgumentNotAllowed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Constraints {
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_window: Option<TimeWindow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_allowlist: Option<IpAllowlist>,
    #[serde(skip_serializing_if = "Option::is_none")]
    require_approval: Option<Approval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<ArgRules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_arg_patterns: Option<ArgPatterns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// What a constraint may look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call<'a> {
    /// The arguments of the tool call, read with [`crate::json::parse`].
    pub arguments: Option<&'a Value>,
    /// Where the call comes from.
    pub ip: Option<IpAddr>,
    /// What the call costs.
    pub cost: Option<&'a Cost>,
}

/// What the constraints say of a call, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Nothing here stands against it.
    Allowed,
    /// A human must approve this call first.
    ApprovalRequired,
    /// The rate allows no call at all.
    RateLimited,
    /// The call costs more than the whole budget, or does not say what it costs.
    BudgetExhausted,
    /// An argument breaks a rule, is missing, or is of another type.
    ArgumentNotAllowed,
    /// The call comes from an address that is not listed, or from nobody knows where.
    IpNotAllowed,
    /// It is not the time for it, or too early.
    OutsideTimeWindow,
    /// The time for it is over for good.
    GrantExpired,
}

impl Constraints {
    /// Whether nothing is constrained.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The rate, whose counter every allowed call takes one from.
    pub fn rate(&self) -> Option<&Rate> {
        self.rate.as_ref()
    }

    /// The budget, whose counter every allowed call takes its cost from.
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    /// The approval that every call needs.
    pub fn approval(&self) -> Option<&Approval> {
        self.require_approval.as_ref()
    }

    /// How many patterns are matched against the arguments of a call.
    pub fn patterns(&self) -> usize {
        let rules = self.args.as_ref().map_or(0, ArgRules::patterns);
        rules
            + self
                .allowed_arg_patterns
                .as_ref()
                .map_or(0, ArgPatterns::count)
    }

    /// Judges a call by everything that needs no counter: the worst verdict of all constraints.
    ///
    /// A limit and a budget of 0, and a cost above the whole budget, are told without asking a counter. A missing cost
    /// is [`Verdict::BudgetExhausted`] here; who calls this asks [`Budget::charge`] first, to say `cost_required`.
    pub fn check(&self, call: &Call<'_>, now: Timestamp) -> Verdict {
        // From the worst to the best: the first that fails is the worst, and the dear ones come late.
        if self.expires_at.is_some_and(|end| now >= end) {
            return Verdict::GrantExpired;
        }
        if self.not_before.is_some_and(|start| now < start)
            || fails(self.time_window.as_ref(), |window| window.contains(now))
        {
            return Verdict::OutsideTimeWindow;
        }
        if fails(self.ip_allowlist.as_ref(), |list| list.allows(call.ip)) {
            return Verdict::IpNotAllowed;
        }
        if fails(self.args.as_ref(), |rules| rules.allow(call.arguments))
            || fails(self.allowed_arg_patterns.as_ref(), |patterns| {
                patterns.allow(call.arguments)
            })
        {
            return Verdict::ArgumentNotAllowed;
        }
        if fails(self.budget.as_ref(), |budget| budget.affords(call.cost)) {
            return Verdict::BudgetExhausted;
        }
        if fails(self.rate, |rate| rate.limit() > 0) {
            return Verdict::RateLimited;
        }
        if self.require_approval.is_some() {
            return Verdict::ApprovalRequired;
        }
        Verdict::Allowed
    }

    /// Whether every kind that is stated here is at least as strict as the parent's of that kind.
    ///
    /// A kind that only the parent has is inherited, one that only this has is added: both are narrower.
    ///
    /// # Errors
    /// Names the first kind that is not, and why.
    pub fn narrower_than(&self, parent: &Self) -> Result<(), Invalid> {
        both(&self.rate, &parent.rate, "rate", |ours, theirs| {
            ours.narrower_than(*theirs)
        })?;
        both(
            &self.time_window,
            &parent.time_window,
            "timeWindow",
            TimeWindow::narrower_than,
        )?;
        both(
            &self.ip_allowlist,
            &parent.ip_allowlist,
            "ipAllowlist",
            IpAllowlist::narrower_than,
        )?;
        both(
            &self.require_approval,
            &parent.require_approval,
            "requireApproval",
            |ours, theirs| ours.narrower_than(*theirs),
        )?;
        both(&self.args, &parent.args, "args", ArgRules::narrower_than)?;
        both(
            &self.allowed_arg_patterns,
            &parent.allowed_arg_patterns,
            "allowedArgPatterns",
            ArgPatterns::narrower_than,
        )?;
        both(
            &self.budget,
            &parent.budget,
            "budget",
            Budget::narrower_than,
        )?;
        both(
            &self.not_before,
            &parent.not_before,
            "notBefore",
            |ours, theirs| ordered(theirs, ours, "must not be before the parent's", theirs),
        )?;
        both(
            &self.expires_at,
            &parent.expires_at,
            "expiresAt",
            |ours, theirs| ordered(ours, theirs, "must not be after the parent's", theirs),
        )
    }

    /// These constraints with every kind that they leave out taken from the parent.
    ///
    /// When these are [narrower](Self::narrower_than) than the parent's, the result stands for both: a call passes it
    /// exactly when it passes these and the parent's.
    #[must_use]
    pub fn inheriting(self, parent: &Self) -> Self {
        Self {
            rate: self.rate.or(parent.rate),
            time_window: self.time_window.or_else(|| parent.time_window.clone()),
            ip_allowlist: self.ip_allowlist.or_else(|| parent.ip_allowlist.clone()),
            require_approval: self.require_approval.or(parent.require_approval),
            args: self.args.or_else(|| parent.args.clone()),
            allowed_arg_patterns: self
                .allowed_arg_patterns
                .or_else(|| parent.allowed_arg_patterns.clone()),
            budget: self.budget.or_else(|| parent.budget.clone()),
            not_before: self.not_before.or(parent.not_before),
            expires_at: self.expires_at.or(parent.expires_at),
        }
    }

    /// Constraints that a call passes exactly when it passes these and the others; `None` when two of one kind cannot be
    /// written as one, because neither is narrower.
    pub(crate) fn and(&self, other: &Self) -> Option<Self> {
        Some(Self {
            rate: stricter(&self.rate, &other.rate, |a, b| a.narrower_than(*b))?,
            time_window: stricter(
                &self.time_window,
                &other.time_window,
                TimeWindow::narrower_than,
            )?,
            ip_allowlist: stricter(
                &self.ip_allowlist,
                &other.ip_allowlist,
                IpAllowlist::narrower_than,
            )?,
            require_approval: stricter(&self.require_approval, &other.require_approval, |a, b| {
                a.narrower_than(*b)
            })?,
            args: stricter(&self.args, &other.args, ArgRules::narrower_than)?,
            allowed_arg_patterns: stricter(
                &self.allowed_arg_patterns,
                &other.allowed_arg_patterns,
                ArgPatterns::narrower_than,
            )?,
            budget: stricter(&self.budget, &other.budget, Budget::narrower_than)?,
            not_before: self.not_before.max(other.not_before),
            expires_at: match (self.expires_at, other.expires_at) {
                (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
                (ours, theirs) => ours.or(theirs),
            },
        })
    }
}

/// Of two of a kind the one that is narrower; the inner `None` when neither states it, the outer when neither is.
#[expect(
    clippy::option_option,
    reason = "a kind that is left out, and a kind that cannot be merged"
)]
fn stricter<T: Clone>(
    ours: &Option<T>,
    theirs: &Option<T>,
    narrower: impl Fn(&T, &T) -> Result<(), Invalid>,
) -> Option<Option<T>> {
    match (ours, theirs) {
        (Some(a), Some(b)) if narrower(a, b).is_ok() => Some(Some(a.clone())),
        (Some(a), Some(b)) if narrower(b, a).is_ok() => Some(Some(b.clone())),
        (Some(_), Some(_)) => None,
        (one, other) => Some(one.clone().or_else(|| other.clone())),
    }
}

fn fails<T>(constraint: Option<T>, passes: impl FnOnce(T) -> bool) -> bool {
    !constraint.is_none_or(passes)
}

/// Compares a kind that both state.
fn both<T>(
    ours: &Option<T>,
    theirs: &Option<T>,
    kind: &str,
    narrower: impl FnOnce(&T, &T) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => narrower(ours, theirs).map_err(|error| error.within(kind)),
        _ => Ok(()),
    }
}

fn ordered(
    first: &Timestamp,
    second: &Timestamp,
    rule: &str,
    limit: &Timestamp,
) -> Result<(), Invalid> {
    if first <= second {
        Ok(())
    } else {
        Err(Invalid::new(format!("{rule} {limit}")))
    }
}

impl<'de> Deserialize<'de> for Constraints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire: Wire = wire::object(deserializer, "an object of constraints")?;
        let rate = match (wire.rate, wire.max_calls_per_hour) {
            (Some(_), Some(_)) => {
                return Err(de::Error::custom(
                    "`rate` and `maxCallsPerHour` are the same constraint; keep one of them",
                ));
            }
            (rate, hourly) => rate.or(hourly.map(|hourly| hourly.0)),
        };
        if let (Some(start), Some(end)) = (wire.not_before, wire.expires_at)
            && start >= end
        {
            return Err(de::Error::custom(
                "`notBefore` is not before `expiresAt`, which allows nothing",
            ));
        }
        Ok(Self {
            rate,
            time_window: wire.time_window,
            ip_allowlist: wire.ip_allowlist,
            require_approval: wire.require_approval,
            args: wire.args,
            allowed_arg_patterns: wire.allowed_arg_patterns,
            budget: wire.budget,
            not_before: wire.not_before,
            expires_at: wire.expires_at,
        })
    }
}

/// Constraints as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    #[serde(default, deserialize_with = "wire::stated")]
    rate: Option<Rate>,
    #[serde(default, deserialize_with = "wire::stated")]
    max_calls_per_hour: Option<Hourly>,
    #[serde(default, deserialize_with = "wire::stated")]
    time_window: Option<TimeWindow>,
    #[serde(default, deserialize_with = "wire::stated")]
    ip_allowlist: Option<IpAllowlist>,
    #[serde(default, deserialize_with = "wire::stated")]
    require_approval: Option<Approval>,
    #[serde(default, deserialize_with = "wire::stated")]
    args: Option<ArgRules>,
    #[serde(default, deserialize_with = "wire::stated")]
    allowed_arg_patterns: Option<ArgPatterns>,
    #[serde(default, deserialize_with = "wire::stated")]
    budget: Option<Budget>,
    #[serde(default, deserialize_with = "wire::stated")]
    not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "wire::stated")]
    expires_at: Option<Timestamp>,
}

/// The rate that a `maxCallsPerHour` means.
struct Hourly(Rate);

impl<'de> Deserialize<'de> for Hourly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u64::deserialize(deserializer)?;
        Rate::per_hour(limit).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
