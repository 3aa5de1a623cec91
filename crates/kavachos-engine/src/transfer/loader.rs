//! Takes a file line by line: each row is checked by itself and against the rows before it as it comes, and written with
//! the rows beside it. What only shows at the end is asked of the filled tables.

use std::collections::{BTreeMap, HashMap};

use kavachos_core::hex;
use kavachos_core::id::GrantId;
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Frontier};
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;
use kavachos_store::grant::GrantRow;
use kavachos_store::restoration::{self, FirstMentions};
use kavachos_store::transfer::{
    self, CONTRADICTIONS, GRANTS, RECORDS, REVOCATIONS, SECOND_FACTORS, State, Table, WEBHOOKS,
};
use kavachos_store::{Cell, CommitError, Filled, Filling, Row, Write};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::check::{self, Place};
use super::import::{Imported, LedgerRoot};
use super::line::{self, End, Head, Stand, Wrong};
use super::plugins::{self, PluginsOfFile};
use super::record::record_of;
use super::testimony::{self, Fate, RevocationWitness, Testimony};
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::webhooks::MAX_WEBHOOKS;

/// The longest line: permissions, guards and metadata of one thing, with every character escaped.
const MAX_LINE_BYTES: usize = 8 << 20;
/// How many rows are written together.
const CHUNK_ROWS: usize = 250;
/// How many bytes of lines are written together.
const CHUNK_BYTES: usize = 1 << 20;
/// What whoever imported is told when no key that came in can administer everything.
const NO_ADMIN_KEY: &str = "no live operator key with the scope `*` came in, so nobody can administer this tenant over \
    HTTP: start the server with KAVACH_ADMIN_KEY, or make a key with `kavach key create --database`";

/// A line that waits to be written.
struct Waiting {
    line: u64,
    /// Of a record, none: it was made into writes already.
    cells: Vec<Cell>,
    writes: Vec<Write>,
}

/// What is being filled, and how far it has come.
pub(super) struct Loader<'a> {
    engine: &'a Engine,
    filling: &'a mut dyn Filling,
    /// The root that the records must come to.
    expected: Option<LedgerRoot>,
    stand: Option<Stand>,
    digest: Sha256,
    lines: u64,
    /// All that there may be, which of them is being read, and the line before its first.
    tables: Vec<Table<'a>>,
    table: usize,
    begins: BTreeMap<&'static str, u64>,
    plugins: PluginsOfFile,
    last: Option<Vec<Cell>>,
    rows: BTreeMap<&'static str, u64>,
    chunk: Vec<Waiting>,
    bytes: usize,
    frontier: Frontier,
    last_time: Timestamp,
    revocation: LogHead,
    /// What the records that wait say of other rows, with their lines.
    fates: Vec<(u64, Fate)>,
    witness: RevocationWitness,
    /// How many rows of each kind were made by an act on record.
    born: BTreeMap<&'static str, u64>,
    admin_keys: u64,
    ended: bool,
}

/// Whether by this record first mentions wait.
fn holds(kind: &str, body: &str) -> bool {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    kind == "tenant.restored" && body.pointer("/details/humansHeld") == Some(&Value::Bool(true))
}

