//! The follower under test, and followers that each break one rule: for every one of these the model must find a
//! schedule in which it accepts what it should not.

use kavachos_core::revocation::{
    Fault, Follower, Lease, LiveSet, LogHead, Need, PollAnswer, PollRequest, Progress, Pushed,
    Reading, Record, SnapshotAnswer, SnapshotRequest, digest_of,
};
use kavachos_core::time::Timestamp;

use crate::issuer::{Feed, issuer, name};
use crate::world::Promise;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The lease runs from when the answer came.
    FromReceipt,
    /// An answer to another question will do.
    AnyNonce,
    /// A head that is pushed renews the lease.
    PushedHeads,
    /// A record that is pushed renews the lease.
    PushedRecords,
    /// A signature by anybody will do.
    AnyKey,
    /// What is here is not held against the head.
    AnyHash,
    /// The epoch of the head does not matter.
    AnyEpoch,
    /// The snapshot is not held against its head.
    AnySnapshot,
    /// An issuer that goes back is followed.
    FollowsBack,
    /// What was known is forgotten when the log forks.
    Forgets,
    /// The lease runs by the clock since boot alone.
    NoWall,
    /// The lease runs by the wall clock alone.
    NoBoot,
    /// The issuer's clock is not heeded.
    OwnClock,
}

impl Mutation {
    pub const ALL: [Self; 13] = [
        Self::FromReceipt,
        Self::AnyNonce,
        Self::PushedHeads,
        Self::PushedRecords,
        Self::AnyKey,
        Self::AnyHash,
        Self::AnyEpoch,
        Self::AnySnapshot,
        Self::FollowsBack,
        Self::Forgets,
        Self::NoWall,
        Self::NoBoot,
        Self::OwnClock,
    ];

    /// What it breaks.
    pub fn breaks(self) -> Promise {
        match self {
            Self::OwnClock => Promise::Expiry,
            _ => Promise::Kill,
        }
    }
}

pub enum Question {
    Poll(PollRequest),
    Snapshot(SnapshotRequest),
}

pub struct Subject {
    number: usize,
    lease: Lease,
    runs: usize,
    mutation: Option<Mutation>,
    follower: Follower,
    sent: Option<Reading>,
}

impl Subject {
    pub fn new(number: usize, lease: Lease, mutation: Option<Mutation>) -> Self {
        Self {
            number,
            lease,
            runs: 0,
            mutation,
            follower: follower(number, lease, 0),
            sent: None,
        }
    }

    pub fn restart(&mut self) {
        self.runs += 1;
        self.follower = follower(self.number, self.lease, self.runs);
        self.sent = None;
    }

    pub fn revocations(&self, now: &Reading) -> Option<&LiveSet> {
        self.follower.revocations(&self.seen(now))
    }

    pub fn now(&self, now: &Reading) -> Timestamp {
        if self.is(Mutation::OwnClock) {
            now.wall
        } else {
            self.follower.now(now)
        }
    }

    pub fn need(&self) -> Need {
        self.follower.need()
    }

