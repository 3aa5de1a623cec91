//! Limits that an operator may set. Every one counts things; the defaults are those of the documentation.

use std::time::Duration;

use kavachos_core::token::{FeedRoot, Issuer};

use crate::clients::{ProofNonces, Registration};
use crate::doors::{Doors, SignUps};
use crate::feed::FeedAccess;
use crate::providers::Providers;
use crate::second_factor::SecondFactor;

/// The engine's limits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Who issues tokens: the address under which clients know this server.
    pub issuer: Issuer,
    /// Who may follow the log of revocations.
    pub feed: FeedAccess,
    /// The root key that is kept offline, without whose signature no other key signs heads of that log; `None` for keys
    /// that rotate by age.
    pub feed_root: Option<FeedRoot>,
    /// The outside providers that are believed.
    pub providers: Providers,
    /// Agents of one human that are not revoked, sub-agents included.
    pub agents_per_owner: u64,
    /// Live delegations below one grant.
    pub children_per_grant: u64,
    /// Live grants that one agent holds.
    pub grants_per_agent: u64,
    /// Requests for approval of one agent that wait for an answer.
    pub approvals_per_agent: u64,
    /// Sessions of one human that may still be used.
    pub sessions_per_user: u64,
    /// How long a session lives that is not used.
    pub session_idle: Duration,
    /// How long a session lives however much it is used.
    pub session_life: Duration,
    /// How long after a human proved who they are a session of theirs may approve.
    pub session_fresh: Duration,
    /// Guesses at one account in an hour that may be wrong before each further one has to wait.
    pub guesses_per_account: u64,
    /// Guesses in a row at one human's password, or at the codes of their app, that may be wrong before it is looked at in
    /// browsers alone in which they signed in before; 100 at most (NIST SP 800-63B-4, 3.2.2).
    pub guesses_in_a_row: u64,
    /// Codes of six digits of one method in an hour, of all accounts together, that may be wrong before each further one has to wait;
    /// those in browsers in which the human signed in before are not counted. One network may take a tenth of them.
    pub wrong_codes: u64,
    /// Mails that somebody asked for without a session, to one address in an hour.
    pub mails_per_recipient: u64,
    /// How often strangers may come to where people sign in.
    pub doors: Doors,
    /// Whether strangers get accounts.
    pub sign_ups: SignUps,
    /// Whether OAuth clients register themselves (RFC 7591).
    pub registration: Registration,
    /// Clients that registered themselves within a day; beyond them the oldest go that nobody let in.
    pub new_clients: u64,
    /// Whether clients repeat a nonce in the proofs of their keys.
    pub proof_nonces: ProofNonces,
    /// Of whom a second factor is demanded.
    pub second_factor: SecondFactor,
    /// How long a new agent key works when the caller does not say.
    pub agent_key_ttl: Duration,
    /// How long a delegation lasts when the caller does not say.
    pub delegation_ttl: Duration,
    /// For how long a key signs before the next one does.
    pub signing_key_life: Duration,
    /// Denials that one authenticated agent, and refusals that one human, gets recorded one by one in a minute.
    pub denials_per_minute: u32,
    /// Decisions that one tool server may report in a minute, or one batch of them if that is more.
    pub reports_per_minute: u32,
    /// Refreshes of one application that a human let in, in a minute.
    pub refreshes_per_minute: u32,
    /// How long all hooks together may take over one call before it is denied.
    pub hook_time_limit: Duration,
    /// How many users, agents, grants and keys each the directory keeps compiled in memory; one of more than 4 KiB
    /// counts as several.
    pub directory_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer: Issuer::localhost(),
            feed: FeedAccess::default(),
            feed_root: None,
            providers: Providers::default(),
            agents_per_owner: 100,
            children_per_grant: 1_000,
            grants_per_agent: 256,
            approvals_per_agent: 100,
            sessions_per_user: 100,
            session_idle: Duration::from_secs(7 * 24 * 60 * 60),
            session_life: Duration::from_secs(30 * 24 * 60 * 60),
            session_fresh: Duration::from_secs(10 * 60),
            guesses_per_account: 20,
            guesses_in_a_row: 100,
            wrong_codes: 200,
            mails_per_recipient: 5,
            doors: Doors::default(),
            sign_ups: SignUps::default(),
            registration: Registration::default(),
            proof_nonces: ProofNonces::default(),
            new_clients: 20_000,
            second_factor: SecondFactor::default(),
            agent_key_ttl: Duration::from_secs(24 * 60 * 60),
            delegation_ttl: Duration::from_secs(15 * 60),
            signing_key_life: Duration::from_secs(30 * 24 * 60 * 60),
            denials_per_minute: 600,
            reports_per_minute: 600,
            refreshes_per_minute: 600,
            hook_time_limit: Duration::from_millis(100),
            directory_entries: 100_000,
        }
    }
}
