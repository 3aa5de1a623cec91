//! Keeps refusals from filling the disk.
//!
//! Strangers (no known credential) get the first ten refusals a minute recorded one by one, per source network and
//! code, as long as all of theirs together take no more than a tenth of the free space; a known agent gets its first
//! `denials_per_minute` denials. What comes after is counted and becomes a record every ten seconds. The sum of single
//! and counted refusals is the number of requests. The tables are bounded: when one is full, further sources share a
//! row; and so are the summaries, of which the smallest share one.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::id::{AgentId, RequestId};
use kavachos_core::ledger::{Actor as Name, Entry, Outcome, Record};
use kavachos_core::time::Timestamp;
use kavachos_store::Batch;
use serde_json::json;

use crate::actor::Actor;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Over which time single records are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Single records of one stranger and code in a window.
const SINGLE_PER_STRANGER: u32 = 10;
/// Single records of all strangers together in a window: a bound that no number of addresses moves.
const SINGLE_PER_WINDOW: u32 = 1_000;
/// How many networks and how many agents are told apart.
const MAX_SOURCES: usize = 10_000;
/// How many sources of each kind get a summary of their own; the others share one per code.
const MAX_SUMMARIES: usize = 32;
/// About what one record of a refusal takes on disk, indexes included.
const RECORD_BYTES: u64 = 2_048;
/// Which part of the free space the records of strangers may take.
const FREE_SPACE_SHARE: u64 = 10;

/// What becomes of one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    Single,
    Counted,
}

/// How often one source was refused.
#[derive(Debug)]
struct Row {
    since: Timestamp,
    single: u32,
    counted: u64,
}

/// Sources of one kind, each with its code; `None` stands for all that have no row of their own.
#[derive(Debug)]
struct Table<S> {
    rows: HashMap<(Option<S>, &'static str), Row>,
}

/// Counted refusals of one source; `None` for those that share a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Summary<S> {
    source: Option<S>,
    code: &'static str,
    count: u64,
}

/// What is known of those who were refused.
#[derive(Debug)]
pub(crate) struct Flood {
    denials_per_minute: u32,
    strangers: Mutex<Strangers>,
    agents: Mutex<Table<AgentId>>,
}

#[derive(Debug)]
struct Strangers {
    networks: Table<IpAddr>,
    all: Row,
    /// What their single records have taken of the disk since the start.
    bytes: u64,
}

impl Flood {
    pub(crate) fn new(denials_per_minute: u32) -> Self {
        let strangers = Strangers {
            networks: Table::new(),
            all: Row::new(Timestamp::MIN),
            bytes: 0,
        };
        Self {
            denials_per_minute,
            strangers: Mutex::new(strangers),
            agents: Mutex::new(Table::new()),
        }
    }

    /// `free_bytes` is the free space on the disk, where there is one.
    fn stranger(
        &self,
        ip: Option<IpAddr>,
        code: &'static str,
        now: Timestamp,
        free_bytes: Option<u64>,
    ) -> Note {
        let mut strangers = lock(&self.strangers);
        let whole = free_bytes
            .unwrap_or(u64::MAX)
            .saturating_add(strangers.bytes);
        let fits = strangers.bytes.saturating_add(RECORD_BYTES) <= whole / FREE_SPACE_SHARE;
        let admitted = fits && strangers.all.count(now, SINGLE_PER_WINDOW) == Note::Single;
        let limit = if admitted { SINGLE_PER_STRANGER } else { 0 };
        let note = strangers.networks.count(ip.map(network), code, now, limit);
        if note == Note::Single {
            strangers.bytes = strangers.bytes.saturating_add(RECORD_BYTES);
        }
        note
    }

    fn agent(&self, agent: AgentId, now: Timestamp) -> Note {
        lock(&self.agents).count(Some(agent), "denied", now, self.denials_per_minute)
    }
}

impl<S: Copy + Eq + Hash> Table<S> {
    fn new() -> Self {
        Self {
            rows: HashMap::new(),
        }
    }

    fn count(&mut self, source: Option<S>, code: &'static str, now: Timestamp, limit: u32) -> Note {
        let key = (source, code);
        let full = self.rows.len() >= MAX_SOURCES && !self.rows.contains_key(&key);
        let key = if full { (None, code) } else { key };
        let row = self.rows.entry(key).or_insert_with(|| Row::new(now));
        row.count(now, limit)
    }

