//! An issuer: its log of kills, what it signs, its backups.

use std::collections::HashMap;
use std::rc::Rc;

use kavachos_core::revocation::{
    FeedHead, FollowerName, Handle, HandleKind, Lease, LiveSet, LogHead, Mark, Nonce, PollAnswer,
    PollRequest, Record, SnapshotAnswer, SnapshotRequest, digest_of,
};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, Issuer, KeySet, SigningKey};

/// The longest lease that it gives, in seconds.
pub const LEASE_MAX: u64 = 10;
/// How many records it answers with at once: few, so that there are several pages.
const PAGE: usize = 4;
/// How many things there are to kill.
const HANDLES: u8 = 6;
/// When the model begins, in milliseconds since 1970: 2026-11-21T10:00:00Z.
pub const BEGIN: u64 = 1_795_255_200_000;

/// A kill that was acknowledged.
pub struct Kill {
    /// The generation that it ended, and the epoch in which that was made out.
    pub ended: Mark,
    pub epoch: u64,
    /// When it was acknowledged.
    pub at: u64,
    /// Whether an old backup without it was restored in the same epoch, which only whoever knew of it can tell.
    pub lost: bool,
}

pub struct Feed {
    key: SigningKey,
    stranger: SigningKey,
    epoch: u64,
    /// The log, each record with the number of its kill.
    log: Vec<(Mark, usize)>,
    backup: Vec<(Mark, usize)>,
    pub kills: Vec<Kill>,
    /// Which kills a signed head goes over.
    covered: HashMap<String, Rc<[usize]>>,
    nonces: u64,
    /// Whether an old backup was ever restored in the same epoch.
    pub went_back: bool,
}

pub fn issuer() -> Issuer {
    "https://auth.example.com".parse().unwrap()
}

pub fn name(follower: usize) -> FollowerName {
    format!("tools-{follower}").parse().unwrap()
}

pub fn time(millis: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(millis * 1_000).unwrap())
}

impl Feed {
    pub fn new() -> Self {
        let key = |byte| SigningKey::from_seed(Algorithm::Ed25519, &[byte; 32]).unwrap();
        Self {
            key: key(1),
            stranger: key(2),
            epoch: 1,
            log: Vec::new(),
            backup: Vec::new(),
            kills: Vec::new(),
            covered: HashMap::new(),
            nonces: 0,
            went_back: false,
        }
    }

    pub fn keys(&self) -> KeySet {
        KeySet::new([self.key.public().clone()]).unwrap()
    }

