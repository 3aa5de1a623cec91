//! A batch: one change of state as data.

use std::borrow::Cow;
use std::fmt;

use kavachos_core::counter::Rule;
use kavachos_core::id::{Id, Named};
use kavachos_core::ledger::Entry;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::time::Timestamp;

use crate::answer::CommitError;
use crate::handle;

/// The most parameters of one statement.
pub const MAX_PARAMS: usize = 100;
/// The most of each: writes, entries, kills, takes and reads of one batch.
pub const MAX_WRITES: usize = 1_000;
/// The longest key of a counter.
pub const MAX_COUNTER_BYTES: usize = 256;
/// The longest text or blob that is stored in one column.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// What to change, and under which conditions. Everything is applied, or nothing.
///
/// The writer goes through it in this order: deadline, reads, takes, kills, writes, entries, effects.
///
/// ```
/// use kavachos_store::{Batch, Write};
///
/// // A code is used once: whoever comes second changes no row and gets a conflict.
/// let use_code = Write::exactly(1, "UPDATE code SET used_at = ?2 WHERE hash = ?1 AND used_at IS NULL")
///     .bind([7_u8; 32])
///     .bind(1_800_000_000_000_000_i64);
/// let batch = Batch {
///     writes: vec![use_code],
///     ..Batch::default()
/// };
/// assert_eq!(batch.check(), Ok(()));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What the decision relied on: each handle must still be at exactly this generation, else
    /// [`CommitError::Conflict`]. A handle that was never stored is a conflict too.
    pub reads: Vec<Mark>,
    /// What to take from counters; each must give, else [`CommitError::Refused`].
    pub takes: Vec<Take>,
    /// Handles to raise to a strictly higher generation, each one record of the revocation log. Not above means
    /// [`CommitError::Conflict`]; a handle that was never stored counts as generation 0.
    pub kills: Vec<Mark>,
    /// The statements to run. The first that changes another number of rows than it states is a
    /// [`CommitError::Conflict`]. Put the conditional write first.
    pub writes: Vec<Write>,
    /// The records of it. Only batches that touch nothing but housekeeping tables, or forget what is over, have none.
    pub entries: Vec<Entry>,
    /// What the observer is told.
    pub effects: Vec<Effect>,
    /// If the writer comes to the batch after this time, it skips it with [`CommitError::Unavailable`].
    pub deadline: Option<Timestamp>,
}

/// One INSERT, UPDATE or DELETE.
///
/// The tables of the log (`log`, `ledger`, `ledger_member`, `revocation_log`, `counters`) are the writer's own: no
/// write may touch them, but for [`crate::counter::forget`]. `handles` grows here through [`crate::handle::born`], and loses
/// what [`crate::token_grant::forget`] takes away, which nothing asks for again; generations are raised by
/// [`Batch::kills`] alone, since the writer remembers them.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// In the subset that every database reads; placeholders are `?1`, `?2`, ...
    pub sql: Cow<'static, str>,
    /// The values of the placeholders, in order.
    pub params: Vec<Param>,
    /// How many rows it must change.
    pub rows: Rows,
}

/// How many rows a write must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Exactly so many, else the batch is a conflict.
    Exactly(u64),
    /// However many there are.
    Any,
}

/// A value of a placeholder. Its `Debug` says of what type it is, and no more: it may open something.
#[derive(Clone, PartialEq)]
pub enum Param {
    /// NULL.
    Null,
    /// A number.
    Integer(i64),
    /// A number that is never negative; the database holds it if it is below 2^63.
    Unsigned(u64),
    /// A text without NUL.
    Text(Cow<'static, str>),
    /// Bytes.
    Blob(Vec<u8>),
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Integer(_) | Self::Unsigned(_) => "Integer(..)",
            Self::Text(_) => "Text(..)",
            Self::Blob(_) => "Blob(..)",
        })
    }
}

/// Something to take from a counter, evaluated by the writer on the counter's stored state.
#[derive(Debug, Clone)]
pub struct Take {
    /// The counter's key: `CounterKey` of the decision, or anything else that is unique.
    pub counter: Box<[u8]>,
    /// What the counter allows.
    pub rule: Rule,
    /// How much to take.
    pub n: u64,
}

/// Something that changed, for the observer. The store does not look inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Effect {
    /// What kind of thing; the engine's own numbers.
    pub kind: u8,
    /// Which one: the bits of an id, or part of a hash.
    pub key: u128,
}

impl Write {
    /// Checks what no database would take.
    ///
    /// # Errors
    /// Says which parameter is wrong and how.
    pub fn check(&self) -> Result<(), String> {
        check_params(&self.params)
    }

    /// A write that must change exactly `rows` rows.
    pub fn exactly(rows: u64, sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            params: Vec::new(),
            rows: Rows::Exactly(rows),
        }
    }

    /// A write that may change any number of rows.
    pub fn any(sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            params: Vec::new(),
            rows: Rows::Any,
        }
    }

    /// Gives the next placeholder its value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Param>) -> Self {
        self.params.push(value.into());
        self
    }
}