    /// Takes out what was counted, the most refused first, and forgets sources that were quiet for a window.
    fn drain(&mut self, now: Timestamp) -> Vec<Summary<S>> {
        let counted = self.rows.iter_mut().filter(|(_, row)| row.counted > 0);
        let mut summaries: Vec<_> = counted
            .map(|((source, code), row)| Summary {
                source: *source,
                code,
                count: std::mem::take(&mut row.counted),
            })
            .collect();
        self.rows.retain(|_, row| now.since(row.since) < WINDOW);
        summaries.sort_unstable_by_key(|summary| std::cmp::Reverse(summary.count));
        let mut shared: HashMap<&'static str, u64> = HashMap::new();
        for rest in summaries.drain(summaries.len().min(MAX_SUMMARIES)..) {
            let sum = shared.entry(rest.code).or_default();
            *sum = sum.saturating_add(rest.count);
        }
        let shared = shared.into_iter().map(|(code, count)| Summary {
            source: None,
            code,
            count,
        });
        summaries.extend(shared);
        summaries
    }

    /// Counts again what could not be written.
    fn put_back(&mut self, summary: Summary<S>, now: Timestamp) {
        let key = (summary.source, summary.code);
        let row = self.rows.entry(key).or_insert_with(|| Row::new(now));
        row.counted = row.counted.saturating_add(summary.count);
    }
}

impl Row {
    fn new(since: Timestamp) -> Self {
        Self {
            since,
            single: 0,
            counted: 0,
        }
    }

    fn count(&mut self, now: Timestamp, limit: u32) -> Note {
        if now.since(self.since) >= WINDOW {
            self.since = now;
            self.single = 0;
        }
        if self.single < limit {
            self.single = self.single.saturating_add(1);
            Note::Single
        } else {
            self.counted = self.counted.saturating_add(1);
            Note::Counted
        }
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 256 IPv4 addresses, or an IPv6 /64: what one stranger easily has.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & !0xff)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !0xffff_ffff_ffff_ffff)),
    }
}

/// A refusal of someone whom we do not know.
#[derive(Debug, Clone, Copy)]
pub struct Stranger<'a> {
    /// The address that the call came from.
    pub ip: Option<IpAddr>,
    /// What the caller says it is.
    pub user_agent: Option<&'a str>,
    /// The id of the request.
    pub request: RequestId,
}

impl Engine {
    /// Records or counts the refusal of a stranger. The answer does not wait for the disk.
    pub fn note_stranger(&self, stranger: Stranger<'_>, code: &'static str) {
        self.note(stranger, None, code);
    }

    /// The same for someone with a dead key of this agent.
    pub(crate) fn note_dead_key(&self, actor: &Actor, agent: AgentId, code: &'static str) {
        let stranger = Stranger {
            ip: actor.ip,
            user_agent: actor.user_agent.as_deref(),
            request: actor.request,
        };
        self.note(stranger, Some(agent), code);
    }

    /// The same for someone who shows what this agent alone should have.
    pub(crate) fn note(&self, stranger: Stranger<'_>, agent: Option<AgentId>, code: &'static str) {
        let free = self.store().free_bytes();
        if self.flood().stranger(stranger.ip, code, self.now(), free) == Note::Counted {
            return;
        }
        let ip = stranger.ip.map(|ip| ip.to_canonical().to_string());
        let mut record = Record::new(self.id(), "refusal", Outcome::Denied, code, Name::Stranger);
        record.agent = agent;
        record.request_id = Some(stranger.request);
        record.personal.ip = ip.as_deref();
        record.personal.user_agent = stranger.user_agent;
        let sealed = self.seal(&record);
        self.commit_aside(sealed);
    }

    /// Refuses a known agent that was denied too often in this minute; its denial is counted then.
    pub(crate) fn admit_denial(&self, agent: AgentId) -> Result<()> {
        match self.flood().agent(agent, self.now()) {
            Note::Single => Ok(()),
            Note::Counted => Err(Error::TooManyRequests {
                retry_after: WINDOW,
            }),
        }
    }

    /// Writes the summaries of what was counted; what cannot be written stays counted.
    pub async fn flush_refusals(&self) {
        let now = self.now();
        let strangers = lock(&self.flood().strangers).networks.drain(now);
        for summary in strangers {
            let ip = summary.source.map(|ip| ip.to_string());
            if let Err(error) = self
                .summarise(&summary, Name::Stranger, ip.as_deref())
                .await
            {
                tracing::warn!(%error, count = summary.count, "refusals stay counted in memory");
                lock(&self.flood().strangers)
                    .networks
                    .put_back(summary, now);
            }
        }
        let agents = lock(&self.flood().agents).drain(now);
        for summary in agents {
            let actor = summary.source.map_or(Name::System, Name::Agent);
            if let Err(error) = self.summarise(&summary, actor, None).await {
                tracing::warn!(%error, count = summary.count, "denials stay counted in memory");
                lock(&self.flood().agents).put_back(summary, now);
            }
        }
    }

