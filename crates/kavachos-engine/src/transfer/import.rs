//! In: line by line into the one transaction that fills an empty database, and out again without a trace if a line is
//! wrong.
//!
//! A row is checked by itself and against the rows before it as it comes; what only shows at the end (that every handle
//! is in the live set, that nobody owns themselves, that the logs come to the heads that the file names) is asked of the
//! filled tables before they are committed.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt};
use kavachos_core::hex;
use kavachos_core::id::GrantId;
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Frontier, Outcome, leaf};
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;
use kavachos_store::grant::GrantRow;
use kavachos_store::transfer::{self, CONTRADICTIONS, GRANTS, RECORDS, REVOCATIONS, TABLES, Table};
use kavachos_store::{Cell, CommitError, Filled, Filling, Row, Write};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::check::{self, Place};
use super::line::{self, End, Head, Stand, Wrong};
use crate::act::Act;
use crate::actor::{Actor, Caller, Scopes};
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// The longest line: permissions, guards and metadata of one thing, with every character escaped.
const MAX_LINE_BYTES: usize = 8 << 20;
/// How many rows are written together.
const CHUNK_ROWS: usize = 250;
/// How many bytes of lines are written together.
const CHUNK_BYTES: usize = 1 << 20;
/// How far the clock of a file's server may be ahead of ours. No record to come is older than the file's last, so one from
/// farther ahead would date all of them there.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the next bytes may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Imported {
    /// The log, which goes on here.
    pub log: String,
    /// How many records it has, that of the import among them.
    pub records: u64,
    /// The root of the tree over the records that came in.
    pub root: String,
    /// How many rows of each kind came in.
    pub rows: BTreeMap<&'static str, u64>,
}

/// A line that waits to be written.
struct Waiting {
    line: u64,
    /// Of a record, none: it was made into writes already.
    cells: Vec<Cell>,
    writes: Vec<Write>,
}

/// What is being filled, and how far it has come.
struct Loader<'a> {
    filling: &'a mut dyn Filling,
    stand: Option<Stand>,
    digest: Sha256,
    lines: u64,
    /// Which of [`TABLES`] is being read, and the line before its first.
    table: usize,
    begins: BTreeMap<&'static str, u64>,
    last: Option<Vec<Cell>>,
    rows: BTreeMap<&'static str, u64>,
    chunk: Vec<Waiting>,
    bytes: usize,
    frontier: Frontier,
    last_time: Timestamp,
    revocation: LogHead,
    ended: bool,
}

impl Engine {
    /// Fills this tenant, which must be empty, with what was exported from another: all of it, or nothing.
    ///
    /// Nothing stays of what the empty tenant had, its operator keys and its log included: its keys are those of the
    /// file.
    ///
    /// # Errors
    /// `forbidden` unless the caller has every scope and no ceiling; a conflict if the tenant is not empty; the line and
    /// what is wrong with it; those of the store.
    pub async fn import_tenant<S, B, E>(&self, actor: &Actor, source: S) -> Result<Imported>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        let act = Act::new("tenant.imported");
        let occupants = self.store().list(transfer::occupants()).await?;
        if let Err(error) = may_fill(actor).and_then(|()| is_empty(&occupants)) {
            return Err(self.refused(actor, act, error).await?);
        }
        // The old log ends with this import, so what it came to stands in the new one.
        let mut filling = self.store().fill().await?;
        let filled = self.fill(&mut *filling, actor, source).await;
        drop(filling);
        let imported = filled?;
        self.look_for_webhooks();
        Ok(imported)
    }

    async fn fill<S, B, E>(
        &self,
        filling: &mut dyn Filling,
        actor: &Actor,
        source: S,
    ) -> Result<Imported>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        is_empty(&filling.list(transfer::occupants()).await?)?;
        let before = self.head();
        filling.write(transfer::clear()).await?;
        let mut loader = Loader::new(filling);
        self.load(&mut loader, source).await?;
        let stand = loader.end().await?;
        check_clock(stand.last_time, self.now())?;
        loader.check_whole().await?;
        let details = json!({
            "records": stand.records,
            "root": hex::encode(&stand.root),
            "replacedLog": hex::encode(&before.log.0),
            "replacedRecords": before.size,
            "replacedRoot": hex::encode(&before.root),
        });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "tenant.imported", Outcome::Allowed, "done");
        record.details = Some(&details);
        let entry = self.seal(&record)?;
        let time = self.now().max(stand.last_time);
        let filled = loader.recorded(&stand, &entry, time).await?;
        let imported = Imported {
            log: hex::encode(&stand.log.0),
            records: filled.frontier.size(),
            root: hex::encode(&stand.root),
            rows: loader.rows.clone(),
        };
        loader.filling.finish(filled).await?;
        Ok(imported)
    }

    /// Hands the lines of the source to the loader, one by one.
    async fn load<S, B, E>(&self, loader: &mut Loader<'_>, source: S) -> Result<()>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        let mut source = pin!(source);
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let chunk = match select(source.next(), pin!(self.sleep(PATIENCE))).await {
                Either::Left((Some(Ok(chunk)), _)) => chunk,
                Either::Left((None, _)) => break,
                Either::Left((Some(Err(_)), _)) => return Err(loader.cut("the file broke off")),
                Either::Right(_) => {
                    return Err(loader.cut("the rest of the file did not come within 30 seconds"));
                }
            };
            let mut bytes = chunk.as_ref();
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let (line, after) = bytes.split_at(end);
                rest.extend_from_slice(line);
                loader.check_length(rest.len())?;
                loader.line(&rest).await?;
                rest.clear();
                bytes = after.get(1..).unwrap_or_default();
            }
            rest.extend_from_slice(bytes);
            loader.check_length(rest.len())?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(loader.cut("it is cut off"))
    }
}