impl Batch {
    /// Checks what an executor must not find out in the middle of a group.
    ///
    /// # Errors
    /// [`CommitError::Rejected`] for text with NUL, a number beyond 2^63, or more of anything than the limits allow.
    pub fn check(&self) -> Result<(), CommitError> {
        let counts = [
            self.reads.len(),
            self.takes.len(),
            self.kills.len(),
            self.writes.len(),
            self.entries.len(),
        ];
        let rejected = |write, reason| CommitError::Rejected { write, reason };
        if counts.iter().any(|count| *count > MAX_WRITES) {
            let reason = format!("a batch holds at most {MAX_WRITES} of each part");
            return Err(rejected(None, reason));
        }
        if let Some(kill) = self
            .kills
            .iter()
            .find(|kill| i64::try_from(kill.generation).is_err())
        {
            let reason = format!("the generation {} cannot be stored", kill.generation);
            return Err(rejected(None, reason));
        }
        if self
            .takes
            .iter()
            .any(|take| take.counter.len() > MAX_COUNTER_BYTES)
        {
            let reason = format!("the key of a counter has at most {MAX_COUNTER_BYTES} bytes");
            return Err(rejected(None, reason));
        }
        for (index, write) in self.writes.iter().enumerate() {
            write
                .check()
                .map_err(|reason| rejected(Some(index), reason))?;
        }
        Ok(())
    }

    /// Whether its turn comes in time. The caller knows the clock, not the log's time, which stays ahead of a clock
    /// that was set back.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`] once the deadline has passed.
    pub fn check_deadline(&self, clock: Timestamp) -> Result<(), CommitError> {
        match self.deadline {
            Some(deadline) if deadline < clock => Err(CommitError::Unavailable(
                "the deadline passed while it waited".into(),
            )),
            _ => Ok(()),
        }
    }

    /// About how much memory the batch takes while it waits.
    pub fn bytes(&self) -> usize {
        let params = self.writes.iter().flat_map(|write| &write.params);
        let writes: usize = params.map(Param::bytes).sum();
        let entries: usize = self.entries.iter().map(Entry::bytes).sum();
        writes
            .saturating_add(entries)
            .saturating_add(size_of::<Self>())
    }
}

pub(crate) fn check_params(params: &[Param]) -> Result<(), String> {
    if params.len() > MAX_PARAMS {
        return Err(format!("a statement has at most {MAX_PARAMS} parameters"));
    }
    for (index, param) in params.iter().enumerate() {
        let number = index.saturating_add(1);
        param
            .check()
            .map_err(|reason| format!("parameter {number} {reason}"))?;
    }
    Ok(())
}

impl Param {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Unsigned(number) if i64::try_from(*number).is_err() => {
                Err("is a number beyond 2^63".to_owned())
            }
            Self::Text(text) if text.contains('\0') => Err("is a text with a NUL".to_owned()),
            _ if self.bytes() > MAX_TEXT_BYTES => {
                Err(format!("is longer than {MAX_TEXT_BYTES} bytes"))
            }
            _ => Ok(()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) | Self::Unsigned(_) => size_of::<i64>(),
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Param {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

impl From<u32> for Param {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u8> for Param {
    fn from(number: u8) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Param {
    fn from(flag: bool) -> Self {
        Self::Integer(flag.into())
    }
}

impl From<Timestamp> for Param {
    fn from(time: Timestamp) -> Self {
        Self::Integer(time.as_micros())
    }
}

impl From<&'static str> for Param {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<K: Named> From<Id<K>> for Param {
    fn from(id: Id<K>) -> Self {
        Self::Text(Cow::Owned(id.to_string()))
    }
}

impl From<Vec<u8>> for Param {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<const N: usize> From<[u8; N]> for Param {
    fn from(bytes: [u8; N]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl From<Handle> for Param {
    fn from(handle: Handle) -> Self {
        handle::encode(handle).into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(write: Write) -> String {
        let batch = Batch {
            writes: vec![Write::any("SELECT 1"), write],
            ..Batch::default()
        };
        match batch.check() {
            Err(CommitError::Rejected {
                write: Some(1),
                reason,
            }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_shows_in_no_log() {
        let write = Write::any("UPDATE t SET hash = ?1, key = ?2, code = ?3 WHERE name = ?4")
            .bind("canary-text")
            .bind(b"canary-blob".to_vec())
            .bind(739_142_i64)
            .bind(None::<String>);
        let batch = Batch {
            writes: vec![write],
            ..Batch::default()
        };
        let shown = format!("{batch:?}");
        for canary in ["canary", "99, 97, 110", "739142"] {
            assert!(!shown.contains(canary), "{shown}");
        }
        // What it does can still be read.
        assert!(shown.contains("UPDATE t SET hash = ?1"), "{shown}");
        assert!(
            shown.contains("[Text(..), Blob(..), Integer(..), Null]"),
            "{shown}"
        );
    }

    #[test]
    fn what_no_database_can_store_is_rejected_before_the_queue() {
        let write = || Write::any("INSERT INTO t VALUES (?1)");
        assert!(rejected(write().bind("a\0b")).contains("NUL"));
        assert!(rejected(write().bind(u64::MAX)).contains("2^63"));
        assert!(rejected(write().bind("x".repeat(MAX_TEXT_BYTES + 1))).contains("longer"));
        let many = (0..=MAX_PARAMS).fold(write(), |write, _| write.bind(1_i64));
        assert!(rejected(many).contains("100"));
    }

    #[test]
    fn what_can_be_stored_passes() {
        let write = Write::any("INSERT INTO t VALUES (?1, ?2)")
            .bind("x".repeat(MAX_TEXT_BYTES))
            .bind(i64::MAX.unsigned_abs());
        let batch = Batch {
            writes: vec![write],
            ..Batch::default()
        };
        assert_eq!(batch.check(), Ok(()));
    }
}
