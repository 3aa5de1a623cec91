//! Checkpoints: what the two logs came to, kept outside of the database, so that a database that was put back shows.
//!
//! Promises: what is kept was committed before; a kill is answered only after a checkpoint that has it was kept, if one
//! can be kept at all; a database is held against a checkpoint by the hashes of both logs, not by their lengths alone. It
//! does not know where checkpoints are kept, and no decision waits for one.

use std::str::FromStr;

use kavachos_core::hex;
use kavachos_core::invalid::Invalid;
use kavachos_core::json::Object;
use kavachos_core::ledger::{Frontier, LogId};
use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;
use kavachos_store::transfer::{self, Log};
use kavachos_store::{BoxFuture, Malformed, Query, ReadError, Row, revocation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// What the text of one is called.
const FORM: &str = "kavachos-checkpoint";
/// The version of the text.
const VERSION: u64 = 1;
/// How many leaves are read at a time.
const PAGE: usize = 10_000;

/// Keeps checkpoints somewhere that is not the database. The facade keeps them in a file.
pub trait CheckpointKeeper: Send + Sync {
    /// Keeps this one in place of the last, unless the last is a later one; answers once it cannot get lost.
    fn keep(&self, checkpoint: Checkpoint) -> BoxFuture<'static, std::result::Result<(), String>>;
}

/// What the logs of a database came to at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub log: LogId,
    /// In which epoch.
    pub epoch: u64,
    /// The edge of the ledger's tree, from which it can be told whether a longer ledger begins with this one.
    pub edge: Frontier,
    /// The last revocation.
    pub revocation: LogHead,
    /// When its last record was committed, or later.
    pub time: Timestamp,
}

/// How a database is not the one that a checkpoint was taken of, or an earlier state of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Setback {
    /// It is another database.
    #[error(
        "it is of another database, whose log is {known}; this one's is {found}, and its last import did not replace that one"
    )]
    OtherLog {
        /// The log of the checkpoint.
        known: String,
        /// The log that is there.
        found: String,
    },
    /// It was restored since.
    #[error("the database was in epoch {known}, and this one is in epoch {found}")]
    EarlierEpoch {
        /// The epoch of the checkpoint.
        known: u64,
        /// The epoch that is there.
        found: u64,
    },
    /// Revocations are missing: what they ended would live again.
    #[error("the database had {known} revocations, and this one has {found}")]
    FewerRevocations {
        /// How many there were.
        known: u64,
        /// How many there are.
        found: u64,
    },
    /// Records are missing.
    #[error("the database had {known} records, and this one has {found}")]
    FewerRecords {
        /// How many there were.
        known: u64,
        /// How many there are.
        found: u64,
    },
    /// It is long enough, and has another history.
    #[error("the {log} is not the one that was there: up to its {number}th entry it is another")]
    Rewritten {
        /// `ledger` or `log of revocations`.
        log: &'static str,
        /// Up to which entry the two were compared.
        number: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Text {
    kind: String,
    version: u64,
    log: String,
    epoch: u64,
    records: u64,
    root: String,
    edge: String,
    rseq: u64,
    rhash: String,
    time: i64,
}

impl Checkpoint {
    /// The checkpoint of a log as it is stored.
    pub(crate) fn of(log: &Log) -> Result<Self> {
        let damaged = |error: Invalid| Error::Internal(error.message().to_owned());
        Ok(Self {
            log: LogId(log.log),
            epoch: log.epoch,
            edge: Frontier::decode(&log.frontier).map_err(damaged)?,
            revocation: LogHead {
                rseq: log.rseq,
                rhash: log.rhash,
            },
            time: log.last_time,
        })
    }

    /// How many records there were.
    pub fn records(&self) -> u64 {
        self.edge.size()
    }

    /// Whether this is the later one of two of the same log; one of another log replaces any.
    pub fn is_after(&self, other: &Self) -> bool {
        let order = |one: &Self| (one.epoch, one.revocation.rseq, one.records());
        self.log != other.log || order(self) > order(other)
    }

    /// The text that is kept, one line.
    pub fn text(&self) -> String {
        let text = Text {
            kind: FORM.to_owned(),
            version: VERSION,
            log: hex::encode(&self.log.0),
            epoch: self.epoch,
            records: self.records(),
            root: hex::encode(&self.edge.root()),
            edge: hex::encode(&self.edge.encode()),
            rseq: self.revocation.rseq,
            rhash: hex::encode(&self.revocation.rhash),
            time: self.time.as_micros(),
        };
        // Texts and numbers are always written.
        serde_json::to_string(&text).unwrap_or_default() + "\n"
    }
}

impl FromStr for Checkpoint {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        let wrong = |reason: &str| Invalid::new(format!("this is no checkpoint: {reason}"));
        let read: std::result::Result<Object<Text>, _> = serde_json::from_str(text);
        let Object(read) = read.map_err(|error| wrong(&error.to_string()))?;
        if (read.kind.as_str(), read.version) != (FORM, VERSION) {
            return Err(wrong("it is of another kind, or of a newer version"));
        }
        let digits = || wrong("its hashes are not written in hex digits");
        let edge = hex::decode(&read.edge).ok_or_else(digits)?;
        let edge = Frontier::decode(&edge)?;
        if edge.size() != read.records || hex::encode(&edge.root()) != read.root {
            return Err(wrong("its root does not follow from its edge"));
        }
        Ok(Self {
            log: LogId(hex::decode_exact(&read.log).ok_or_else(digits)?),
            epoch: read.epoch,
            edge,
            revocation: LogHead {
                rseq: read.rseq,
                rhash: hex::decode_exact(&read.rhash).ok_or_else(digits)?,
            },
            time: Timestamp::from_micros(read.time),
        })
    }
}