    pub fn alarm(&self) -> Option<&Fault> {
        self.follower.alarm()
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn seen(&self, now: &Reading) -> Reading {
        match self.mutation {
            Some(Mutation::NoWall) => Reading {
                wall: Timestamp::MIN,
                ..*now
            },
            Some(Mutation::NoBoot) => Reading {
                boot: std::time::Duration::ZERO,
                ..*now
            },
            _ => *now,
        }
    }

    pub fn ask(&mut self, feed: &mut Feed, now: &Reading) -> Question {
        let (nonce, now) = (feed.nonce(), self.seen(now));
        self.sent = Some(now);
        match self.follower.need() {
            Need::Snapshot => Question::Snapshot(self.follower.begin_snapshot(nonce, now)),
            Need::Poll | Need::Nothing => Question::Poll(self.follower.begin(nonce, now)),
        }
    }

    pub fn pushed(&mut self, record: &Record, feed: &Feed, now: &Reading) {
        let pushed = self.follower.pushed(record);
        if self.is(Mutation::PushedRecords) && pushed == Pushed::Applied {
            let asked = self.follower.begin("pushed".parse().unwrap(), *now);
            let mut answer = feed.made_up(self.number, &asked, now.wall);
            answer.head = feed.rewritten(&answer.head, |_| ());
            self.follower.answer(&answer, &feed.keys(), now).ok();
        }
    }

    pub fn heartbeat(&mut self, head: &str, feed: &Feed, now: &Reading) {
        if self.is(Mutation::PushedHeads) && self.follower.need() != Need::Snapshot {
            let answer = PollAnswer {
                head: head.to_owned(),
                records: Vec::new(),
                more: false,
                snapshot_needed: false,
            };
            self.follower.begin(feed.nonce_of(head), *now);
            self.follower.answer(&answer, &feed.keys(), now).ok();
        }
    }

    pub fn answer(&mut self, answer: &PollAnswer, feed: &Feed, now: &Reading) -> Option<Progress> {
        let (mut answer, now) = (answer.clone(), self.seen(now));
        let known = self.follower.head();
        match self.mutation {
            Some(Mutation::FromReceipt) if self.is_asked(&answer.head, feed, &now) => {
                self.follower.begin(feed.nonce_of(&answer.head), now);
            }
            Some(Mutation::AnyNonce) => {
                let sent = self.sent.unwrap_or(now);
                self.follower.begin(feed.nonce_of(&answer.head), sent);
            }
            Some(Mutation::AnyKey) => answer.head = feed.rewritten(&answer.head, |_| ()),
            Some(Mutation::AnyHash) => {
                let reached = renumber(&mut answer, known);
                answer.head = feed.rewritten(&answer.head, |head| head.head = reached);
            }
            Some(Mutation::AnyEpoch) => {
                let epoch = self.follower.epoch();
                answer.head = feed.rewritten(&answer.head, |head| head.epoch = epoch);
            }
            _ => {}
        }
        let answered = self.follower.answer(&answer, &feed.keys(), &now);
        self.took(answered)
    }

    pub fn snapshot(
        &mut self,
        answer: &SnapshotAnswer,
        feed: &Feed,
        now: &Reading,
    ) -> Option<Progress> {
        let (mut answer, now) = (answer.clone(), self.seen(now));
        match self.mutation {
            Some(Mutation::AnyNonce) => {
                let sent = self.sent.unwrap_or(now);
                self.follower
                    .begin_snapshot(feed.nonce_of(&answer.head), sent);
            }
            Some(Mutation::AnySnapshot) => {
                let set = Some(digest_of(&answer.records));
                answer.head = feed.rewritten(&answer.head, |head| head.set = set);
            }
            _ => {}
        }
        let answered = self.follower.snapshot(&answer, &feed.keys(), &now);
        self.took(answered)
    }

    fn took(&mut self, answered: Result<Progress, Fault>) -> Option<Progress> {
        let restarts = match &answered {
            Err(Fault::Forked) => self.is(Mutation::Forgets),
            Err(fault) if fault.is_alarm() => self.is(Mutation::FollowsBack),
            _ => false,
        };
        if restarts {
            self.restart();
        }
        answered.ok()
    }

    /// Whether a head would answer the question that is open.
    fn is_asked(&self, head: &str, feed: &Feed, now: &Reading) -> bool {
        let answer = PollAnswer {
            head: head.to_owned(),
            records: Vec::new(),
            more: false,
            snapshot_needed: false,
        };
        let tried = self.follower.clone().answer(&answer, &feed.keys(), now);
        !matches!(
            tried,
            Err(Fault::Unasked | Fault::WrongHead | Fault::BadHead(_))
        )
    }
}

fn follower(number: usize, lease: Lease, run: usize) -> Follower {
    let instance = format!("run-{run}").parse().unwrap();
    Follower::new(issuer(), name(number), instance, lease)
}

/// Makes records follow what is known, whatever they are, and says where that leads.
fn renumber(answer: &mut PollAnswer, known: LogHead) -> LogHead {
    answer.records.iter_mut().fold(known, |head, record| {
        record.rseq = head.rseq + 1;
        head.append(record.kill)
    })
}
