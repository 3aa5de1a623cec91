//! Keeps refusals from filling the disk.
//!
//! Strangers (no known credential) get the first ten refusals a minute recorded one by one, per source network and
//! code, as long as all of theirs together take no more than a tenth of the free space; a known agent gets its first
//! `denials_per_minute` denials, and a human as many refusals. What comes after is counted and becomes a record every ten seconds. The sum of single
//! and counted refusals is the number of requests. The tables are bounded: when one is full, further sources share a
//! row; and so are the summaries, of which the smallest share one.
//!
//! What tool servers report is recorded on their word, so it is bounded in the same way, and together with what they are
//! refused: `reports_per_minute` records of one tool server, and those of all of them in a day take no more than a tenth
//! of the free space. What is above is refused without a record of its own, and counted.
//!
//! What strangers do that is recorded as done, which is that clients register themselves, takes no more than a tenth of the
//! free space in a day. An application that a human let in has as many refreshes recorded in a window as it may make; what is above
//! is refused, which uses up nothing of it, and counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::id::{AgentId, RequestId, ToolServerId, UserId};
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
/// About what one record takes on disk, indexes included.
const RECORD_BYTES: u64 = 2_048;
/// Which part of the free space the records of strangers may take, and those of reports.
const FREE_SPACE_SHARE: u64 = 10;
/// Over which time the records of reports are measured: tool servers go on for as long as the server does.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What those are told who report, or refresh, too much.
const TOO_MANY: &str = "too_many_requests";

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
    limits: Limits,
    strangers: Mutex<Strangers>,
    agents: Mutex<Table<AgentId>>,
    humans: Mutex<Table<UserId>>,
    reporters: Mutex<Reporters>,
    done: Mutex<Daily>,
}

/// How much is recorded one by one in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of one agent, and of one human.
    pub(crate) denials: u32,
    /// Of one tool server.
    pub(crate) reports: u32,
    /// Of one application that a human let in.
    pub(crate) refreshes: u32,
}

#[derive(Debug)]
struct Strangers {
    networks: Table<IpAddr>,
    all: Row,
    /// What their single records have taken of the disk since the start.
    share: Share,
}

#[derive(Debug)]
struct Reporters {
    servers: Table<ToolServerId>,
    records: Daily,
}

/// What records of one sort have taken of the disk in this day.
#[derive(Debug)]
struct Daily {
    day: Timestamp,
    share: Share,
}

impl Daily {
    const fn new() -> Self {
        Self {
            day: Timestamp::MIN,
            share: Share { bytes: 0 },
        }
    }

    /// The share, which begins anew with a day.
    fn share(&mut self, now: Timestamp) -> &mut Share {
        if now.since(self.day) >= DAY {
            (self.day, self.share) = (now, Share::default());
        }
        &mut self.share
    }
}

/// What records of one sort have taken of the disk.
#[derive(Debug, Default)]
struct Share {
    bytes: u64,
}

impl Share {
    /// Whether so many more are no more than their part; `free_bytes` is the free space on the disk, where there is one.
    fn has_room(&self, records: u32, free_bytes: Option<u64>) -> bool {
        let whole = free_bytes.unwrap_or(u64::MAX).saturating_add(self.bytes);
        self.after(records) <= whole / FREE_SPACE_SHARE
    }

    fn take(&mut self, records: u32) {
        self.bytes = self.after(records);
    }

    fn after(&self, records: u32) -> u64 {
        self.bytes
            .saturating_add(RECORD_BYTES.saturating_mul(records.into()))
    }
}

impl Flood {
    pub(crate) fn new(limits: Limits) -> Self {
        let strangers = Strangers {
            networks: Table::new(),
            all: Row::new(Timestamp::MIN),
            share: Share::default(),
        };
        let reporters = Reporters {
            servers: Table::new(),
            records: Daily::new(),
        };
        Self {
            limits,
            strangers: Mutex::new(strangers),
            agents: Mutex::new(Table::new()),
            humans: Mutex::new(Table::new()),
            reporters: Mutex::new(reporters),
            done: Mutex::new(Daily::new()),
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
        let fits = strangers.share.has_room(1, free_bytes);
        let admitted = fits && strangers.all.count(1, now, SINGLE_PER_WINDOW) == Note::Single;
        let limit = if admitted { SINGLE_PER_STRANGER } else { 0 };
        let row = strangers.networks.row(ip.map(network), code, now);
        let note = row.count(1, now, limit);
        if note == Note::Single {
            strangers.share.take(1);
        }
        note
    }

    fn agent(&self, agent: AgentId, now: Timestamp) -> Note {
        let mut agents = lock(&self.agents);
        let row = agents.row(Some(agent), "denied", now);
        row.count(1, now, self.limits.denials)
    }

    /// Whether an agent may refresh now; else after how long.
    fn refresh(&self, agent: AgentId, now: Timestamp) -> std::result::Result<(), Duration> {
        let mut agents = lock(&self.agents);
        let row = agents.row(Some(agent), TOO_MANY, now);
        match row.count(1, now, self.limits.refreshes) {
            Note::Single => Ok(()),
            Note::Counted => Err(WINDOW.saturating_sub(now.since(row.since))),
        }
    }

    fn human(&self, human: UserId, now: Timestamp) -> Note {
        let mut humans = lock(&self.humans);
        let row = humans.row(Some(human), "refused", now);
        row.count(1, now, self.limits.denials)
    }

    /// Takes off what was recorded.
    fn reported(&self, records: u32) {
        lock(&self.reporters).records.share.take(records);
    }

    /// Whether there is room for the record of something that a stranger does; if so, it is taken.
    fn done(&self, now: Timestamp, free_bytes: Option<u64>) -> bool {
        let mut done = lock(&self.done);
        let share = done.share(now);
        let has_room = share.has_room(1, free_bytes);
        if has_room {
            share.take(1);
        }
        has_room
    }

    /// Whether so many decisions are taken that a tool server reports at once; else after how long it may come again.
    fn reports(
        &self,
        (server, decisions): (ToolServerId, u32),
        now: Timestamp,
        free_bytes: Option<u64>,
    ) -> std::result::Result<(), Duration> {
        let mut reporters = lock(&self.reporters);
        let Reporters { servers, records } = &mut *reporters;
        let has_room = records.share(now).has_room(decisions, free_bytes);
        let limit = if has_room { self.limits.reports } else { 0 };
        let row = servers.row(Some(server), TOO_MANY, now);
        if row.count(decisions, now, limit) == Note::Counted {
            return Err(WINDOW.saturating_sub(now.since(row.since)));
        }
        Ok(())
    }
}

impl<S: Copy + Eq + Hash> Table<S> {
    fn new() -> Self {
        Self {
            rows: HashMap::new(),
        }
    }