/// What is read of a database, by whoever can: a store, or a transaction of one.
pub(crate) struct Stored {
    pub(crate) log: Log,
    /// The hash of the log of revocations at the checkpoint's last; `None` when there is none of that number.
    pub(crate) rhash: Option<[u8; 32]>,
    /// The body of the record of the last import, if there was one.
    pub(crate) imported: Option<String>,
}

impl Stored {
    /// Whether the database was filled since, in place of this log: a crash between the import and its checkpoint leaves
    /// one of the log that ended.
    fn replaces(&self, log: LogId) -> bool {
        let body = self.imported.as_deref().unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let replaced = body.pointer("/details/replacedLog");
        replaced.and_then(Value::as_str) == Some(&hex::encode(&log.0))
    }

    /// Whether this is the log that goes on after a checkpoint, by an act on record.
    fn begins_anew(&self, known: &Checkpoint) -> bool {
        self.log.log != known.log.0 || self.log.epoch > known.epoch
    }
}

impl Checkpoint {
    /// Holds lengths and the log of revocations against this. Of the ledger only lengths, and what is equal in length.
    fn compare(&self, stored: &Stored) -> std::result::Result<(), Setback> {
        let log = &stored.log;
        if log.log != self.log.0 && stored.replaces(self.log) {
            return Ok(());
        }
        if log.log != self.log.0 {
            return Err(Setback::OtherLog {
                known: hex::encode(&self.log.0),
                found: hex::encode(&log.log),
            });
        }
        if log.epoch < self.epoch {
            return Err(Setback::EarlierEpoch {
                known: self.epoch,
                found: log.epoch,
            });
        }
        if log.epoch > self.epoch {
            // It was restored on purpose since.
            return Ok(());
        }
        let LogHead { rseq, rhash } = self.revocation;
        if log.rseq < rseq {
            return Err(Setback::FewerRevocations {
                known: rseq,
                found: log.rseq,
            });
        }
        if rseq != LogHead::EMPTY.rseq && stored.rhash != Some(rhash) {
            return Err(Setback::Rewritten {
                log: "log of revocations",
                number: rseq,
            });
        }
        Ok(())
    }
}

impl Checkpoint {
    /// What has to be read of a database, in one snapshot, to hold it against this: for whoever looks at it beside its
    /// server.
    pub fn questions(&self) -> Vec<Query> {
        let rhash = revocation::hash_at(self.revocation.rseq);
        vec![
            transfer::log().into_query(),
            rhash.into_query(),
            transfer::last_import().into_query(),
        ]
    }

