//! The answers of a store. Every answer but a [`Receipt`] means that nothing was allowed.

use std::borrow::Cow;

use kavachos_core::counter::Refusal;
use kavachos_core::ledger::{Hash, LogId};
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;

use crate::row::Malformed;

/// The batch is applied and on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the batch's first ledger entry, which is also its index in the tree; the others follow it
    /// without a gap. `None` for a batch without entries.
    pub first_seq: Option<u64>,
    /// The time that the batch's entries carry.
    pub time: Timestamp,
    /// The heads after the group of batches that this one was committed with.
    pub head: Head,
}

/// What the ledger and the revocation log have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which log.
    pub log: LogId,
    /// How often the database was restored from a backup; part of every signed head.
    pub epoch: u64,
    /// How many ledger entries there are.
    pub size: u64,
    /// The root of the ledger's tree over these.
    pub root: Hash,
    /// The head of the revocation log.
    pub revocation: LogHead,
}

/// Whether the writer can commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can, as far as is known.
    Ready,
    /// The last group failed for this reason (a full disk, say); the next one tries again. To find out whether it
    /// works by now, commit an empty batch: it writes the head of the log.
    Failing(Cow<'static, str>),
    /// It has stopped for good: the process should end and be started again.
    Stopped(Cow<'static, str>),
}

/// Why a batch was not applied, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// What the batch relied on no longer holds: read and decide again. Nothing was applied.
    #[error("what the change relied on no longer holds")]
    Conflict {
        /// The index of the write that changed another number of rows than stated; `None` for a `read` that is no
        /// longer current, or a kill that does not raise the generation.
        write: Option<usize>,
    },
    /// A take failed. Nothing was applied, and this is no answer for a caller yet: the engine marks the counter as
    /// full and decides again.
    #[error("a counter has no more to give")]
    Refused {
        /// Which counter.
        counter: Box<[u8]>,
        /// Whether waiting helps.
        refusal: Refusal,
    },
    /// A constraint or a type was violated: a bug or bad input, never to be sent again. Nothing was applied.
    #[error("the database refuses the change: {reason}")]
    Rejected {
        /// The index of the write at fault, if it was one.
        write: Option<usize>,
        /// What the database said.
        reason: String,
    },
    /// The queue is full or the database is locked. Nothing was applied; it may be sent again.
    #[error("the store is busy, try again")]
    Busy,
    /// The store cannot write, or the deadline passed before the batch's turn. Nothing was applied.
    #[error("the store cannot write: {0}")]
    Unavailable(Cow<'static, str>),
    /// The batch may or may not have been applied, and it cannot be found out now. Never send it again by itself.
    #[error("it is not known whether the change was made")]
    Unknown,
}

/// Why a read gave no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The queue of reads is full or the database is locked; it may be sent again.
    #[error("the store is busy, try again")]
    Busy,
    /// The store cannot read.
    #[error("the store cannot read: {0}")]
    Unavailable(Cow<'static, str>),
    /// The query is wrong, or a row is not what its reader expects: a bug.
    #[error("the query failed: {0}")]
    Rejected(String),
    /// There are more rows than the query allows for: what it would have left out could matter.
    #[error("there are more than the {0} rows that the query allows for")]
    TooManyRows(usize),
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Rejected(error.to_string())
    }
}