pub(super) fn wrong(line: u64, why: impl Into<String>) -> Error {
    Invalid::at(format!("line {line}"), why.into()).into()
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        filling: &'a mut dyn Filling,
        expected: Option<LedgerRoot>,
    ) -> Self {
        Self {
            engine,
            filling,
            expected,
            stand: None,
            digest: Sha256::new(),
            lines: 0,
            tables: super::tables(engine),
            table: 0,
            begins: BTreeMap::new(),
            plugins: PluginsOfFile::default(),
            last: None,
            rows: BTreeMap::new(),
            chunk: Vec::new(),
            bytes: 0,
            frontier: Frontier::default(),
            last_time: Timestamp::MIN,
            revocation: LogHead::EMPTY,
            fates: Vec::new(),
            witness: RevocationWitness::default(),
            born: BTreeMap::new(),
            admin_keys: 0,
            ended: false,
        }
    }

    /// What is wrong with the line after those that were read.
    pub(super) fn cut(&self, why: &str) -> Error {
        wrong(self.lines.saturating_add(1), why)
    }

    pub(super) fn check_length(&self, bytes: usize) -> Result<()> {
        if bytes <= MAX_LINE_BYTES {
            return Ok(());
        }
        Err(self.cut(&format!("it is longer than {MAX_LINE_BYTES} bytes")))
    }

    /// Takes one line, without its end.
    pub(super) async fn line(&mut self, bytes: &[u8]) -> Result<()> {
        let number = self.lines.saturating_add(1);
        let text = str::from_utf8(bytes).map_err(|_| wrong(number, "it is not UTF-8"))?;
        if self.ended {
            return Err(wrong(number, "it stands after the end"));
        }
        let Some(stand) = &self.stand else {
            return self.begin(bytes, text);
        };
        let log = stand.log;
        let not_after = stand.last_time;
        let (kind, members) = line::members(text).map_err(|why| wrong(number, why))?;
        if kind == "end" {
            return self.check_end(text);
        }
        if kind == plugins::KIND {
            return self.take_plugin(bytes, text);
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
            let writes = self.hear(number, record)?;
            self.count(&table, bytes);
            return self.wait(&table, (number, Vec::new(), writes)).await;
        } else if table.kind == REVOCATIONS.kind {
            let next = check::revocation(self.revocation, &cells);
            self.revocation = next.map_err(|why| wrong(number, why))?;
        } else {
            self.check_row(&table, &cells)
                .map_err(|why| wrong(number, why))?;
        }
        self.count(&table, bytes);
        let write = table.store(&cells);
        self.wait(&table, (number, cells, vec![write])).await
    }

    /// Takes the first line. What it names is what the file is held to, so a wrong root is told before anything is read.
    fn begin(&mut self, bytes: &[u8], text: &str) -> Result<()> {
        let stand = Head::read(text).map_err(|why| wrong(1, why))?;
        let root = LedgerRoot(stand.root);
        if let Some(expected) = self.expected.filter(|expected| *expected != root) {
            return Err(wrong(
                1,
                format!(
                    "its records come to the root {root}, and the expected one is {expected}: it is another export, \
                     or was edited"
                ),
            ));
        }
        self.stand = Some(stand);
        self.note(bytes);
        Ok(())
    }

    /// Takes a line that names a plugin: they stand before all rows.
    fn take_plugin(&mut self, bytes: &[u8], text: &str) -> Result<()> {
        if !self.begins.is_empty() {
            return Err(self.cut("the plugins are named before all rows"));
        }
        let taken = self.plugins.take(self.engine.plugins(), text);
        taken.map_err(|why| self.cut(&why))?;
        self.note(bytes);
        Ok(())
    }

    /// Takes a record into the tree, and notes what it says of other rows.
    fn hear(
        &mut self,
        line: u64,
        (record, testimony): (transfer::Record, Testimony),
    ) -> Result<Vec<Write>> {
        let epoch = self.stand.as_ref().map_or(0, |stand| stand.epoch);
        self.witness
            .take(&testimony, (epoch, self.revocation))
            .map_err(|why| wrong(line, why))?;
        self.fates.extend(testimony.fate.map(|fate| (line, fate)));
        self.frontier.append(record.leaf);
        self.last_time = record.time;
        Ok(record.store())
    }

    fn check_row(&mut self, table: &Table<'_>, cells: &[Cell]) -> std::result::Result<(), Wrong> {
        check::row(self.engine, table, cells)?;
        self.plugins.check(table)?;
        let plugins = self.engine.plugins();
        plugins.admit(self.engine, table, cells)?;
        if let (true, Some(Cell::Text(method))) = (table.kind == SECOND_FACTORS.kind, cells.get(1))
        {
            plugins::check_method(&plugins.factors(), method)?;
        }
        let before = self.rows.get(table.kind).copied().unwrap_or_default();
        if table.kind == WEBHOOKS.kind && before >= MAX_WEBHOOKS {
            return Err(format!("there are more than {MAX_WEBHOOKS} webhooks"));
        }
        if check::administers(table, cells, self.engine.now()) {
            self.admin_keys = self.admin_keys.saturating_add(1);
        }
        Ok(())
    }

    fn count(&mut self, table: &Table<'_>, line: &[u8]) {
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
    async fn enter(&mut self, kind: &str, line: u64) -> Result<Table<'a>> {
        let mut all = self.tables.iter().copied().enumerate();
        let found = all.find(|(_, table)| table.kind == kind);
        let (index, table) = found.ok_or_else(|| wrong(line, "its kind is not known"))?;
        if index < self.table {
            return Err(wrong(line, "lines of its kind stand before this one"));
        }
        if index > self.table {
            self.flush().await?;
            self.table = index;
            self.last = None;
        }
        self.begins.entry(table.kind).or_insert(line);
        Ok(table)
    }

    /// Rows stand in the order of their keys, so none stands twice.
    fn check_order(&mut self, table: &Table<'_>, cells: &[Cell]) -> std::result::Result<(), Wrong> {
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
        table: &Table<'_>,
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
        let Some(table) = self.tables.get(self.table).copied() else {
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
            self.check_grants(&table, &rows).await?;
        }
        self.check_fates().await
    }

    /// Compares rows with what the records that were just written say of them.
    async fn check_fates(&mut self) -> Result<()> {
        let fates = std::mem::take(&mut self.fates);
        let file_ends = (self.stand.as_ref()).map_or(Timestamp::MIN, |stand| stand.last_time);
        for table in &testimony::COMPARED {
            let of_table = |told: &&(u64, Fate)| told.1.table() == table;
            let told: Vec<&(u64, Fate)> = fates.iter().filter(of_table).collect();
            let mut ids: Vec<&str> = told.iter().map(|(_, fate)| fate.id.as_str()).collect();
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                continue;
            }
            let states = self.filling.list(table.states(&ids)).await?;
            let states: HashMap<&str, &State> = states
                .iter()
                .map(|state| (state.id.as_str(), state))
                .collect();
            for (line, fate) in told {
                let Some(state) = states.get(fate.id.as_str()) else {
                    fate.check_absence(file_ends)
                        .map_err(|why| wrong(*line, why))?;
                    continue;
                };
                if fate.is_birth() {
                    let born = self.born.entry(table.kind).or_default();
                    *born = born.saturating_add(1);
                }
                if let Err(why) = fate.check(state) {
                    return Err(wrong(self.line_of(table, &state.key).await?, why));
                }
            }
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

    async fn check_grants(&mut self, table: &Table<'_>, rows: &[(u64, Vec<Cell>)]) -> Result<()> {
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
    pub(super) async fn end(&mut self) -> Result<Stand> {
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

    /// Each credential and each request for approval was made by an act on record: what was ended under one name is not
    /// there under another. Each is made once, so counting is enough, and the first of its kind stands for all. Only a
    /// client that is known by its document may have been forgotten and made anew, under the same name.
    fn check_births(&self) -> Result<()> {
        for table in &testimony::BORN_ON_RECORD {
            let count = |counts: &BTreeMap<&str, u64>| counts.get(table.kind).copied().unwrap_or(0);
            let (rows, born) = (count(&self.rows), count(&self.born));
            if rows > born {
                let first = self.begins.get(table.kind).copied().unwrap_or(1);
                return Err(wrong(
                    first,
                    format!(
                        "from here on there are {rows} rows of the kind `{}`, and the records tell of {born} of them",
                        table.kind
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Which proofs and id_tokens were used where the file comes from is not in it, and whether first mentions wait stands
    /// in its records.
    pub(super) async fn remember(&mut self) -> Result<()> {
        let word = self.filling.list(restoration::last_word()).await?.pop();
        let mentions = match word {
            Some((kind, body)) if holds(&kind, &body) => FirstMentions::Held,
            _ => FirstMentions::LetIn,
        };
        let remembered = restoration::remember(self.engine.now(), mentions);
        Ok(self.filling.write(vec![remembered]).await?)
    }

    /// Asks the filled tables for what contradicts itself.
    pub(super) async fn check_whole(&mut self) -> Result<()> {
        self.check_births()?;
        for (table, sql, means) in CONTRADICTIONS {
            let found = self.filling.query(transfer::contradiction(sql)).await?;
            let Some(key) = found.into_iter().next().map(Row::cells) else {
                continue;
            };
            return Err(wrong(self.line_of(&table, &key).await?, means));
        }
        self.check_factors().await
    }

    /// A second factor is asked for where it can be proved, and nowhere else.
    async fn check_factors(&mut self) -> Result<()> {
        let engine = self.engine;
        for factor in engine.plugins().factors() {
            for (table, question, means) in factor.contradictions() {
                let found = self.filling.query(question).await?;
                if let Some(row) = found.into_iter().next() {
                    return Err(wrong(self.line_of(&table, &row.cells()).await?, means));
                }
            }
        }
        Ok(())
    }

    /// The line of the row with this key.
    async fn line_of(&mut self, table: &Table<'_>, key: &[Cell]) -> Result<u64> {
        let before = self.filling.list(table.place(key)).await?.pop();
        let before = before.map_or(0, |(count,)| count);
        let first = self.begins.get(table.kind).copied().unwrap_or(1);
        Ok(first.saturating_add(before))
    }

    /// What came in, with what is to be seen to.
    pub(super) fn imported(&self, stand: &Stand, records: u64) -> Imported {
        Imported {
            log: hex::encode(&stand.log.0),
            records,
            root: LedgerRoot(stand.root).to_string(),
            rows: self.rows.clone(),
            admin_keys: self.admin_keys,
            warning: (self.admin_keys == 0).then_some(NO_ADMIN_KEY),
        }
    }

    /// Makes the log that came in the log of the database.
    pub(super) async fn finish(self, filled: Filled) -> Result<()> {
        self.filling.finish(filled).await?;
        Ok(())
    }

    /// Appends the record of the import itself.
    pub(super) async fn recorded(
        &mut self,
        stand: &Stand,
        entry: &Entry,
        time: Timestamp,
    ) -> Result<Filled> {
        let record = record_of((stand.log, self.frontier.size(), time), entry);
        let leaf = record.leaf;
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
