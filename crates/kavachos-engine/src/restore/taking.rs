//! Takes the exported log in: what the backup has is compared with it, what it does not have is written.

use std::pin::pin;

use futures_util::stream::{Stream, StreamExt};
use kavachos_core::hex;
use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::LogHead;
use kavachos_store::{CommitError, Write, restore};

use super::Work;
use super::exported::{Exported, Read, RevocationReader};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

/// How many records are written together.
const CHUNK: usize = 200;

/// The exported log, as far as it was read.
pub(super) struct Taking<'w, 'a> {
    work: &'w mut Work<'a>,
    known: Option<&'w Checkpoint>,
    reader: RevocationReader,
    of: Option<Exported>,
    /// Records of this line and those before it wait to be written.
    chunk: Vec<Write>,
    taken: u64,
}

impl<'w, 'a> Taking<'w, 'a> {
    pub(super) fn new(work: &'w mut Work<'a>, known: Option<&'w Checkpoint>) -> Self {
        Self {
            work,
            known,
            reader: RevocationReader::default(),
            of: None,
            chunk: Vec::new(),
            taken: 0,
        }
    }

    /// Takes all lines; gives the epoch that the log was in.
    pub(super) async fn all<S, E>(mut self, lines: S) -> Result<u64>
    where
        S: Stream<Item = std::result::Result<String, E>> + Send,
        E: std::fmt::Display + Send,
    {
        let mut lines = pin!(lines);
        while let Some(text) = lines.next().await {
            let text = text
                .map_err(|error| Invalid::new(format!("the exported log cannot be read: {error}")));
            self.line(&text?).await?;
        }
        self.reader.finish()?;
        self.write().await?;
        self.end()
    }

    async fn line(&mut self, text: &str) -> Result<()> {
        match self.reader.take(text)? {
            Read::Head(of) => self.begin(of),
            Read::End => Ok(()),
            Read::Record(record, head) => {
                self.compare(&head)?;
                if record.rseq <= self.work.before.rseq {
                    return Ok(());
                }
                self.chunk.extend(restore::kill(record.kill, head));
                self.taken = self.taken.saturating_add(1);
                if self.chunk.len() >= CHUNK {
                    self.write().await?;
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, of: Exported) -> Result<()> {
        let own = self.work.before.log;
        if of.log.0 != own {
            return Err(Error::WrongState(format!(
                "the exported log of revocations is of another database: it is {}, and the backup's is {}",
                hex::encode(&of.log.0),
                hex::encode(&own)
            )));
        }
        let known = self.known.map_or(0, |known| known.epoch);
        let used = known.max(self.work.before.epoch);
        if of.epoch < used {
            return Err(Error::WrongState(format!(
                "the exported log of revocations is of epoch {}, and the database was in epoch {used} since: find a later \
                 export, or restore without one",
                of.epoch
            )));
        }
        self.of = Some(of);
        Ok(())
    }

    /// The log must go through the heads of the backup and of the checkpoint.
    fn compare(&self, head: &LogHead) -> Result<()> {
        let before = &self.work.before;
        if head.rseq == before.rseq && head.rhash != before.rhash {
            return Err(self.other("the backup has").into());
        }
        let of = self.of.map_or(0, |of| of.epoch);
        match self.known.filter(|known| known.epoch == of) {
            Some(known) if known.revocation.rseq == head.rseq && known.revocation != *head => {
                Err(self.other("the checkpoint knows").into())
            }
            _ => Ok(()),
        }
    }

    fn other(&self, whose: &str) -> Invalid {
        let why = format!("up to here it is another log than the one that {whose}");
        self.reader.wrong(why)
    }

    async fn write(&mut self) -> Result<()> {
        let writes = std::mem::take(&mut self.chunk);
        match self.work.filling.write(writes).await {
            Err(CommitError::Conflict { .. } | CommitError::Rejected { .. }) => Err(self
                .reader
                .wrong("a record before this line revokes nothing that is not revoked already")
                .into()),
            other => Ok(other?),
        }
    }

    /// The log must be as long as any that is known.
    fn end(self) -> Result<u64> {
        let of = self.of.map_or(0, |of| of.epoch);
        let head = self.reader.head();
        let known = self.known.filter(|known| known.epoch == of);
        let known = known.map_or(0, |known| known.revocation.rseq);
        let least = known.max(self.work.before.rseq);
        if head.rseq < least {
            return Err(Error::WrongState(format!(
                "the exported log has {} revocations, and there were {least}: what is missing in it would live again; find \
                 a later export, or restore without one",
                head.rseq
            )));
        }
        self.work.head = head;
        self.work.kills = Some(self.taken);
        Ok(of)
    }
}
