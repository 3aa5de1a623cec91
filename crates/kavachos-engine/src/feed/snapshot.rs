//! Everything that was killed, for a follower that begins, or cannot go on from what it has.

use std::ops::Deref;
use std::time::Duration;

use kavachos_core::revocation::{
    FeedHead, LogHead, MAX_SNAPSHOT_MARKS, Mark, SnapshotAnswer, SnapshotRequest, digest_of,
};
use kavachos_core::time::Timestamp;
use kavachos_store::revocation::{self, LogState};

use super::reader::FeedReader;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::seats::Seat;

/// How many handles are read at a time.
const PAGE: usize = 5_000;
/// How long a reader may take for one part of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long for all of it: places are few, and whoever begins needs one.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(5 * 60);

/// A snapshot, and its place among those that are given out.
pub struct RevocationSnapshot {
    answer: SnapshotAnswer,
    engine: Engine,
    begun_at: Timestamp,
    given_at: Timestamp,
    _seat: Seat,
}

impl RevocationSnapshot {
    /// To call it says that every part that was given before was taken, and that the next one is.
    ///
    /// # Errors
    /// The reader took too long: what it has is not all, and its place is for others.
    pub fn step(&mut self) -> Result<()> {
        let now = self.engine.now();
        let given_at = std::mem::replace(&mut self.given_at, now);
        if now.since(given_at) <= PATIENCE && now.since(self.begun_at) <= PATIENCE_IN_ALL {
            return Ok(());
        }
        Err(Error::WrongState(
            "the snapshot was taken too slowly; begin again".to_owned(),
        ))
    }
}

impl Deref for RevocationSnapshot {
    type Target = SnapshotAnswer;

    fn deref(&self) -> &SnapshotAnswer {
        &self.answer
    }
}

impl Engine {
    /// Answers a follower that asks for everything, with a head that is good for its lease.
    ///
    /// # Errors
    /// The caller may not read the feed, there is no master key, too many follow or ask at the same time, or those of
    /// the store.
    pub async fn revocation_snapshot(
        &self,
        reader: &FeedReader,
        question: &SnapshotRequest,
    ) -> Result<RevocationSnapshot> {
        reader.check(self)?;
        let seat = self.feed().snapshots.take(reader.holder())?;
        let key = self.feed_key().await?;
        let (name, lease) = (reader.name()?, reader.lease()?);
        let which = (name.clone(), question.instance.clone());
        let followers = &self.feed().followers;
        followers.expect(which, lease, self.running())?;
        let state = self.seen_after(LogHead::EMPTY.rseq).await?.state;
        let time = self.now();
        let records = self.killed_up_to(&state).await?;
        let head = FeedHead {
            issuer: self.settings().issuer.clone(),
            epoch: state.epoch,
            head: state.head,
            time,
            lease_max: lease,
            nonce: question.nonce.clone(),
            follower: name,
            set: Some(digest_of(&records)),
        };
        let answer = SnapshotAnswer {
            head: head.sign(&key),
            records,
        };
        let given_at = self.now();
        Ok(RevocationSnapshot {
            answer,
            engine: self.clone(),
            begun_at: given_at,
            given_at,
            _seat: seat,
        })
    }

    /// What was killed up to this state. It is read in pages: what is added meanwhile lies beyond it.
    async fn killed_up_to(&self, state: &LogState) -> Result<Vec<Mark>> {
        let up_to = state.head.rseq;
        let mut killed: Vec<Mark> = Vec::new();
        loop {
            let after = killed.last().map(|mark| mark.handle);
            let page = self.store().list(revocation::killed(up_to, after, PAGE));
            let page = page.await?;
            let is_last = page.len() < PAGE;
            killed.extend(page);
            if killed.len() > MAX_SNAPSHOT_MARKS {
                return Err(Error::WrongState(format!(
                    "more than {MAX_SNAPSHOT_MARKS} things were killed, which is more than a snapshot holds"
                )));
            }
            if is_last {
                break;
            }
        }
        let now = self.seen_after(up_to).await?;
        if now.is_after(state) {
            return Ok(killed);
        }
        // The database was filled with another tenant meanwhile.
        Err(Error::Busy)
    }
}
