//! Out: the rows of every table, of one moment.
//!
//! What changes in place is read from one snapshot; the ledger, which only grows, is read after that in pages, up to the
//! number at which the snapshot saw it. So nothing of the database is held while the long part is sent.

use std::time::Duration;

use kavachos_core::ledger::{Frontier, Outcome};
use kavachos_core::principal::Status;
use kavachos_core::time::Timestamp;
use kavachos_store::transfer::{self, OPERATOR_KEYS, RECORDS, Table};
use kavachos_store::{Batch, Cell, Query, ReadError, Row, Snapshot, begun_kill};
use sha2::{Digest, Sha256};

use super::line::{self, End, Head};
use super::{plugins, tables};
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::keys::Origin;
use crate::seats::{Holder, Seat};

/// How long a reader may take for one step.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the snapshot is kept.
const SNAPSHOT_LIFE: Duration = Duration::from_secs(15 * 60);

/// How often a page is asked for while the database is busy, and how long between.
const BUSY_TRIES: usize = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Writes a tenant down, line by line.
pub struct TenantExport {
    engine: Engine,
    actor: Actor,
    /// Until the ledger is reached.
    snapshot: Option<Box<dyn Snapshot>>,
    begun_at: Timestamp,
    given_at: Option<Timestamp>,
    next: Next,
    records: u64,
    digest: Sha256,
    lines: u64,
    _seat: Seat,
}

/// What is to be written next.
#[derive(Debug, Clone)]
enum Next {
    Head,
    Rows {
        table: usize,
        level: u8,
        after: Option<Vec<Cell>>,
    },
    Nothing,
}

impl Engine {
    /// Begins to write the tenant down; that it does is on record when this returns, and the last record of the file.
    ///
    /// # Errors
    /// `forbidden`, too many exports at once, [`Error::WrongState`] while what was made in an account that its human took back
    /// is still being ended, and those of the store.
    pub async fn export_tenant(&self, actor: &Actor) -> Result<TenantExport> {
        let seat = self.exports().take(Holder::of(actor))?;
        let act = Act::new("tenant.exported");
        self.change(actor, act, || self.plan_out(actor)).await?;
        let mut snapshot = self.store().snapshot().await?;
        // One that began behind the record.
        if !snapshot.list(begun_kill::any_ending()).await?.is_empty() {
            return Err(ending());
        }
        Ok(TenantExport {
            snapshot: Some(snapshot),
            engine: self.clone(),
            actor: actor.clone(),
            begun_at: self.now(),
            given_at: None,
            next: Next::Head,
            records: 0,
            digest: Sha256::new(),
            lines: 0,
            _seat: seat,
        })
    }

    async fn plan_out(&self, actor: &Actor) -> Result<Plan<()>> {
        actor.require(Scope::TenantExport)?;
        if actor.is_bounded() {
            return Err(Error::Forbidden(
                "a key with a ceiling cannot take out what lies above it".to_owned(),
            ));
        }
        if self.store().find(begun_kill::any_ending()).await?.is_some() {
            return Err(ending());
        }
        let origin = actor.origin();
        let record = origin.record(self.id(), "tenant.exported", Outcome::Allowed, "done");
        let batch = Batch {
            reads: actor.reads(),
            entries: vec![self.seal(&record)?],
            ..Batch::default()
        };
        Ok(Plan::commit(batch, ()))
    }
}

impl TenantExport {
    /// The next lines; `None` after the last. To call it says that what was given before was taken.
    ///
    /// # Errors
    /// The reader took too long, its credential is dead, the server ends, or the database cannot be read. What was given
    /// is then not all, which shows by the missing end.
    pub async fn step(&mut self) -> Result<Option<String>> {
        self.check_pace()?;
        self.require_live().await?;
        let text = match self.next.clone() {
            Next::Head => self.head().await?,
            Next::Rows {
                table,
                level,
                after,
            } => self.rows(table, level, after).await?,
            Next::Nothing => return Ok(None),
        };
        self.given_at = Some(self.engine.now());
        Ok(Some(text))
    }

    fn check_pace(&mut self) -> Result<()> {
        let now = self.engine.now();
        let late = self
            .given_at
            .take()
            .is_some_and(|at| now.since(at) > PATIENCE);
        if late || (self.snapshot.is_some() && now.since(self.begun_at) > SNAPSHOT_LIFE) {
            self.snapshot = None;
            return Err(Error::WrongState(
                "the export was taken too slowly; begin again, nearer to the server".to_owned(),
            ));
        }
        Ok(())
    }

    async fn require_live(&self) -> Result<()> {
        if self.engine.listeners().is_ending() {
            return Err(Error::Busy);
        }
        let caller = self.engine.renewed(&self.actor.caller).await?;
        if caller.mark() == self.actor.caller.mark() {
            return Ok(());
        }
        Err(Error::Unauthenticated("the key was changed"))
    }

