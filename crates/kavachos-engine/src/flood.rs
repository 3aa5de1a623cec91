//! Keeps refusals from filling the disk.
//!
//! Strangers (no known credential) get the first ten refusals a minute recorded one by one, per source network and
//! code; a known agent gets its first `denials_per_minute` denials. What comes after is counted and becomes one record
//! every ten seconds. The sum of single and counted refusals is the number of requests. The tables are bounded: when one
//! is full, further sources share one row, and of the summaries of strangers only the largest name their source. Agents
//! have a table of their own, which no stranger can fill.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::id::AgentId;
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
/// Single records of all strangers together in a window: a bound on disk that no number of addresses moves.
const SINGLE_PER_WINDOW: u32 = 1_000;
/// How many sources are told apart.
const MAX_SOURCES: usize = 10_000;
/// How many summaries of strangers name their source each time; the others are added up by code.
const MAX_NAMED_SUMMARIES: usize = 16;

/// Who is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// A network of 256 IPv4 addresses, or an IPv6 /64.
    Network(IpAddr),
    /// A call that came over no network, or from a source that the full table cannot tell apart.
    Elsewhere,
    /// A known agent.
    Agent(AgentId),
}

/// What becomes of one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    Single,
    Counted,
}

#[derive(Debug)]
struct Row {
    since: Timestamp,
    single: u32,
    counted: u64,
}

/// The table of sources.
#[derive(Debug)]
pub(crate) struct Flood {
    denials_per_minute: u32,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    strangers: Rows,
    all_strangers: Option<Row>,
    agents: Rows,
}

