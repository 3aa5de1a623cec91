//! Questions of followers: what is new, signed for; and records alone, which are not.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;
use kavachos_core::hex;
use kavachos_core::revocation::{FeedHead, LogHead, MAX_RECORDS, PollAnswer, PollRequest, Record};
use kavachos_core::token::{Algorithm, SigningKey};
use kavachos_store::revocation::{self, LogState};
use kavachos_store::{FromRow, Row};
use serde::Serialize;

use super::MAX_FEED_WAIT;
use super::reader::FeedReader;
use crate::directory::ALL_KILLS;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::signing_keys::KeyPurpose;

/// Records of the log, which nobody signs for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Revocations"))]
pub struct RevocationPage {
    /// Which log it is, 32 hex digits.
    pub log: String,
    /// In which epoch it is; a restored backup begins a new one.
    pub epoch: u64,
    /// In their order, at most 1,000.
    pub records: Vec<Record>,
    /// Whether there are more: ask again after the last of these.
    pub more: bool,
}

/// One state of the log, and what comes after a record of it.
pub(super) struct Seen {
    pub(super) state: LogState,
    /// The hash at the record that was asked from; `None` when there is no such record.
    from: Option<[u8; 32]>,
    pub(super) records: Vec<Record>,
}

impl Seen {
    /// Whether this is a head that the log went through.
    fn went_through(&self, epoch: u64, head: &LogHead) -> bool {
        epoch == self.state.epoch && self.from == Some(head.rhash)
    }

    /// Whether this is the same log as in an earlier state that was asked from.
    pub(super) fn is_after(&self, earlier: &LogState) -> bool {
        self.went_through(earlier.epoch, &earlier.head)
    }

    /// Whether there are records that were not read.
    pub(super) fn has_more(&self) -> bool {
        let last = self.records.last().map(|record| record.rseq);
        last.is_some_and(|last| last < self.state.head.rseq)
    }
}

impl Engine {
    /// Answers a follower that asks what is new, with a head that is good for its lease. What it has applied counts as
    /// acknowledged, if it is what the log came to there.
    ///
    /// # Errors
    /// The caller may not read the feed, there is no master key, too many follow, or those of the store.
    pub async fn poll_revocations(
        &self,
        reader: &FeedReader,
        question: &PollRequest,
    ) -> Result<PollAnswer> {
        reader.check(self)?;
        let key = self.feed_key().await?;
        let which = (reader.name()?, question.instance.clone());
        let lease = reader.lease()?;
        self.feed()
            .followers
            .expect(which.clone(), lease, self.running())?;
        let seen = self.seen_after(question.rseq).await?;
        let head = FeedHead {
            issuer: self.settings().issuer.clone(),
            epoch: seen.state.epoch,
            head: seen.state.head,
            time: self.now(),
            lease_max: lease,
            nonce: question.nonce.clone(),
            follower: which.0.clone(),
            set: None,
        };
        let head = head.sign(&key);
        if !seen.went_through(question.epoch, &question.applied()) {
            return Ok(PollAnswer {
                head,
                records: Vec::new(),
                more: false,
                snapshot_needed: true,
            });
        }
        let applied = (question.epoch, question.rseq);
        self.feed().followers.acknowledge(&which, applied);
        Ok(PollAnswer {
            head,
            more: seen.has_more(),
            records: seen.records,
            snapshot_needed: false,
        })
    }

    /// The records after this one; if there are none, once there is one, or after so long.
    ///
    /// # Errors
    /// The caller may not read the feed, the log has no record of this number, too many wait, or those of the store.
    pub async fn revocations_after(
        &self,
        reader: &FeedReader,
        since: u64,
        wait: Duration,
    ) -> Result<RevocationPage> {
        reader.check(self)?;
        let wait = wait.min(MAX_FEED_WAIT);
        let _seat = self.feed().listening.take(reader.holder())?;
        // Listening begins before the look: a kill between the two is heard.
        let listener = self.directory().kills().listen(ALL_KILLS);
        let mut seen = self.followed_from(since).await?;
        let waits = seen.records.is_empty() && !wait.is_zero() && !self.listeners().is_ending();
        if let Some(listener) = listener.filter(|_| waits) {
            select(pin!(listener), pin!(self.sleep(wait))).await;
            reader.require_live(self).await?;
            seen = self.seen_after(since).await?;
        }
        Ok(RevocationPage {
            log: hex::encode(&self.head().log.0),
            epoch: seen.state.epoch,
            more: seen.has_more(),
            records: seen.records,
        })
    }

    /// The key that heads are signed with now.
    pub(super) async fn feed_key(&self) -> Result<SigningKey> {
        self.signer(KeyPurpose::Feed, Algorithm::Ed25519).await
    }

    /// What comes after a record that somebody has.
    pub(super) async fn followed_from(&self, since: u64) -> Result<Seen> {
        let seen = self.seen_after(since).await?;
        let last = seen.state.head.rseq;
        if since > last {
            return Err(Error::WrongState(format!(
                "the log has only {last} records: what you follow is not this log, or the backup that it was restored \
                 from is older; ask for a snapshot"
            )));
        }
        Ok(seen)
    }

    /// The log now, and what comes after the record of this number, read as one.
    pub(super) async fn seen_after(&self, rseq: u64) -> Result<Seen> {
        let queries = vec![
            revocation::state().into_query(),
            revocation::hash_at(rseq).into_query(),
            revocation::after(rseq, MAX_RECORDS).into_query(),
        ];
        let mut answers = self.store().read(queries).await?.into_iter();
        let state: Vec<LogState> = decoded(answers.next())?;
        let hash: Vec<([u8; 32],)> = decoded(answers.next())?;
        let none = || Error::Internal("the database has no log".to_owned());
        let from = if rseq == LogHead::EMPTY.rseq {
            Some(LogHead::EMPTY.rhash)
        } else {
            hash.into_iter().next().map(|(hash,)| hash)
        };
        Ok(Seen {
            state: state.into_iter().next().ok_or_else(none)?,
            from,
            records: decoded(answers.next())?,
        })
    }
}

/// The rows of one of several answers.
pub(crate) fn decoded<T: FromRow>(rows: Option<Vec<Row>>) -> Result<Vec<T>> {
    let rows = rows.unwrap_or_default().into_iter();
    let decode = |row: Row| {
        row.decode()
            .map_err(|error| Error::Internal(format!("{error}")))
    };
    rows.map(decode).collect()
}
