//! Whoever accepts tokens by a copy of the revocation log, as a state machine: it is told what was asked, what came and
//! what the clocks say, and says whether anything may be accepted.
//!
//! Promises, for a follower with lease S and an issuer that acknowledges a kill at T: this follower accepts nothing that
//! the kill ended after T + S, if one of the two clocks of its machine is right, whatever the network does with what is
//! sent. It starts closed, closes by itself, and opens only by an answer to its own question, signed by the issuer, over
//! exactly the state that it has.
//!
//! It does not know how to send anything. Its driver polls every third of the lease and whenever [`Follower::need`]
//! says so, waits for one answer at a time, and hands in what is pushed.
//!
//! ```
//! use kavachos_core::revocation::{Follower, Instance, Lease, Reading};
//! use kavachos_core::time::Timestamp;
//!
//! let lease = Lease::from_seconds(10)?;
//! let issuer = "https://auth.example.com".parse()?;
//! let name = "https://tools.example.com/mcp".parse()?;
//! let mut follower = Follower::new(issuer, name, "4f9c".parse()?, lease);
//!
//! let now = Reading {
//!     boot: std::time::Duration::from_secs(4_000),
//!     wall: "2026-11-21T10:00:00Z".parse()?,
//! };
//! assert!(follower.revocations(&now).is_none(), "closed until the issuer has answered");
//! let question = follower.begin_snapshot("Jx3bZ0sQkq2uT7aA".parse()?, now);
//! // Send `question`; hand the answer to `follower.snapshot`.
//! # Ok::<(), kavachos_core::invalid::Invalid>(())
//! ```

use std::cmp::Ordering;
use std::time::Duration;

use super::LogHead;
use super::fault::Fault;
use super::followed::{Followed, Pushed};
use super::head::FeedHead;
use super::lease::{Lease, Reading, Running};
use super::live::{LiveSet, digest_of};
use super::wire::{
    FollowerName, Instance, MAX_RECORDS, MAX_SNAPSHOT_MARKS, Nonce, PollAnswer, PollRequest,
    Record, SnapshotAnswer, SnapshotRequest,
};
use crate::time::Timestamp;
use crate::token::{Issuer, KeySet};

/// What an answer led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The state is the issuer's, and the lease runs.
    Fresh,
    /// The state is the issuer's, but the answer took longer than the lease: nothing may be accepted.
    Late,
    /// There are more records to come: poll again at once. The lease runs as it did.
    Behind,
    /// Only a snapshot helps.
    SnapshotNeeded,
}

/// What a follower wants to be asked for next, before its next regular poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// A poll, at once: something came that must be confirmed or acknowledged, or is missing.
    Poll,
    /// A snapshot.
    Snapshot,
}

/// A copy of an issuer's revocation log, and for how long it may be relied on.
#[derive(Debug, Clone)]
pub struct Follower {
    issuer: Issuer,
    name: FollowerName,
    instance: Instance,
    lease: Lease,
    followed: Followed,
    /// The newest that the issuer ever signed for to us, whether it was followed or not.
    witnessed: (u64, LogHead),
    asked: Option<Asked>,
    running: Option<Running>,
    /// What the issuer's clock said in answer to the poll of that reading.
    issuer_clock: Option<(Timestamp, Reading)>,
    need: Need,
    alarm: Option<Fault>,
    /// The only epoch whose heads count, if one is said.
    required: Option<u64>,
}

/// The question whose answer is waited for.
#[derive(Debug, Clone)]
struct Asked {
    nonce: Nonce,
    sent: Reading,
    question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// What comes after this head?
    Poll(LogHead),
    Snapshot,
}

impl Follower {
    /// A follower that knows nothing yet, and accepts nothing.
    ///
    /// `name` is what the issuer calls it, `instance` is made up for this run of the process.
    pub fn new(issuer: Issuer, name: FollowerName, instance: Instance, lease: Lease) -> Self {
        Self {
            issuer,
            name,
            instance,
            lease,
            followed: Followed::default(),
            witnessed: (0, LogHead::EMPTY),
            asked: None,
            running: None,
            issuer_clock: None,
            need: Need::Snapshot,
            alarm: None,
            required: None,
        }
    }

    /// Takes heads of this epoch from now on, and of no other: whoever says which keys sign heads says in which epoch. A
    /// lease that an earlier one gave ends at once, and so does an alarm of before it: what raised that may have been signed
    /// by the thief of a key that is replaced.
    pub fn require_epoch(&mut self, epoch: u64) {
        self.required = Some(epoch);
        if epoch > self.witnessed.0 {
            self.alarm = None;
            self.asked = None;
            self.need = Need::Snapshot;
        }
        if self.epoch() != epoch {
            self.running = None;
            self.need = Need::Snapshot;
        }
    }

    /// What was killed, if that is known well enough to accept anything by it.
    pub fn revocations(&self, now: &Reading) -> Option<&LiveSet> {
        self.is_fresh(now).then(|| self.followed.set())
    }

    /// Whether the lease runs.
    pub fn is_fresh(&self, now: &Reading) -> bool {
        !self.left(now).is_zero()
    }

