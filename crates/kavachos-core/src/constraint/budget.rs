//! `budget`: a total over the life of a grant, in calls or in a unit that the request states its cost in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::wire;
use crate::counter::Rule;
use crate::invalid::Invalid;
use crate::time::clip;

/// The largest amount: 2^53, the last integer that every JSON reader reads exactly.
pub const MAX_AMOUNT: u64 = 1 << 53;
/// The longest name of a unit in bytes.
pub const MAX_UNIT_LEN: usize = 32;
/// The unit in which every call costs 1.
const CALLS: &str = "calls";

/// What a budget is counted in: `calls`, or a name such as `usd_cents` or `tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unit(Box<str>);

impl Unit {
    /// The unit in which every call costs 1.
    pub fn calls() -> Self {
        Self(CALLS.into())
    }

    /// Whether a call costs 1 of this without saying so.
    pub fn is_calls(&self) -> bool {
        &*self.0 == CALLS
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Unit {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let named = text.starts_with(|first: char| first.is_ascii_lowercase())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.'));
        if named && text.len() <= MAX_UNIT_LEN {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new(format!(
                "`{}` is not a unit like `calls` or `usd_cents`: at most {MAX_UNIT_LEN} of a-z, 0-9, `_`, `-`, `.`, \
                 a letter first",
                clip(text)
            )))
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The members of a budget and of a cost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    amount: Amount,
    unit: Unit,
}

/// An amount from outside, 0 to [`MAX_AMOUNT`].
struct Amount(u64);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = u64::deserialize(deserializer)?;
        if amount > MAX_AMOUNT {
            return Err(de::Error::custom("an amount may be at most 2^53"));
        }
        Ok(Self(amount))
    }
}

/// What one request costs, as an operator or a tool server states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// How much, at most [`MAX_AMOUNT`].
    pub amount: u64,
    /// Of what. Never `calls` when it comes from outside: a call always costs one of them.
    pub unit: Unit,
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire: Wire = wire::object(deserializer, "an object with `amount` and `unit`")?;
        if wire.unit.is_calls() {
            return Err(de::Error::custom(
                "a call always costs 1 of `calls`; leave the cost out or state it in another unit",
            ));
        }
        Ok(Self {
            amount: wire.amount.0,
            unit: wire.unit,
        })
    }
}

/// At most `amount` of `unit` over the life of the grant; an amount of 0 allows nothing, not even what is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    amount: u64,
    unit: Unit,
}

impl Budget {
    /// A budget of so much.
    ///
    /// # Errors
    /// When the amount is above [`MAX_AMOUNT`].
    pub fn new(amount: u64, unit: Unit) -> Result<Self, Invalid> {
        if amount > MAX_AMOUNT {
            return Err(Invalid::at("amount", "an amount may be at most 2^53"));
        }
        Ok(Self { amount, unit })
    }

    /// The total.
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// What it is counted in.
    pub const fn unit(&self) -> &Unit {
        &self.unit
    }

    /// What the counter of this budget enforces.
    pub const fn rule(&self) -> Rule {
        Rule::Budget {
            amount: self.amount,
        }
    }

    /// What one request takes from this budget: 1 of `calls`, else the cost it states in this unit.
    ///
    /// `None` when the request does not say (`cost_required`).
    pub fn charge(&self, cost: Option<&Cost>) -> Option<u64> {
        if self.unit.is_calls() {
            return Some(1);
        }
        cost.filter(|cost| cost.unit == self.unit)
            .map(|cost| cost.amount)
    }

    /// Whether a counter that was never used could pay for this. Without a stated cost it could not.
    pub(super) fn affords(&self, cost: Option<&Cost>) -> bool {
        self.amount > 0
            && self
                .charge(cost)
                .is_some_and(|charge| charge <= self.amount)
    }

    pub(super) fn narrower_than(&self, parent: &Self) -> Result<(), Invalid> {
        if self.unit != parent.unit {
            return Err(Invalid::at(
                "unit",
                format!("must be the parent's `{}`", parent.unit),
            ));
        }
        if self.amount > parent.amount {
            return Err(Invalid::at(
                "amount",
                format!("must not be above the parent's {}", parent.amount),
            ));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire: Wire = wire::object(deserializer, "an object with `amount` and `unit`")?;
        Ok(Self {
            amount: wire.amount.0,
            unit: wire.unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn budget(amount: u64, unit: &str) -> Budget {
        Budget::new(amount, unit.parse().unwrap()).unwrap()
    }

    fn cost(amount: u64, unit: &str) -> Cost {
        Cost {
            amount,
            unit: unit.parse().unwrap(),
        }
    }

    #[test]
    fn what_is_not_a_budget_is_refused() {
        for value in [
            json!({"amount": 1}),
            json!({"amount": -1, "unit": "calls"}),
            json!({"amount": 0.5, "unit": "calls"}),
            json!({"amount": MAX_AMOUNT + 1, "unit": "calls"}),
            json!({"amount": 1, "unit": ""}),
            json!({"amount": 1, "unit": "USD"}),
            json!({"amount": 1, "unit": "7up"}),
            json!({"amount": 1, "unit": "a b"}),
            json!({"amount": 1, "unit": "a".repeat(33)}),
            json!({"amount": 1, "unit": "calls", "per": 60}),
            json!([1, "calls"]),
        ] {
            assert!(Budget::deserialize(&value).is_err(), "{value}");
        }
        let value = json!({"amount": MAX_AMOUNT, "unit": "usd_cents"});
        let read = Budget::deserialize(&value).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), value);
    }

    #[test]
    fn a_cost_is_never_stated_in_calls() {
        assert!(Cost::deserialize(&json!({"amount": 0, "unit": "calls"})).is_err());
        assert!(Cost::deserialize(&json!({"amount": 0, "unit": "tokens"})).is_ok());
    }

    #[test]
    fn a_request_pays_one_call_or_the_cost_it_states_in_the_unit() {
        let cents = budget(100, "usd_cents");
        assert_eq!(budget(100, "calls").charge(None), Some(1));
        assert_eq!(
            budget(100, "calls").charge(Some(&cost(0, "calls"))),
            Some(1)
        );
        assert_eq!(cents.charge(Some(&cost(7, "usd_cents"))), Some(7));
        assert_eq!(cents.charge(Some(&cost(7, "tokens"))), None);
        assert_eq!(cents.charge(None), None);
    }

    #[test]
    fn what_exceeds_the_whole_budget_needs_no_counter() {
        for (budget, cost, affords) in [
            (budget(0, "calls"), None, false),
            (budget(1, "calls"), None, true),
            (budget(0, "tokens"), Some(cost(0, "tokens")), false),
            (budget(5, "tokens"), Some(cost(5, "tokens")), true),
            (budget(5, "tokens"), Some(cost(6, "tokens")), false),
            (budget(5, "tokens"), Some(cost(1, "cents")), false),
            (budget(5, "tokens"), None, false),
        ] {
            assert_eq!(
                budget.affords(cost.as_ref()),
                affords,
                "{budget:?} {cost:?}"
            );
        }
    }

    #[test]
    fn a_narrower_budget_has_the_same_unit_and_no_more() {
        assert!(
            budget(5, "tokens")
                .narrower_than(&budget(5, "tokens"))
                .is_ok()
        );
        assert!(
            budget(6, "tokens")
                .narrower_than(&budget(5, "tokens"))
                .is_err()
        );
        assert!(
            budget(1, "calls")
                .narrower_than(&budget(5, "tokens"))
                .is_err()
        );
    }
}