    /// Judges the rows of [`Checkpoint::questions`]: all that a start would refuse, but for records that were exchanged
    /// for others in a ledger that is longer by now.
    ///
    /// # Errors
    /// A row is not of this schema. Inside: how it is not the same database or an earlier state of it.
    pub fn judge(
        &self,
        rows: Vec<Vec<Row>>,
    ) -> std::result::Result<std::result::Result<(), Setback>, Malformed> {
        let mut rows = rows.into_iter();
        let log = rows.next().and_then(|rows| rows.into_iter().next());
        let rhash = rows.next().and_then(|rows| rows.into_iter().next());
        let imported = rows.next().and_then(|rows| rows.into_iter().next());
        let Some(log) = log else {
            return Ok(Err(self.lost_all()));
        };
        let rhash: Option<([u8; 32],)> = rhash.map(Row::decode).transpose()?;
        let imported: Option<(String,)> = imported.map(Row::decode).transpose()?;
        let stored = Stored {
            log: log.decode()?,
            rhash: rhash.map(|(rhash,)| rhash),
            imported: imported.map(|(body,)| body),
        };
        Ok(self
            .compare(&stored)
            .and_then(|()| self.compare_length(&stored)))
    }

    fn lost_all(&self) -> Setback {
        Setback::FewerRecords {
            known: self.records(),
            found: 0,
        }
    }

    fn compare_length(&self, stored: &Stored) -> std::result::Result<(), Setback> {
        let Ok(now) = Frontier::decode(&stored.log.frontier) else {
            return Err(self.lost_all());
        };
        if stored.begins_anew(self) {
            return Ok(());
        }
        if now.size() < self.records() {
            return Err(Setback::FewerRecords {
                known: self.records(),
                found: now.size(),
            });
        }
        if now.size() == self.records() && now != self.edge {
            return Err(self.rewritten());
        }
        Ok(())
    }

    fn rewritten(&self) -> Setback {
        Setback::Rewritten {
            log: "ledger",
            number: self.records(),
        }
    }
}