/// To fill a tenant is to make its keys, so only one who may make any key may do it.
fn may_fill(actor: &Actor) -> Result<()> {
    match &actor.caller {
        Caller::Local => Ok(()),
        Caller::Operator(key) if key.scopes == Scopes::Every && key.ceiling.is_none() => Ok(()),
        _ => Err(Error::Forbidden(
            "this makes operator keys of every strength: it needs one with the scope `*` and no ceiling"
                .to_owned(),
        )),
    }
}

fn is_empty(occupants: &[(String,)]) -> Result<()> {
    match occupants.first() {
        None => Ok(()),
        Some((what,)) => Err(Error::WrongState(format!(
            "this tenant is not empty, it has {what}: import into a new database, made with `kavach init`"
        ))),
    }
}

fn check_clock(last_time: Timestamp, now: Timestamp) -> Result<()> {
    if last_time.since(now) <= MAX_AHEAD {
        return Ok(());
    }
    Err(wrong(
        1,
        "its log ends more than a day from now: set the clock of this server, or it comes from one whose clock was wrong",
    ))
}

fn wrong(line: u64, why: impl Into<String>) -> Error {
    Invalid::at(format!("line {line}"), why.into()).into()
}

impl<'a> Loader<'a> {
    fn new(filling: &'a mut dyn Filling) -> Self {
        Self {
            filling,
            stand: None,
            digest: Sha256::new(),
            lines: 0,
            table: 0,
            begins: BTreeMap::new(),
            last: None,
            rows: BTreeMap::new(),
            chunk: Vec::new(),
            bytes: 0,
            frontier: Frontier::default(),
            last_time: Timestamp::MIN,
            revocation: LogHead::EMPTY,
            ended: false,
        }
    }

    /// What is wrong with the line after those that were read.
    fn cut(&self, why: &str) -> Error {
        wrong(self.lines.saturating_add(1), why)
    }

    fn check_length(&self, bytes: usize) -> Result<()> {
        if bytes <= MAX_LINE_BYTES {
            return Ok(());
        }
        Err(self.cut(&format!("it is longer than {MAX_LINE_BYTES} bytes")))
    }

    /// Takes one line, without its end.
    async fn line(&mut self, bytes: &[u8]) -> Result<()> {
        let number = self.lines.saturating_add(1);
        let text = str::from_utf8(bytes).map_err(|_| wrong(number, "it is not UTF-8"))?;
        if self.ended {
            return Err(wrong(number, "it stands after the end"));
        }
        let Some(stand) = &self.stand else {
            self.stand = Some(Head::read(text).map_err(|why| wrong(number, why))?);
            self.note(bytes);
            return Ok(());
        };
        let log = stand.log;
        let not_after = stand.last_time;
        let (kind, members) = line::members(text).map_err(|why| wrong(number, why))?;
        if kind == "end" {
            return self.check_end(text);
        }
        let table = self.enter(&kind, number).await?;
        let cells = line::decode(&table, members, text).map_err(|why| wrong(number, why))?;
        self.check_order(&table, &cells)
            .map_err(|why| wrong(number, why))?;
        if table.kind == RECORDS.kind {
            let place = Place {
                log,
                seq: self.frontier.size(),
                not_before: self.last_time,
                not_after,
            };
            let record = check::record(&place, &cells).map_err(|why| wrong(number, why))?;
            self.frontier.append(record.leaf);
            self.last_time = record.time;
            self.count(&table, bytes);
            let writes = record.store();
            return self.wait(&table, (number, Vec::new(), writes)).await;
        } else if table.kind == REVOCATIONS.kind {
            let next = check::revocation(self.revocation, &cells);
            self.revocation = next.map_err(|why| wrong(number, why))?;
        } else {
            check::row(&table, &cells).map_err(|why| wrong(number, why))?;
        }
        self.count(&table, bytes);
        let write = table.store(&cells);
        self.wait(&table, (number, cells, vec![write])).await
    }

