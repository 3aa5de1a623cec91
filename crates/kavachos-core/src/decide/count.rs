//! Which counters a call takes from.

use std::fmt;

use crate::constraint::{Budget, Constraints, Cost, Rate};
use crate::counter::{Refusal, Rule};
use crate::hex;
use crate::id::{GrantId, UserId};
use crate::permission::PermissionId;

/// The length of a counter's key in bytes.
pub const COUNTER_KEY_BYTES: usize = 30;

/// Names one counter: whose it is, on what it hangs, and what it counts.
///
/// INVARIANT: the layout is stored and never changes. Owner (1 grant, 2 human) 1 byte, its id 16, kind (1 rate of a
/// permission, 2 budget of a permission, 3 rate of the guards, 4 budget of the guards) 1, permission id or zeros 8, and
/// the period in seconds of a rate or the CRC-32 of a budget's unit 4; integers big-endian. The last part starts a new
/// counter where the old one would count something else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey([u8; COUNTER_KEY_BYTES]);

impl CounterKey {
    /// The key as it is stored.
    pub const fn to_bytes(self) -> [u8; COUNTER_KEY_BYTES] {
        self.0
    }

    /// A key as it was stored.
    pub const fn from_bytes(bytes: [u8; COUNTER_KEY_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// Something to take from a counter, all or none with the others of its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// The counter.
    pub key: CounterKey,
    /// What it enforces.
    pub rule: Rule,
    /// How much: 1 of a rate, the cost of a budget.
    pub n: u64,
}

/// A counter that the writer found full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// The counter.
    pub key: CounterKey,
    /// What the counter said.
    pub refusal: Refusal,
}

/// On what counters hang.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    User(UserId, PermissionId),
    Grant(GrantId, PermissionId),
    Guards(GrantId),
}

impl Holder {
    pub(super) fn rate_key(self, rate: &Rate) -> CounterKey {
        self.key(1, rate.per_seconds())
    }

    pub(super) fn budget_key(self, budget: &Budget) -> CounterKey {
        self.key(2, crc32fast::hash(budget.unit().as_str().as_bytes()))
    }

    fn key(self, counted: u8, detail: u32) -> CounterKey {
        let (owner, id, kind, permission) = match self {
            Self::Grant(grant, permission) => (1, grant.bits(), counted, permission.0),
            Self::User(user, permission) => (2, user.bits(), counted, permission.0),
            Self::Guards(grant) => (1, grant.bits(), counted + 2, [0; 8]),
        };
        let id = id.to_be_bytes();
        let detail = detail.to_be_bytes();
        let parts: [&[u8]; 5] = [&[owner], &id, &[kind], &permission, &detail];
        let mut bytes = [0; COUNTER_KEY_BYTES];
        for (slot, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        CounterKey(bytes)
    }

    /// What a call takes from the counters of these constraints.
    pub(super) fn takes(
        self,
        constraints: &Constraints,
        cost: Option<&Cost>,
    ) -> impl Iterator<Item = Take> {
        let rate = constraints.rate().map(|rate| Take {
            key: self.rate_key(rate),
            rule: rate.rule(),
            n: 1,
        });
        // A cost that is missing has been refused before anything is taken.
        let budget = constraints.budget().and_then(|budget| {
            Some(Take {
                key: self.budget_key(budget),
                rule: budget.rule(),
                n: budget.charge(cost)?,
            })
        });
        rate.into_iter().chain(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constraint::Unit;

    #[test]
    fn every_part_of_a_key_tells_counters_apart() {
        let (grant, user) = (GrantId::from_bits(7), UserId::from_bits(7));
        let (one, two) = (PermissionId([1; 8]), PermissionId([2; 8]));
        let minute = Rate::new(5, 60).unwrap();
        let hour = Rate::new(5, 3600).unwrap();
        let calls = Budget::new(5, Unit::calls()).unwrap();
        let tokens = Budget::new(5, "tokens".parse().unwrap()).unwrap();
        let mut keys = Vec::new();
        for holder in [
            Holder::Grant(grant, one),
            Holder::Grant(grant, two),
            Holder::Grant(GrantId::from_bits(8), one),
            Holder::User(user, one),
            Holder::Guards(grant),
        ] {
            keys.extend([holder.rate_key(&minute), holder.rate_key(&hour)]);
            keys.extend([holder.budget_key(&calls), holder.budget_key(&tokens)]);
        }
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn a_key_does_not_change_with_the_limit_so_that_a_change_forgives_nothing() {
        let holder = Holder::Guards(GrantId::from_bits(7));
        let (old, new) = (Rate::new(5, 60).unwrap(), Rate::new(50, 60).unwrap());
        assert_eq!(holder.rate_key(&old), holder.rate_key(&new));
    }

    #[test]
    fn the_stored_layout_of_a_key_is_fixed() {
        let id = GrantId::from_bits(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let key = Holder::Grant(id, PermissionId([0xee; 8])).rate_key(&Rate::new(5, 3600).unwrap());
        assert_eq!(
            format!("{key:?}"),
            "01\
             0102030405060708090a0b0c0d0e0f10\
             01\
             eeeeeeeeeeeeeeee\
             00000e10"
        );
        assert_eq!(CounterKey::from_bytes(key.to_bytes()), key);
    }
}