impl Engine {
    /// What the logs have come to now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        let log = self.store().find(transfer::log()).await?;
        let none = || Error::Internal("the database has no log".to_owned());
        Checkpoint::of(&log.ok_or_else(none)?)
    }

    /// Holds this database against a checkpoint: it must have everything that the checkpoint has, and may have more. One
    /// of a later epoch was restored on purpose since.
    ///
    /// # Errors
    /// How it is not the same database or an earlier state of it, inside of the errors of the store.
    pub async fn hold_against(
        &self,
        known: &Checkpoint,
    ) -> Result<std::result::Result<(), Setback>> {
        let store = self.store();
        let log = store.find(transfer::log()).await?;
        let log = log.ok_or_else(|| Error::Internal("the database has no log".to_owned()))?;
        let rhash = store
            .find(revocation::hash_at(known.revocation.rseq))
            .await?;
        let imported = store.find(transfer::last_import()).await?;
        let stored = Stored {
            log,
            rhash: rhash.map(|(rhash,)| rhash),
            imported: imported.map(|(body,)| body),
        };
        let compared = known.compare(&stored);
        let compared = compared.and_then(|()| known.compare_length(&stored));
        if compared.is_err() || stored.begins_anew(known) {
            return Ok(compared);
        }
        Ok(self.hold_ledger(known, &stored.log).await?)
    }

    /// Grows the checkpoint's tree by the leaves since, and compares it with the one that is there.
    async fn hold_ledger(
        &self,
        known: &Checkpoint,
        log: &Log,
    ) -> std::result::Result<std::result::Result<(), Setback>, ReadError> {
        let rewritten = known.rewritten();
        let Ok(now) = Frontier::decode(&log.frontier) else {
            return Ok(Err(rewritten));
        };
        let mut grown = known.edge.clone();
        while grown.size() < now.size() {
            let left = usize::try_from(now.size().saturating_sub(grown.size()));
            let limit = left.unwrap_or(PAGE).min(PAGE);
            let leaves = self
                .store()
                .list(transfer::leaves(grown.size(), limit))
                .await?;
            if leaves.is_empty() {
                return Ok(Err(rewritten));
            }
            leaves.into_iter().for_each(|(leaf,)| grown.append(leaf));
        }
        Ok(if grown == now { Ok(()) } else { Err(rewritten) })
    }

    /// Has what the logs came to kept outside of the database, where that is done. That it cannot be is no reason to
    /// refuse what is committed already: it is logged, and tried again within seconds.
    pub async fn keep_checkpoint(&self) {
        if let Err(reason) = self.try_to_keep_checkpoint().await {
            tracing::error!(reason, "no checkpoint could be kept; it is tried again");
        }
    }

    /// The same for whoever does not go on without.
    ///
    /// # Errors
    /// Why it cannot be kept.
    pub async fn try_to_keep_checkpoint(&self) -> std::result::Result<(), String> {
        let Some(keeper) = self.checkpoints() else {
            return Ok(());
        };
        match self.checkpoint().await {
            Ok(checkpoint) => keeper.keep(checkpoint).await,
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log(records: u8, rseq: u64, epoch: u64) -> Log {
        let mut edge = Frontier::default();
        (0..records).for_each(|leaf| edge.append([leaf; 32]));
        Log {
            log: [1; 16],
            epoch,
            frontier: edge.encode(),
            last_time: Timestamp::from_micros(7),
            rseq,
            rhash: [u8::try_from(rseq).unwrap(); 32],
        }
    }

    fn stored(log: Log, rhash: u8) -> Stored {
        Stored {
            log,
            rhash: Some([rhash; 32]),
            imported: None,
        }
    }

    #[test]
    fn a_checkpoint_reads_back_and_one_that_was_edited_does_not() {
        let checkpoint = Checkpoint::of(&log(5, 3, 2)).unwrap();
        let text = checkpoint.text();
        assert_eq!(text.parse(), Ok(checkpoint));
        for (from, to) in [
            ("\"records\":5", "\"records\":4"),
            ("kavachos-checkpoint", "kavachos-tenant"),
            ("\"version\":1", "\"version\":2"),
            ("\"rseq\":3", "\"rseq\":-3"),
            ("}", ",\"more\":1}"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(
                text.replace(from, to).parse::<Checkpoint>().is_err(),
                "{to}"
            );
        }
        let half = text.get(..text.len() / 2).unwrap();
        assert!(half.parse::<Checkpoint>().is_err());
    }

    #[test]
    fn a_log_that_lost_something_is_told_from_one_that_only_grew() {
        let known = Checkpoint::of(&log(5, 3, 2)).unwrap();
        for (found, rhash, fits) in [
            (log(5, 3, 2), 3, true),
            (log(9, 4, 2), 3, true),
            (log(5, 2, 2), 3, false),
            (log(9, 4, 2), 4, false),
            (log(5, 3, 1), 3, false),
        ] {
            let told = known.compare(&stored(found.clone(), rhash));
            assert_eq!(told.is_ok(), fits, "{found:?}");
        }
        let mut other = log(5, 3, 2);
        other.log = [2; 16];
        let mut other = stored(other, 3);
        let told = known.compare(&other);
        assert!(matches!(told, Err(Setback::OtherLog { .. })));
        // A crash after an import: the log of the checkpoint ended with it.
        let body = |log: [u8; 16]| json!({"details": {"replacedLog": hex::encode(&log)}});
        for (replaced, fits) in [([3; 16], false), ([1; 16], true)] {
            other.imported = Some(body(replaced).to_string());
            let told = known.compare(&other);
            let told = told.and_then(|()| known.compare_length(&other));
            assert_eq!(told.is_ok(), fits, "{replaced:?}");
        }
    }

    #[test]
    fn the_later_of_two_checkpoints_is_kept() {
        let of = |records, rseq, epoch| Checkpoint::of(&log(records, rseq, epoch)).unwrap();
        assert!(of(6, 3, 1).is_after(&of(5, 3, 1)));
        assert!(of(5, 4, 1).is_after(&of(5, 3, 1)));
        assert!(of(1, 0, 2).is_after(&of(5, 3, 1)));
        assert!(!of(5, 3, 1).is_after(&of(5, 3, 1)) && !of(5, 3, 1).is_after(&of(6, 3, 1)));
    }
}