    fn count(&mut self, table: &Table, line: &[u8]) {
        let count = self.rows.entry(table.kind).or_default();
        *count = count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(line.len());
        self.note(line);
    }

    fn note(&mut self, line: &[u8]) {
        self.digest.update(line);
        self.digest.update(b"\n");
        self.lines = self.lines.saturating_add(1);
    }

    /// The table that a line of this kind belongs to, which does not come before the present one.
    async fn enter(&mut self, kind: &str, line: u64) -> Result<Table> {
        let found = TABLES.iter().position(|table| table.kind == kind);
        let index = found.ok_or_else(|| wrong(line, "its kind is not known"))?;
        if index < self.table {
            return Err(wrong(line, "lines of its kind stand before this one"));
        }
        if index > self.table {
            self.flush().await?;
            self.table = index;
            self.last = None;
        }
        self.begins
            .entry(TABLES.get(index).map_or("", |table| table.kind))
            .or_insert(line);
        TABLES
            .get(index)
            .copied()
            .ok_or_else(|| wrong(line, "its kind is not known"))
    }

    /// Rows stand in the order of their keys, so none stands twice.
    fn check_order(&mut self, table: &Table, cells: &[Cell]) -> std::result::Result<(), Wrong> {
        let key: Vec<Cell> = cells.iter().take(table.key).cloned().collect();
        if let Some(last) = &self.last
            && !is_after(last, &key)
        {
            return Err(
                "it does not stand after the line before it, in the order of its key".to_owned(),
            );
        }
        self.last = Some(key);
        Ok(())
    }