/// At most [`MAX_SOURCES`] rows, and one for each code that sources without a row share.
#[derive(Debug, Default)]
struct Rows(HashMap<(Source, &'static str), Row>);

/// So many refusals of one source with one code that are not on record yet.
type Summary = (Source, &'static str, u64);

impl Flood {
    pub(crate) fn new(denials_per_minute: u32) -> Self {
        Self {
            denials_per_minute,
            table: Mutex::default(),
        }
    }

    fn stranger(&self, ip: Option<IpAddr>, code: &'static str, now: Timestamp) -> Note {
        let source = ip.map_or(Source::Elsewhere, network);
        let mut table = self.table();
        let all = table.all_strangers.get_or_insert_with(|| Row::new(now));
        let limit = if all.count(now, SINGLE_PER_WINDOW) == Note::Single {
            SINGLE_PER_STRANGER
        } else {
            0
        };
        table.strangers.count((source, code), now, limit)
    }

    fn agent(&self, agent: AgentId, now: Timestamp) -> Note {
        self.table().agents.count(
            (Source::Agent(agent), "denied"),
            now,
            self.denials_per_minute,
        )
    }

    /// Takes out what was counted, and forgets sources that were quiet for a window.
    fn drain(&self, now: Timestamp) -> Vec<Summary> {
        let mut table = self.table();
        let mut summaries = added_up(table.strangers.drain(now));
        summaries.extend(table.agents.drain(now));
        summaries
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn count(&mut self, key: (Source, &'static str), now: Timestamp, limit: u32) -> Note {
        let (_, code) = key;
        let full = self.0.len() >= MAX_SOURCES && !self.0.contains_key(&key);
        let key = if full { (Source::Elsewhere, code) } else { key };
        self.0
            .entry(key)
            .or_insert_with(|| Row::new(now))
            .count(now, limit)
    }

    fn drain(&mut self, now: Timestamp) -> Vec<Summary> {
        let counted = self.0.iter_mut().filter(|(_, row)| row.counted > 0);
        let summaries = counted
            .map(|((source, code), row)| (*source, *code, std::mem::take(&mut row.counted)))
            .collect();
        self.0.retain(|_, row| now.since(row.since) < WINDOW);
        summaries
    }
}

/// The largest summaries as they are, and one for each code of the others: a bound on disk that no number of addresses
/// moves.
fn added_up(mut summaries: Vec<Summary>) -> Vec<Summary> {
    summaries.sort_unstable_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    let others = summaries.split_off(summaries.len().min(MAX_NAMED_SUMMARIES));
    let mut by_code: HashMap<&'static str, u64> = HashMap::new();
    for (_, code, count) in others {
        let sum = by_code.entry(code).or_default();
        *sum = sum.saturating_add(count);
    }
    let rest = by_code
        .into_iter()
        .map(|(code, count)| (Source::Elsewhere, code, count));
    summaries.extend(rest);
    summaries
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

fn network(ip: IpAddr) -> Source {
    Source::Network(match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & !0xff)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !0xffff_ffff_ffff_ffff)),
    })
}

/// A refusal of someone whom we do not know.
#[derive(Debug, Clone, Copy)]
pub struct Stranger<'a> {
    /// The address that the call came from.
    pub ip: Option<IpAddr>,
    /// What the caller says it is.
    pub user_agent: Option<&'a str>,
    /// The id of the request.
    pub request: kavachos_core::id::RequestId,
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

    fn note(&self, stranger: Stranger<'_>, agent: Option<AgentId>, code: &'static str) {
        if self.flood().stranger(stranger.ip, code, self.now()) == Note::Counted {
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

    /// Writes one summary record for each source with counted refusals.
    pub async fn flush_refusals(&self) {
        for (source, code, count) in self.flood().drain(self.now()) {
            let details = json!({ "count": count });
            let ip = match source {
                Source::Network(ip) => Some(ip.to_string()),
                Source::Elsewhere | Source::Agent(_) => None,
            };
            let actor = match source {
                Source::Agent(agent) => Name::Agent(agent),
                Source::Network(_) | Source::Elsewhere => Name::Stranger,
            };
            let mut record = Record::new(self.id(), "refusals", Outcome::Denied, code, actor);
            record.details = Some(&details);
            record.personal.ip = ip.as_deref();
            if let Ok(entry) = self.seal(&record)
                && let Err(error) = self.record(entry).await
            {
                tracing::warn!(%error, count, "a summary of refusals could not be written");
            }
        }
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
            .filter(|_| flood.stranger(ip("192.0.2.7"), "unauthenticated", at(1)) == Note::Single)
            .count();
        let counted: u64 = flood.drain(at(2)).iter().map(|(_, _, count)| count).sum();
        assert_eq!((single, counted), (10, 990));
        assert!(flood.drain(at(3)).is_empty());
    }

    #[test]
    fn neighbours_share_a_network_and_others_do_not() {
        let flood = Flood::new(600);
        for _ in 0..10 {
            assert_eq!(
                flood.stranger(ip("192.0.2.7"), "unauthenticated", at(1)),
                Note::Single
            );
        }
        assert_eq!(
            flood.stranger(ip("192.0.2.200"), "unauthenticated", at(1)),
            Note::Counted
        );
        assert_eq!(
            flood.stranger(ip("::ffff:192.0.2.9"), "unauthenticated", at(1)),
            Note::Counted
        );
        assert_eq!(
            flood.stranger(ip("192.0.3.7"), "unauthenticated", at(1)),
            Note::Single
        );
        assert_eq!(
            flood.stranger(ip("192.0.2.7"), "unauthenticated", at(61)),
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
                ) == Note::Single
            })
            .count();
        assert_eq!(single, 1_000);
        assert!(flood.table().strangers.0.len() <= MAX_SOURCES + 1);
        let summaries = flood.drain(at(2));
        assert!(summaries.len() <= MAX_NAMED_SUMMARIES + 1);
        let counted: u64 = summaries.iter().map(|(_, _, count)| count).sum();
        assert_eq!(counted, 49_000);
    }

    #[test]
    fn strangers_in_any_number_take_nothing_from_agents() {
        let flood = Flood::new(1);
        for n in 0..50_000_u32 {
            let address = Some(IpAddr::V4(Ipv4Addr::from_bits(n << 8)));
            flood.stranger(address, "denied", at(1));
        }
        for n in 1..100 {
            let agent = AgentId::from_bits(n);
            assert_eq!(flood.agent(agent, at(1)), Note::Single);
            assert_eq!(flood.agent(agent, at(1)), Note::Counted);
        }
        let agents = flood.drain(at(2)).into_iter();
        let agents = agents.filter(|(source, ..)| matches!(source, Source::Agent(_)));
        assert_eq!(agents.count(), 99);
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
}