    async fn head(&mut self) -> Result<String> {
        let Some(snapshot) = &mut self.snapshot else {
            return Err(Error::Internal("there is no snapshot".to_owned()));
        };
        let log = snapshot.list(transfer::log()).await?.pop();
        let log = log.ok_or_else(|| Error::Internal("there is no log".to_owned()))?;
        let frontier = Frontier::decode(&log.frontier)?;
        let mails = snapshot.list(transfer::mails()).await?.pop();
        self.records = frontier.size();
        self.next = Next::Rows {
            table: 0,
            level: 0,
            after: None,
        };
        let mails = mails.map_or(0, |(count,)| count);
        let head = Head::of(&log, &frontier, (self.engine.now(), mails));
        let mut lines = vec![line::written(&head)];
        lines.extend(plugins::lines(self.engine.plugins()));
        Ok(self.note(lines.concat(), lines.len() as u64))
    }

    /// A page of one table, or the end of the file.
    async fn rows(&mut self, index: usize, level: u8, after: Option<Vec<Cell>>) -> Result<String> {
        let engine = self.engine.clone();
        let tables = tables(&engine);
        let Some(table) = tables.get(index) else {
            return Ok(self.end());
        };
        let rows = self.page(table, level, after.as_deref()).await?;
        let full = rows.len() == table.page;
        let mut text = String::new();
        let mut count = 0;
        let mut last = None;
        for row in rows {
            let cells = row.cells();
            if is_beyond(table, &cells, self.records) {
                continue;
            }
            count += 1;
            text.push_str(&line::encode(table, &shown(table, &cells)));
            last = Some(cells);
        }
        self.next = match last {
            Some(mut cells) if full => {
                cells.truncate(table.key);
                Next::Rows {
                    table: index,
                    level,
                    after: Some(cells),
                }
            }
            _ => following(table, index, level),
        };
        Ok(self.note(text, count))
    }

    async fn page(
        &mut self,
        table: &Table<'_>,
        level: u8,
        after: Option<&[Cell]>,
    ) -> Result<Vec<Row>> {
        let query = table.rows(level, after);
        if table.kind == RECORDS.kind {
            self.snapshot = None;
            return self.record_page(query).await;
        }
        match &mut self.snapshot {
            Some(snapshot) => Ok(snapshot.query(query).await?),
            None => Err(Error::Internal("there is no snapshot".to_owned())),
        }
    }

    /// A page of the ledger. A moment in which the database is busy is no reason to break off.
    async fn record_page(&self, query: Query) -> Result<Vec<Row>> {
        for _ in 0..BUSY_TRIES {
            match self.engine.store().query(query.clone()).await {
                Err(ReadError::Busy) => self.engine.sleep(BUSY_PAUSE).await,
                rows => return Ok(rows?),
            }
        }
        Err(Error::Busy)
    }

    fn note(&mut self, text: String, lines: u64) -> String {
        self.digest.update(&text);
        self.lines = self.lines.saturating_add(lines);
        text
    }

    fn end(&mut self) -> String {
        self.next = Next::Nothing;
        let digest = std::mem::take(&mut self.digest).finalize();
        line::written(&End::new(self.lines, &digest))
    }
}

/// The steps do not move, so what is not ended here would live on where it comes in.
fn ending() -> Error {
    Error::WrongState(
        "what was made in an account that its human took back is still being ended, which goes on by itself; export again in \
         a minute"
            .to_owned(),
    )
}

/// Where to go on after the last page of a level.
fn following(table: &Table<'_>, index: usize, level: u8) -> Next {
    let next = level.saturating_add(1);
    let (table, level) = if next < table.levels() {
        (index, next)
    } else {
        (index.saturating_add(1), 0)
    };
    Next::Rows {
        table,
        level,
        after: None,
    }
}

/// Whether a record came after the snapshot.
fn is_beyond(table: &Table<'_>, cells: &[Cell], records: u64) -> bool {
    let seq = match cells.first() {
        Some(Cell::Integer(seq)) => u64::try_from(*seq).unwrap_or(u64::MAX),
        _ => 0,
    };
    table.kind == RECORDS.kind && seq >= records
}

/// What is written of a row. A key that stands in a server's configuration belongs to that server: it moves asleep, and
/// wakes where the configuration has it.
fn shown(table: &Table<'_>, cells: &[Cell]) -> Vec<Cell> {
    let of = |member: &str| table.columns.iter().position(|one| one.member == member);
    let holds = |member: &str, text: &str| {
        of(member).and_then(|at| cells.get(at)) == Some(&Cell::Text(text.to_owned()))
    };
    let mut shown = cells.to_vec();
    if table.kind == OPERATOR_KEYS.kind
        && holds("origin", Origin::Configured.as_str())
        && holds("status", Status::Active.as_str())
        && let Some(status) = of("status").and_then(|at| shown.get_mut(at))
    {
        *status = Cell::Text(Status::Suspended.as_str().to_owned());
    }
    shown
}