    /// Rows of one level are written together, since the next one looks at them.
    async fn wait(
        &mut self,
        table: &Table,
        (line, cells, writes): (u64, Vec<Cell>, Vec<Write>),
    ) -> Result<()> {
        let other_level = table.kind == GRANTS.kind
            && self
                .chunk
                .last()
                .is_some_and(|last| last.cells.first() != cells.first());
        if other_level {
            self.flush().await?;
        }
        self.chunk.push(Waiting {
            line,
            cells,
            writes,
        });
        if self.chunk.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what waits.
    async fn flush(&mut self) -> Result<()> {
        let Some(table) = TABLES.get(self.table) else {
            return Ok(());
        };
        let chunk = std::mem::take(&mut self.chunk);
        self.bytes = 0;
        if chunk.is_empty() {
            return Ok(());
        }
        let (mut writes, mut lines) = (Vec::new(), Vec::new());
        let mut rows = Vec::new();
        for row in chunk {
            lines.extend(row.writes.iter().map(|_| row.line));
            writes.extend(row.writes);
            rows.push((row.line, row.cells));
        }
        self.write(writes, &lines).await?;
        if table.kind == GRANTS.kind {
            self.check_grants(table, &rows).await?;
        }
        Ok(())
    }

    /// Writes rows; what the database says of one is said of its line.
    async fn write(&mut self, writes: Vec<Write>, lines: &[u64]) -> Result<()> {
        let of = |write: Option<usize>| write.and_then(|index| lines.get(index)).copied();
        match self.filling.write(writes).await {
            Ok(()) => Ok(()),
            Err(CommitError::Rejected { write, reason }) => match of(write) {
                Some(line) => Err(wrong(
                    line,
                    format!("it repeats another row, or names one that is not there: {reason}"),
                )),
                None => Err(Error::Internal(reason)),
            },
            Err(CommitError::Conflict { write }) => match of(write) {
                Some(line) => Err(wrong(line, "it is about a row that is not there")),
                None => Err(Error::Busy),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn check_grants(&mut self, table: &Table, rows: &[(u64, Vec<Cell>)]) -> Result<()> {
        let rows: Vec<(u64, GrantRow)> = rows
            .iter()
            .map(|(line, cells)| {
                let read = check::grant_row(table, cells);
                Ok((*line, read.map_err(|why| wrong(*line, why))?))
            })
            .collect::<Result<_>>()?;
        let (Some((_, first)), Some((_, last))) = (rows.first(), rows.last()) else {
            return Ok(());
        };
        let above = kavachos_store::grant::above(first.depth, (first.id, last.id), CHUNK_ROWS);
        let above = self.filling.list(above).await?;
        let parents: HashMap<GrantId, GrantRow> =
            above.into_iter().map(|row| (row.id, row)).collect();
        for (line, row) in &rows {
            check::derived(row, &parents).map_err(|why| wrong(*line, why))?;
        }
        Ok(())
    }

    /// The last line, which says what all before it came to.
    fn check_end(&mut self, text: &str) -> Result<()> {
        let number = self.lines.saturating_add(1);
        let end = End::read(text).map_err(|why| wrong(number, why))?;
        let digest = std::mem::take(&mut self.digest).finalize();
        if end.lines != self.lines {
            return Err(wrong(
                number,
                format!(
                    "it counts {} lines before it, and there are {}",
                    end.lines, self.lines
                ),
            ));
        }
        if end.sha256 != hex::encode(&digest) {
            return Err(wrong(
                number,
                "its digest is not that of the lines before it: one was edited",
            ));
        }
        self.ended = true;
        self.lines = number;
        Ok(())
    }

    /// The file has come to its end: the logs must have come to theirs.
    async fn end(&mut self) -> Result<Stand> {
        if !self.ended {
            return Err(self.cut("the file has no end: it is cut off"));
        }
        self.flush().await?;
        let stand = self.stand.clone();
        let stand = stand.ok_or_else(|| self.cut("the file is empty"))?;
        if self.revocation != stand.revocation {
            return Err(wrong(
                1,
                "the revocations do not come to the head that it names",
            ));
        }
        if self.frontier.size() != stand.records || self.frontier.root() != stand.root {
            return Err(wrong(
                1,
                "the records do not come to the head that it names",
            ));
        }
        Ok(stand)
    }

    /// Asks the filled tables for what contradicts itself.
    async fn check_whole(&mut self) -> Result<()> {
        for (table, sql, means) in CONTRADICTIONS {
            let found = self.filling.query(transfer::contradiction(sql)).await?;
            let Some(key) = found.into_iter().next().map(Row::cells) else {
                continue;
            };
            let before = self.filling.list(table.place(&key)).await?.pop();
            let before = before.map_or(0, |(count,)| count);
            let first = self.begins.get(table.kind).copied().unwrap_or(1);
            return Err(wrong(first.saturating_add(before), means));
        }
        Ok(())
    }

    /// Appends the record of the import itself.
    async fn recorded(&mut self, stand: &Stand, entry: &Entry, time: Timestamp) -> Result<Filled> {
        let columns = entry.projections();
        let seq = self.frontier.size();
        let leaf = leaf(stand.log, seq, time, entry.body());
        let record = transfer::Record {
            seq,
            time,
            body: entry.body().to_owned(),
            salt: Some(entry.salt().to_vec()),
            personal: Some(entry.personal().to_owned()),
            leaf,
            named: [
                columns.id.clone(),
                columns.kind.to_owned(),
                columns.outcome.to_owned(),
                columns.code.to_owned(),
                columns.actor.clone(),
            ],
            about: [
                columns.subject.clone(),
                columns.agent.clone(),
                columns.action.clone(),
                columns.resource.clone(),
                columns.request_id.clone(),
            ],
            chain: columns.chain.clone(),
        };
        self.filling.write(record.store()).await?;
        self.frontier.append(leaf);
        Ok(Filled {
            log: stand.log,
            epoch: stand.epoch,
            frontier: self.frontier.clone(),
            last_time: time,
            revocation: stand.revocation,
            effects: vec![Changed::Everything.into()],
        })
    }
}

/// Whether one key stands after another, as databases order them: numbers by size, texts and bytes byte by byte.
fn is_after(last: &[Cell], key: &[Cell]) -> bool {
    for pair in last.iter().zip(key) {
        let order = match pair {
            (Cell::Integer(last), Cell::Integer(key)) => last.cmp(key),
            (Cell::Text(last), Cell::Text(key)) => last.as_bytes().cmp(key.as_bytes()),
            (Cell::Blob(last), Cell::Blob(key)) => last.cmp(key),
            _ => return false,
        };
        if order.is_ne() {
            return order.is_lt();
        }
    }
    false
}