    /// What is left of the lease.
    pub fn left(&self, now: &Reading) -> Duration {
        (self.running.as_ref()).map_or(Duration::ZERO, |running| running.left(now))
    }

    /// How long ago the question was sent whose answer last confirmed the state; `None` if none is known.
    pub fn age(&self, now: &Reading) -> Option<Duration> {
        now.since(&self.running.as_ref()?.sent)
    }

    /// The time: the later of the wall clock, and of the issuer's clock in its last answer and what has passed since
    /// the question. It may be ahead by the time that the answer took, and is never behind the issuer's while the lease
    /// runs: a clock that was set back does not bring back what has expired.
    pub fn now(&self, reading: &Reading) -> Timestamp {
        let issuers = self.issuers_time(reading);
        issuers.map_or(reading.wall, |time| time.max(reading.wall))
    }

    /// How far the wall clock is ahead of the issuer's, or a little more than that. Zero where it is not, and before the
    /// first answer. What is ahead takes tokens for over that are not.
    pub fn ahead(&self, reading: &Reading) -> Duration {
        let issuers = self.issuers_time(reading);
        issuers.map_or(Duration::ZERO, |time| reading.wall.since(time))
    }

    fn issuers_time(&self, reading: &Reading) -> Option<Timestamp> {
        let (time, sent) = self.issuer_clock?;
        Some(time.plus(reading.since(&sent)?))
    }

    /// The epoch of what is followed; 0 before the first snapshot.
    pub fn epoch(&self) -> u64 {
        self.followed.set().epoch()
    }

    /// The head of what is followed, with records that are not signed for yet.
    pub fn head(&self) -> LogHead {
        self.followed.head()
    }

    /// What to ask for now; regular polls go on besides.
    pub fn need(&self) -> Need {
        if self.alarm.is_some() {
            return Need::Nothing;
        }
        self.need
    }

    /// Why the follower is closed for good, if it is.
    pub fn alarm(&self) -> Option<&Fault> {
        self.alarm.as_ref()
    }

    /// The question for what is new, which must be sent after `now`. The answer to an earlier question does not count
    /// any more.
    pub fn begin(&mut self, nonce: Nonce, now: Reading) -> PollRequest {
        let applied = self.head();
        if self.need == Need::Poll {
            self.need = Need::Nothing;
        }
        self.ask(nonce.clone(), now, Question::Poll(applied));
        PollRequest {
            nonce,
            instance: self.instance.clone(),
            epoch: self.epoch(),
            rseq: applied.rseq,
            rhash: applied.rhash,
        }
    }

    /// The question for everything, which must be sent after `now`. The answer to an earlier question does not count
    /// any more.
    pub fn begin_snapshot(&mut self, nonce: Nonce, now: Reading) -> SnapshotRequest {
        self.ask(nonce.clone(), now, Question::Snapshot);
        SnapshotRequest {
            nonce,
            instance: self.instance.clone(),
        }
    }

    fn ask(&mut self, nonce: Nonce, sent: Reading, question: Question) {
        self.asked = Some(Asked {
            nonce,
            sent,
            question,
        });
    }

    /// Takes the answer to the last poll.
    ///
    /// # Errors
    /// Any [`Fault`]; the lease is no longer than before, and ended after [`Fault::Forked`] and every alarm.
    pub fn answer(
        &mut self,
        answer: &PollAnswer,
        feed_keys: &KeySet,
        now: &Reading,
    ) -> Result<Progress, Fault> {
        let (asked, head) = self.open(&answer.head, feed_keys)?;
        let Question::Poll(from) = asked.question else {
            return Err(Fault::WrongHead);
        };
        self.witness(&head, &asked)?;
        if head.epoch != self.epoch() {
            self.need = Need::Snapshot;
            return Ok(Progress::SnapshotNeeded);
        }
        if !self.followed.contains(&head.head) {
            let progress = self.follow(from, answer, &head)?;
            if progress != Progress::Fresh {
                return Ok(progress);
            }
        }
        self.followed.confirm(&head.head);
        if self.head() != from {
            // The issuer is not told yet that the new ones are known here.
            self.need = Need::Poll;
        } else if self.need == Need::Snapshot {
            self.need = Need::Nothing;
        }
        Ok(self.renew(&head, &asked, now))
    }

    /// Takes the answer to the last question for a snapshot.
    ///
    /// # Errors
    /// Any [`Fault`]; the lease is no longer than before, and ended after every alarm.
    pub fn snapshot(
        &mut self,
        answer: &SnapshotAnswer,
        feed_keys: &KeySet,
        now: &Reading,
    ) -> Result<Progress, Fault> {
        let (asked, head) = self.open(&answer.head, feed_keys)?;
        self.witness(&head, &asked)?;
        let marks = answer.records.as_slice();
        if marks.len() > MAX_SNAPSHOT_MARKS || head.set != Some(digest_of(marks)) {
            return Err(Fault::BadSnapshot);
        }
        self.followed.replace(head.epoch, head.head, marks);
        // To acknowledge it, and for what was pushed meanwhile.
        self.need = Need::Poll;
        Ok(self.renew(&head, &asked, now))
    }

