//! Where the log stands, and what the writer remembers of the tables that only it changes.
//!
//! A [`Log`] is changed as batches hold. When a group fails it is thrown away and read again, so it never has to be
//! wound back further than one batch.

use kavachos_core::ledger::{Entry, Frontier, Hash, LogId, leaf};
use kavachos_core::revocation::{Handle, LogHead};
use kavachos_core::time::Timestamp;

use super::recent::Recent;
use crate::answer::Head;

/// How many handles are remembered for certain: those of the tokens and agents in use.
const HANDLES: usize = 1 << 16;
/// How many counters are remembered for certain; each has at most about 300 bytes.
const COUNTERS: usize = 1 << 15;

/// The head of the log, and a memory of handles and counters.
pub(crate) struct Log {
    id: LogId,
    epoch: u64,
    /// How many groups were committed; tells after a lost COMMIT whether it was done.
    pub(crate) commits: u64,
    pub(crate) frontier: Frontier,
    pub(crate) last_time: Timestamp,
    pub(crate) revocation: LogHead,
    pub(crate) handles: Recent<Handle, u64>,
    pub(crate) counters: Recent<Box<[u8]>, Vec<u8>>,
}

/// The one row of the table `log`, as it is stored.
pub(crate) struct StoredLog {
    pub(crate) id: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) commits: u64,
    pub(crate) frontier: Vec<u8>,
    pub(crate) last_time: i64,
    pub(crate) revocation: LogHead,
}

impl StoredLog {
    /// The log that the row describes; the memory starts empty.
    ///
    /// # Errors
    /// Says how the row contradicts itself.
    pub(crate) fn check(self) -> Result<Log, String> {
        let frontier =
            Frontier::decode(&self.frontier).map_err(|error| error.message().to_owned())?;
        Ok(Log {
            id: LogId(self.id),
            epoch: self.epoch,
            commits: self.commits,
            frontier,
            last_time: Timestamp::from_micros(self.last_time),
            revocation: self.revocation,
            handles: Recent::new(HANDLES),
            counters: Recent::new(COUNTERS),
        })
    }
}

impl Log {
    /// The name of the log.
    #[cfg(feature = "postgres")]
    pub(crate) fn id(&self) -> LogId {
        self.id
    }

    /// Whether this is the log that had the given head, or a later state of it. Otherwise somebody replaced it.
    pub(crate) fn continues(&self, head: &Head) -> bool {
        self.id == head.log
            && self.epoch == head.epoch
            && self.frontier.size() >= head.size
            && self.revocation.rseq >= head.revocation.rseq
    }

    /// The head for receipts.
    pub(crate) fn head(&self) -> Head {
        Head {
            log: self.id,
            epoch: self.epoch,
            size: self.frontier.size(),
            root: self.frontier.root(),
            revocation: self.revocation,
        }
    }

    /// The time of what is applied now: never before what was applied last.
    pub(crate) fn time(&self, clock: Timestamp) -> Timestamp {
        clock.max(self.last_time)
    }

    /// The leaf of an entry that would have this number.
    pub(crate) fn leaf(&self, entry: &Entry, seq: u64, time: Timestamp) -> Hash {
        leaf(self.id, seq, time, entry.body())
    }
}
