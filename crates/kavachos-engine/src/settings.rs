//! Limits that an operator may set. Every one counts things; the defaults are those of the documentation.

use std::time::Duration;

/// The engine's limits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Agents of one human that are not revoked, sub-agents included.
    pub agents_per_owner: u64,
    /// Live delegations below one grant.
    pub children_per_grant: u64,
    /// Live grants that one agent holds.
    pub grants_per_agent: u64,
    /// Requests for approval of one agent that wait for an answer.
    pub approvals_per_agent: u64,
    /// How long a new agent key works when the caller does not say.
    pub agent_key_ttl: Duration,
    /// How long a delegation lasts when the caller does not say.
    pub delegation_ttl: Duration,
    /// Denials that one authenticated agent gets recorded one by one in a minute.
    pub denials_per_minute: u32,
    /// How many users, agents, grants and keys each the directory keeps compiled in memory; one of more than 4 KiB
    /// counts as several.
    pub directory_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agents_per_owner: 100,
            children_per_grant: 1_000,
            grants_per_agent: 256,
            approvals_per_agent: 100,
            agent_key_ttl: Duration::from_secs(24 * 60 * 60),
            delegation_ttl: Duration::from_secs(15 * 60),
            denials_per_minute: 600,
            directory_entries: 100_000,
        }
    }
}