    /// Takes a record that was pushed. It is not signed: it can only kill, and never renews the lease.
    pub fn pushed(&mut self, record: &Record) -> Pushed {
        let pushed = self.followed.push(record);
        if pushed == Pushed::Forked {
            self.running = None;
        }
        if pushed != Pushed::Known && self.need == Need::Nothing {
            self.need = Need::Poll;
        }
        pushed
    }

    /// Reads a head, and takes the question away that it answers.
    fn open(&mut self, head: &str, feed_keys: &KeySet) -> Result<(Asked, FeedHead), Fault> {
        if let Some(alarm) = &self.alarm {
            return Err(alarm.clone());
        }
        let head = FeedHead::open(head, &self.issuer, feed_keys).map_err(Fault::BadHead)?;
        if head.follower != self.name {
            return Err(Fault::OtherFollower);
        }
        if self.required.is_some_and(|required| required != head.epoch) {
            return Err(Fault::OtherEpoch);
        }
        let is_answered = |asked: &mut Asked| asked.nonce == head.nonce;
        let asked = self.asked.take_if(is_answered).ok_or(Fault::Unasked)?;
        if head.set.is_some() != (asked.question == Question::Snapshot) {
            return Err(Fault::WrongHead);
        }
        Ok((asked, head))
    }

    /// Holds what the issuer signs for against all that it has signed for before. Questions are asked one after the
    /// other, so a head that answers the last one was read after every head that was taken before.
    fn witness(&mut self, head: &FeedHead, asked: &Asked) -> Result<(), Fault> {
        let (epoch, known) = self.witnessed;
        let length = head.head.rseq.cmp(&known.rseq);
        let alarm = match (head.epoch.cmp(&epoch), length) {
            (Ordering::Less, _) => Some(Fault::EpochLowered),
            (Ordering::Equal, Ordering::Less) => Some(Fault::LogShortened),
            (Ordering::Equal, Ordering::Equal) if head.head != known => Some(Fault::LogRewritten),
            _ => None,
        };
        if let Some(alarm) = alarm {
            self.running = None;
            self.alarm = Some(alarm.clone());
            return Err(alarm);
        }
        if head.epoch != self.epoch() {
            self.running = None;
        }
        self.witnessed = (head.epoch, head.head);
        self.issuer_clock = Some((head.time, asked.sent));
        Ok(())
    }

    /// Takes the records of an answer in, from the head that was asked from. `Fresh` if they lead to the signed head.
    fn follow(
        &mut self,
        from: LogHead,
        answer: &PollAnswer,
        head: &FeedHead,
    ) -> Result<Progress, Fault> {
        let to = chain(from, &answer.records);
        if to.as_ref() == Ok(&head.head) && self.followed.take_signed(&from, &answer.records) {
            return Ok(Progress::Fresh);
        }
        // What is here reaches as far as the head and is something else.
        if self.head().rseq >= head.head.rseq {
            return Err(self.forked());
        }
        if answer.snapshot_needed {
            self.need = Need::Snapshot;
            return Ok(Progress::SnapshotNeeded);
        }
        match to?.rseq.cmp(&head.head.rseq) {
            Ordering::Equal => Err(self.forked()),
            Ordering::Greater => Err(Fault::BadRecords),
            Ordering::Less if answer.more && !answer.records.is_empty() => {
                self.take_page(&answer.records)
            }
            Ordering::Less => Err(Fault::MissingRecords),
        }
    }

    /// Takes records in that no head goes over yet.
    fn take_page(&mut self, records: &[Record]) -> Result<Progress, Fault> {
        for record in records {
            match self.followed.push(record) {
                Pushed::Applied | Pushed::Known => {}
                Pushed::Forked => return Err(self.forked()),
                Pushed::Gap => {
                    self.need = Need::Snapshot;
                    return Ok(Progress::SnapshotNeeded);
                }
            }
        }
        self.need = Need::Poll;
        Ok(Progress::Behind)
    }

    fn forked(&mut self) -> Fault {
        self.running = None;
        self.need = Need::Snapshot;
        Fault::Forked
    }

    /// The state is the issuer's: the lease runs from when that was asked.
    fn renew(&mut self, head: &FeedHead, asked: &Asked, now: &Reading) -> Progress {
        self.running = Some(Running {
            sent: asked.sent,
            lease: self.lease.min(head.lease_max),
        });
        if self.is_fresh(now) {
            Progress::Fresh
        } else {
            Progress::Late
        }
    }
}

/// Where records lead that follow a head one by one.
fn chain(from: LogHead, records: &[Record]) -> Result<LogHead, Fault> {
    if records.len() > MAX_RECORDS {
        return Err(Fault::BadRecords);
    }
    records.iter().try_fold(from, |head, record| {
        let next = head.append(record.kill);
        (next.rseq == record.rseq)
            .then_some(next)
            .ok_or(Fault::BadRecords)
    })
}

#[cfg(test)]
mod tests;