    fn row(&mut self, source: Option<S>, code: &'static str, now: Timestamp) -> &mut Row {
        let key = (source, code);
        let full = self.rows.len() >= MAX_SOURCES && !self.rows.contains_key(&key);
        let key = if full { (None, code) } else { key };
        self.rows.entry(key).or_insert_with(|| Row::new(now))
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

    /// One request that would be so many records. The first of a window is taken however many they are: what comes at once
    /// is not refused for ever.
    fn count(&mut self, records: u32, now: Timestamp, limit: u32) -> Note {
        if now.since(self.since) >= WINDOW {
            self.since = now;
            self.single = 0;
        }
        let single = self.single.saturating_add(records);
        if limit > 0 && (self.single == 0 || single <= limit) {
            self.single = single;
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

/// The IPv6 /48 of an address: what one site has, with 65,536 networks in it. IPv4 has nothing like it.
pub(crate) fn site(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80).into()),
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

impl<'a> Stranger<'a> {
    /// Whoever makes a call, as if nobody knew them.
    pub(crate) fn of(call: &'a Actor) -> Self {
        Self {
            ip: call.ip,
            user_agent: call.user_agent.as_deref(),
            request: call.request,
        }
    }
}

impl Engine {
    /// Records or counts the refusal of a stranger. The answer does not wait for the disk.
    pub fn note_stranger(&self, stranger: Stranger<'_>, code: &'static str) {
        self.note(stranger, None, code);
    }

    /// The same for someone with a dead key of this agent.
    pub(crate) fn note_dead_key(&self, actor: &Actor, agent: AgentId, code: &'static str) {
        self.note(Stranger::of(actor), Some(agent), code);
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

    /// Refuses a human whose calls were refused too often in this minute; this one is counted then.
    pub(crate) fn admit_refusal(&self, human: UserId) -> Result<()> {
        match self.flood().human(human, self.now()) {
            Note::Single => Ok(()),
            Note::Counted => Err(Error::TooManyRequests {
                retry_after: WINDOW,
            }),
        }
    }

    /// Refuses a refresh of an application that made too many in this minute.
    pub(crate) fn admit_refresh(&self, agent: AgentId) -> Result<()> {
        let admitted = self.flood().refresh(agent, self.now());
        admitted.map_err(|retry_after| Error::TooManyCalls { retry_after })
    }

    /// Refuses what a tool server would have recorded (decisions that it reports, refusals of its own calls) where it was
    /// too much lately, or where there is too little space; that it was refused is counted then.
    pub(crate) fn admit_reports(&self, server: ToolServerId, decisions: usize) -> Result<()> {
        let decisions = u32::try_from(decisions).unwrap_or(u32::MAX);
        let free = self.store().free_bytes();
        self.flood()
            .reports((server, decisions), self.now(), free)
            .map_err(|retry_after| Error::TooManyCalls { retry_after })
    }

    /// Refuses what a stranger would have recorded as done where there is too little space.
    pub(crate) fn admit_done(&self) -> Result<()> {
        match self.flood().done(self.now(), self.store().free_bytes()) {
            true => Ok(()),
            false => Err(Error::TooManyCalls {
                retry_after: WINDOW,
            }),
        }
    }

    /// Takes off the space of all tool servers what one of them had recorded.
    pub(crate) fn charge_reports(&self, records: usize) {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.flood().reported(records);
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
        self.flush_humans(now).await;
        let servers = lock(&self.flood().reporters).servers.drain(now);
        for summary in servers {
            let actor = summary.source.map_or(Name::System, Name::ToolServer);
            if let Err(error) = self.summarise(&summary, actor, None).await {
                tracing::warn!(%error, count = summary.count, "refused reports stay counted in memory");
                lock(&self.flood().reporters).servers.put_back(summary, now);
            }
        }
    }

    async fn flush_humans(&self, now: Timestamp) {
        let humans = lock(&self.flood().humans).drain(now);
        for summary in humans {
            if let Err(error) = self.summarise_human(&summary).await {
                tracing::warn!(%error, count = summary.count, "refusals of humans stay counted in memory");
                lock(&self.flood().humans).put_back(summary, now);
            }
        }
    }

    async fn summarise_human(&self, summary: &Summary<UserId>) -> Result<()> {
        let human = match summary.source {
            Some(human) => self.pseudonym(human).await?,
            None => None,
        };
        let actor = human.map_or(Name::System, Name::Person);
        self.summarise(summary, actor, None).await
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
mod tests;
