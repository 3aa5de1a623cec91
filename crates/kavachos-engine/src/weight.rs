//! About how much compiled things take in memory: what the directory is bounded by, beside their number.
//!
//! What several sets share is counted in each, so the sum is rather too high. A compiled pattern is counted as what an
//! ordinary one takes; a hostile one takes up to sixteen times that.

use std::io;

use kavachos_core::constraint::Constraints;
use kavachos_core::grant::{Grant, TokenUses};
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::tool_server::Audience;
use quick_cache::Weighter;
use serde::Serialize;

use crate::known::{KnownAgent, Received};

/// What an ordinary entry of the directory takes at the most, and weighs 1.
pub(crate) const ENTRY_BYTES: usize = 4 << 10;
/// The same of a permission by itself.
pub(crate) const PERMISSION_BYTES: usize = 512;
/// What a compiled pattern is counted as.
const PATTERN_BYTES: usize = 16 << 10;

/// A thing with its weight, which a cache asks for often.
#[derive(Debug, Clone)]
pub(crate) struct Weighed<T> {
    pub(crate) thing: T,
    weight: u32,
}

impl<T> Weighed<T> {
    /// A thing of so many bytes, weighed by what an ordinary one takes.
    pub(crate) fn new(thing: T, bytes: usize, ordinary: usize) -> Self {
        let weight = bytes.div_ceil(ordinary.max(1)).max(1);
        Self {
            thing,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
        }
    }
}

/// Weighs what was weighed before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales;

impl<K, T> Weighter<K, Weighed<T>> for Scales {
    fn weight(&self, _: &K, value: &Weighed<T>) -> u64 {
        value.weight.into()
    }
}

pub(crate) fn of_permission(permission: &Permission) -> usize {
    let actions: usize = permission.actions().names().map(str::len).sum();
    size_of::<Permission>()
        .saturating_add(permission.resource().as_str().len())
        .saturating_add(actions)
        .saturating_add(permission.constraints().map_or(0, of_constraints))
}

pub(crate) fn of_set(set: &PermissionSet) -> usize {
    let permissions = set.iter().map(|one| of_permission(one));
    permissions.fold(size_of::<PermissionSet>(), usize::saturating_add)
}

pub(crate) fn of_grant(grant: &Grant) -> usize {
    size_of::<Grant>()
        .saturating_add(of_set(&grant.permissions))
        .saturating_add(grant.guards.as_deref().map_or(0, of_constraints))
        .saturating_add(of_uses(&grant.uses))
}

fn of_uses(uses: &TokenUses) -> usize {
    let exchangers = uses.exchange_by.as_slice().iter();
    exchangers.fold(0, |sum, one| {
        sum.saturating_add(size_of::<Audience>())
            .saturating_add(one.as_str().len())
    })
}

/// An agent with the grants that it holds.
pub(crate) fn of_agent(known: &KnownAgent) -> usize {
    let grants = match &known.received {
        None => &[],
        Some(Received::One(grant)) => std::slice::from_ref(grant),
        Some(Received::Several(grants)) => grants,
    };
    grants.iter().map(of_grant).fold(0, usize::saturating_add)
}

fn of_constraints(constraints: &Constraints) -> usize {
    let patterns = constraints.patterns().saturating_mul(PATTERN_BYTES);
    size_of::<Constraints>()
        .saturating_add(json_bytes(constraints))
        .saturating_add(patterns)
}

/// How long something is as JSON; nothing is written for it.
pub(crate) fn json_bytes(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        // INVARIANT: what is weighed has a JSON form; what had none would be too heavy for anything.
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(permissions: &Value) -> PermissionSet {
        PermissionSet::from_json(permissions).unwrap()
    }

    #[test]
    fn a_set_weighs_at_least_what_its_text_takes() {
        let one = |number| json!({ "resource": format!("fat:{number}:{}", "x".repeat(480)), "actions": ["read"] });
        let many: Value = (0..200).map(one).collect();
        let one_of: Vec<String> = (0..60).map(|n| format!("{n}{}", "y".repeat(200))).collect();
        let constrained = json!([{
            "resource": "a", "actions": ["*"], "constraints": { "args": { "/x": { "oneOf": one_of } } },
        }]);
        for heavy in [many, constrained] {
            let text: usize = heavy.to_string().len();
            assert!(of_set(&set(&heavy)) > text * 9 / 10, "{text}");
            assert!(text > 2 * ENTRY_BYTES, "{text}");
        }
        // The twin: a light one is light.
        let light = json!([{ "resource": "mcp:github:*", "actions": ["read"] }]);
        assert!(of_set(&set(&light)) < ENTRY_BYTES / 4);
    }

    #[test]
    fn twenty_ordinary_permissions_are_one_ordinary_entry() {
        let one = |number| json!({ "resource": format!("mcp:service{number}:*"), "actions": ["read", "write"] });
        let twenty: Value = (0..20).map(one).collect();
        let bytes = size_of::<Grant>() + of_set(&set(&twenty));
        assert!(bytes <= ENTRY_BYTES, "{bytes}");
    }

    #[test]
    fn a_pattern_weighs_more_than_its_text() {
        let with = |constraints: Value| {
            of_set(&set(
                &json!([{ "resource": "a", "actions": ["*"], "constraints": constraints }]),
            ))
        };
        let pattern = with(json!({ "allowedArgPatterns": ["^[a-z]+$"] }));
        let none = with(json!({ "rate": { "limit": 1, "per": 60 } }));
        assert!(pattern > none + PATTERN_BYTES, "{pattern} {none}");
    }

    #[test]
    fn an_ordinary_thing_weighs_one_and_a_heavy_one_as_many() {
        let weight = |bytes| Scales.weight(&(), &Weighed::new((), bytes, 100));
        assert_eq!([0, 1, 100, 101, 1_000].map(weight), [1, 1, 1, 2, 10]);
    }
}