    async fn summarise<S>(
        &self,
        summary: &Summary<S>,
        actor: Name,
        ip: Option<&str>,
    ) -> Result<()> {
        let details = json!({ "count": summary.count });
        let mut record = Record::new(self.id(), "refusals", Outcome::Denied, summary.code, actor);
        record.details = Some(&details);
        record.personal.ip = ip;
        let entry = self.seal(&record)?;
        self.record(entry).await.map(drop)
    }

    fn commit_aside(&self, sealed: Result<Entry>) {
        let Ok(entry) = sealed else { return };
        let commit = self.store().commit(Batch {
            entries: vec![entry],
            ..Batch::default()
        });
        self.spawn(async move {
            if let Err(error) = commit.await {
                tracing::warn!(%error, "the record of a refusal could not be written");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn single_and_counted_refusals_sum_up_to_the_requests() {
        let flood = Flood::new(600);
        let single = (0..1_000)
            .filter(|_| {
                flood.stranger(ip("192.0.2.7"), "unauthenticated", at(1), None) == Note::Single
            })
            .count();
        let counted: u64 = lock(&flood.strangers)
            .networks
            .drain(at(2))
            .iter()
            .map(|summary| summary.count)
            .sum();
        assert_eq!((single, counted), (10, 990));
        assert!(lock(&flood.strangers).networks.drain(at(3)).is_empty());
    }

    #[test]
    fn neighbours_share_a_network_and_others_do_not() {
        let flood = Flood::new(600);
        for _ in 0..10 {
            assert_eq!(
                flood.stranger(ip("192.0.2.7"), "unauthenticated", at(1), None),
                Note::Single
            );
        }
        assert_eq!(
            flood.stranger(ip("192.0.2.200"), "unauthenticated", at(1), None),
            Note::Counted
        );
        assert_eq!(
            flood.stranger(ip("::ffff:192.0.2.9"), "unauthenticated", at(1), None),
            Note::Counted
        );
        assert_eq!(
            flood.stranger(ip("192.0.3.7"), "unauthenticated", at(1), None),
            Note::Single
        );
        assert_eq!(
            flood.stranger(ip("192.0.2.7"), "unauthenticated", at(61), None),
            Note::Single
        );
    }

    #[test]
    fn many_sources_bound_neither_memory_nor_disk_upwards() {
        let flood = Flood::new(600);
        let single = (0..50_000_u32)
            .filter(|n| {
                flood.stranger(
                    Some(IpAddr::V4(Ipv4Addr::from_bits(n << 8))),
                    "unauthenticated",
                    at(1),
                    None,
                ) == Note::Single
            })
            .count();
        assert_eq!(single, 1_000);
        assert!(lock(&flood.strangers).networks.rows.len() <= MAX_SOURCES + 1);
        let counted: u64 = lock(&flood.strangers)
            .networks
            .drain(at(2))
            .iter()
            .map(|summary| summary.count)
            .sum();
        assert_eq!(counted, 49_000);
    }

    #[test]
    fn a_known_agent_has_its_own_and_larger_share() {
        let flood = Flood::new(600);
        let agent = AgentId::from_bits(1);
        let single = (0..700)
            .filter(|_| flood.agent(agent, at(1)) == Note::Single)
            .count();
        assert_eq!(single, 600);
        assert_eq!(flood.agent(AgentId::from_bits(2), at(1)), Note::Single);
    }

    #[test]
    fn strangers_take_a_tenth_of_the_free_space_and_no_more() {
        let flood = Flood::new(600);
        let free = Some(100 * RECORD_BYTES);
        let source = |n: u32| Some(IpAddr::V4(Ipv4Addr::from_bits(n << 8)));
        let note = |n, free| flood.stranger(source(n), "unauthenticated", at(1), free);
        let single = (0..50).filter(|n| note(*n, free) == Note::Single).count();
        assert_eq!(single, 11);
        // The twin: with more room the next ones are recorded.
        assert_eq!(note(60, Some(1_000 * RECORD_BYTES)), Note::Single);
    }

    #[test]
    fn summaries_are_bounded_and_lose_nothing() {
        let flood = Flood::new(0);
        for n in 0..100 {
            for _ in 0..=n {
                assert_eq!(flood.agent(AgentId::from_bits(n), at(1)), Note::Counted);
            }
        }
        let summaries = lock(&flood.agents).drain(at(2));
        assert_eq!(summaries.len(), MAX_SUMMARIES + 1);
        let sum: u64 = summaries.iter().map(|summary| summary.count).sum();
        assert_eq!(sum, 5_050);
        lock(&flood.agents).put_back(summaries[0], at(2));
        assert_eq!(lock(&flood.agents).drain(at(3)), vec![summaries[0]]);
    }
}
