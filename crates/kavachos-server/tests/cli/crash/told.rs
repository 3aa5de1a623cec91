//! What callers were told, over all servers of one database.

use std::collections::BTreeMap;

/// How many calls each budget allows.
pub(super) const BUDGET: usize = 40;

/// What callers were told.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    pub(super) agents: Vec<String>,
    /// Agents that nobody asked to stop, with their keys. An agent leaves before the request that may stop it.
    pub(super) living: BTreeMap<String, String>,
    /// Agents with a budget of [`BUDGET`] calls.
    pub(super) budgets: Vec<String>,
    pub(super) grants: Vec<String>,
    /// The audit ids of decisions, and whether they allowed.
    pub(super) decisions: Vec<(String, bool)>,
    /// Agents that were revoked or whose human was banned.
    pub(super) revoked_agents: Vec<String>,
    /// What was lent by a grant that was revoked, and to whom.
    pub(super) revoked_grants: Vec<(String, String)>,
    /// Keys that were rotated away.
    pub(super) dead_keys: Vec<String>,
    /// How often the answer was that nobody knows, or that nothing was done.
    pub(super) unavailable: usize,
    loans: usize,
}

impl Told {
    /// A resource that nobody was given yet.
    pub(super) fn next_loan(&mut self) -> String {
        self.loans += 1;
        format!("mcp:lent:{}", self.loans)
    }
}

/// A small generator, so that a run can be repeated.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: usize) -> Self {
        Self(u64::try_from(seed).unwrap())
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}