    /// A nonce that was never used before.
    pub fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        format!("nonce-{}", self.nonces).parse().unwrap()
    }

    pub fn kill(&mut self, which: u8, now: u64) -> Record {
        let handle = Handle {
            kind: HandleKind::ALL[usize::from(which % HANDLES)],
            bytes: [which % HANDLES; 16],
        };
        let generation = self.set().generation(&handle);
        let mark = |generation| Mark { handle, generation };
        self.log.push((mark(generation + 1), self.kills.len()));
        self.kills.push(Kill {
            ended: mark(generation),
            epoch: self.epoch,
            at: now,
            lost: false,
        });
        self.records(self.log.len() - 1)[0]
    }

    pub fn back_up(&mut self) {
        self.backup.clone_from(&self.log);
    }

    /// Restores the last backup, as it should be done, in a new epoch.
    pub fn restore(&mut self) {
        self.log.clone_from(&self.backup);
        self.epoch += 1;
    }

    /// Restores the last backup and says nothing.
    pub fn go_back(&mut self) {
        self.log.clone_from(&self.backup);
        self.went_back = true;
        for (number, kill) in self.kills.iter_mut().enumerate() {
            let is_kept = self.log.iter().any(|(_, kept)| *kept == number);
            kill.lost |= kill.epoch == self.epoch && !is_kept;
        }
    }

    fn set(&self) -> LiveSet {
        LiveSet::from_snapshot(
            self.epoch,
            self.head(),
            self.log.iter().map(|(mark, _)| *mark),
        )
    }

    fn head(&self) -> LogHead {
        self.head_at(self.log.len())
    }

    fn head_at(&self, length: usize) -> LogHead {
        (self.log[..length].iter()).fold(LogHead::EMPTY, |head, (mark, _)| head.append(*mark))
    }

    fn records(&self, after: usize) -> Vec<Record> {
        let records = (1..).zip(&self.log).skip(after);
        records
            .map(|(rseq, (kill, _))| Record { rseq, kill: *kill })
            .collect()
    }

    fn sign(&mut self, nonce: &Nonce, follower: usize, set: Option<[u8; 32]>, now: u64) -> String {
        let head = FeedHead {
            issuer: issuer(),
            epoch: self.epoch,
            head: self.head(),
            time: time(now),
            lease_max: Lease::from_seconds(LEASE_MAX).unwrap(),
            nonce: nonce.clone(),
            follower: name(follower),
            set,
        };
        let text = head.sign(&self.key);
        let kills = self.log.iter().map(|(_, number)| *number).collect();
        self.covered.insert(text.clone(), kills);
        text
    }

    /// The kills that a head goes over, as it was signed here.
    pub fn covered(&self, head: &str) -> &[usize] {
        self.covered.get(head).map_or(&[], |kills| kills)
    }

    /// A head that nobody asked for.
    pub fn heartbeat(&mut self, follower: usize, now: u64) -> String {
        let nonce = self.nonce();
        self.sign(&nonce, follower, None, now)
    }

    pub fn poll(&mut self, follower: usize, asked: &PollRequest, now: u64) -> PollAnswer {
        let after = usize::try_from(asked.rseq).ok();
        let after = after.filter(|after| {
            asked.epoch == self.epoch
                && *after <= self.log.len()
                && self.head_at(*after) == asked.applied()
        });
        let mut records = after.map_or_else(Vec::new, |after| self.records(after));
        let more = records.len() > PAGE;
        records.truncate(PAGE);
        PollAnswer {
            head: self.sign(&asked.nonce, follower, None, now),
            records,
            more,
            snapshot_needed: after.is_none(),
        }
    }

    pub fn snapshot(
        &mut self,
        follower: usize,
        asked: &SnapshotRequest,
        now: u64,
    ) -> SnapshotAnswer {
        let mut records: Vec<Mark> = self.set().marks().collect();
        records.sort_unstable();
        let set = Some(digest_of(&records));
        SnapshotAnswer {
            head: self.sign(&asked.nonce, follower, set, now),
            records,
        }
    }

    /// What somebody in between makes up: that there is nothing new. Signed with a key of their own.
    pub fn made_up(&self, follower: usize, asked: &PollRequest, now: Timestamp) -> PollAnswer {
        let head = FeedHead {
            issuer: issuer(),
            epoch: asked.epoch,
            head: asked.applied(),
            time: now,
            lease_max: Lease::LONGEST,
            nonce: asked.nonce.clone(),
            follower: name(follower),
            set: None,
        };
        PollAnswer {
            head: head.sign(&self.stranger),
            records: Vec::new(),
            more: false,
            snapshot_needed: false,
        }
    }

    /// For mutations: what a head says whoever signed it, said otherwise and signed well.
    pub fn rewritten(&self, head: &str, rewrite: impl FnOnce(&mut FeedHead)) -> String {
        let keys = [&self.key, &self.stranger].map(|key| key.public().clone());
        let mut read = FeedHead::open(head, &issuer(), &KeySet::new(keys).unwrap()).unwrap();
        rewrite(&mut read);
        read.sign(&self.key)
    }

    /// For mutations: what a head says.
    pub fn nonce_of(&self, head: &str) -> Nonce {
        let mut nonce = None;
        self.rewritten(head, |head| nonce = Some(head.nonce.clone()));
        nonce.unwrap()
    }
}
