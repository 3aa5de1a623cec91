//! Each rule of the lease by itself, with the twin in which it is kept. All of them at once: `tests/lease`.

use super::super::{Handle, HandleKind, Mark};
use super::*;
use crate::token::{Algorithm, SigningKey};

const S: u64 = 10;

fn kill(byte: u8) -> Mark {
    Mark {
        handle: Handle {
            kind: HandleKind::Agent,
            bytes: [byte; 16],
        },
        generation: 1,
    }
}

/// Something that the kill of this byte ends.
fn killed(byte: u8) -> Mark {
    Mark {
        generation: 0,
        ..kill(byte)
    }
}

fn at(seconds: u64) -> Reading {
    Reading {
        boot: Duration::from_secs(seconds),
        wall: Timestamp::from_micros(0).plus(Duration::from_secs(1_000_000 + seconds)),
    }
}

/// An issuer, whose log can be tampered with.
#[derive(Clone)]
struct Feed {
    key: SigningKey,
    epoch: u64,
    lease_max: u64,
    log: Vec<Mark>,
}

impl Feed {
    fn new(kills: std::ops::RangeInclusive<u8>) -> Self {
        Self {
            key: SigningKey::from_seed(Algorithm::Ed25519, &[1; 32]).unwrap(),
            epoch: 1,
            lease_max: 60,
            log: kills.map(kill).collect(),
        }
    }

    fn keys(&self) -> KeySet {
        KeySet::new([self.key.public().clone()]).unwrap()
    }

    fn head(&self, nonce: &Nonce) -> FeedHead {
        FeedHead {
            issuer: "https://auth.example.com".parse().unwrap(),
            epoch: self.epoch,
            head: (self.log.iter()).fold(LogHead::EMPTY, |head, kill| head.append(*kill)),
            time: at(0).wall,
            lease_max: Lease::from_seconds(self.lease_max).unwrap(),
            nonce: nonce.clone(),
            follower: "tools".parse().unwrap(),
            set: None,
        }
    }

    fn records(&self, after: u64) -> Vec<Record> {
        let records = (1..).zip(&self.log);
        let records = records.map(|(rseq, kill)| Record { rseq, kill: *kill });
        records.filter(|record| record.rseq > after).collect()
    }

    fn poll(&self, asked: &PollRequest) -> PollAnswer {
        PollAnswer {
            head: self.head(&asked.nonce).sign(&self.key),
            records: self.records(asked.rseq),
            more: false,
            snapshot_needed: false,
        }
    }

    fn snapshot(&self, asked: &SnapshotRequest) -> SnapshotAnswer {
        let head = FeedHead {
            set: Some(digest_of(&self.log)),
            ..self.head(&asked.nonce)
        };
        SnapshotAnswer {
            head: head.sign(&self.key),
            records: self.log.clone(),
        }
    }
}

fn closed() -> Follower {
    let lease = Lease::from_seconds(S).unwrap();
    let issuer = "https://auth.example.com".parse().unwrap();
    Follower::new(
        issuer,
        "tools".parse().unwrap(),
        "i".parse().unwrap(),
        lease,
    )
}

fn nonce(number: u64) -> Nonce {
    number.to_string().parse().unwrap()
}

/// A follower that took the snapshot of a feed at second 0.
fn following(feed: &Feed) -> Follower {
    let mut follower = closed();
    resnap(&mut follower, feed, 0).unwrap();
    follower
}

fn resnap(follower: &mut Follower, feed: &Feed, second: u64) -> Result<Progress, Fault> {
    let asked = follower.begin_snapshot(nonce(second), at(second));
    follower.snapshot(&feed.snapshot(&asked), &feed.keys(), &at(second))
}

fn poll(follower: &mut Follower, feed: &Feed, second: u64) -> Result<Progress, Fault> {
    tampered(follower, feed, second, |_| ())
}

fn tampered(
    follower: &mut Follower,
    feed: &Feed,
    second: u64,
    tamper: impl FnOnce(&mut PollAnswer),
) -> Result<Progress, Fault> {
    let asked = follower.begin(nonce(second), at(second));
    let mut answer = feed.poll(&asked);
    tamper(&mut answer);
    follower.answer(&answer, &feed.keys(), &at(second))
}

/// A poll whose head is another one, well signed.
fn with_head(
    follower: &mut Follower,
    feed: &Feed,
    second: u64,
    change: impl FnOnce(&mut FeedHead),
) -> Result<Progress, Fault> {
    let mut head = feed.head(&nonce(second));
    change(&mut head);
    tampered(follower, feed, second, |answer| {
        answer.head = head.sign(&feed.key);
    })
}

/// The second from which on the lease is over; 0 when it is over already.
fn ends(follower: &Follower) -> u64 {
    let last = (0..100).rfind(|second| follower.is_fresh(&at(*second)));
    last.map_or(0, |second| second + 1)
}

#[test]
fn it_is_closed_until_the_issuer_has_confirmed_what_it_has() {
    let feed = Feed::new(1..=3);
    let mut follower = closed();
    assert_eq!(follower.need(), Need::Snapshot);
    assert_eq!(poll(&mut follower, &feed, 1), Ok(Progress::SnapshotNeeded));
    assert!(follower.revocations(&at(1)).is_none());
    assert_eq!(resnap(&mut follower, &feed, 2), Ok(Progress::Fresh));
    let revocations = follower.revocations(&at(2)).unwrap();
    assert!(revocations.is_dead(&killed(3)) && !revocations.is_dead(&killed(4)));
}

#[test]
fn the_lease_runs_from_when_the_poll_was_sent() {
    let feed = Feed::new(1..=3);
    let mut follower = following(&feed);
    let asked = follower.begin(nonce(5), at(5));
    let answered = follower.answer(&feed.poll(&asked), &feed.keys(), &at(9));
    assert_eq!(answered, Ok(Progress::Fresh));
    assert_eq!(ends(&follower), 5 + S);
    assert_eq!(follower.age(&at(9)), Some(Duration::from_secs(4)));
    let asked = follower.begin(nonce(20), at(20));
    let answered = follower.answer(&feed.poll(&asked), &feed.keys(), &at(20 + S));
    assert_eq!(answered, Ok(Progress::Late));
    assert!(!follower.is_fresh(&at(20 + S)));
}

#[test]
fn the_issuer_may_shorten_the_lease_and_never_lengthen_it() {
    for (lease_max, end) in [(60, S), (4, 4)] {
        let mut feed = Feed::new(1..=3);
        feed.lease_max = lease_max;
        assert_eq!(ends(&following(&feed)), end);
    }
}

#[test]
fn only_the_answer_to_the_last_question_counts_and_once() {
    let feed = Feed::new(1..=3);
    let mut follower = following(&feed);
    let first = follower.begin(nonce(1), at(1));
    let second = follower.begin(nonce(2), at(2));
    let (first, second) = (feed.poll(&first), feed.poll(&second));
    let keys = feed.keys();
    assert_eq!(follower.answer(&first, &keys, &at(3)), Err(Fault::Unasked));
    assert_eq!(ends(&follower), S);
    assert_eq!(follower.answer(&second, &keys, &at(3)), Ok(Progress::Fresh));
    assert_eq!(ends(&follower), 2 + S);
    assert_eq!(follower.answer(&second, &keys, &at(3)), Err(Fault::Unasked));
}

#[test]
fn heads_for_others_of_others_and_of_another_kind_renew_nothing() {
    let feed = Feed::new(1..=3);
    type Change = fn(&mut FeedHead);
    let refused: [(Change, &str); 4] = [
        (
            |head| head.follower = "other".parse().unwrap(),
            "other_follower",
        ),
        (
            |head| head.issuer = "https://b.example.com".parse().unwrap(),
            "bad_head",
        ),
        (|head| head.nonce = nonce(99), "unasked"),
        (|head| head.set = Some([0; 32]), "wrong_head"),
    ];
    for (change, code) in refused {
        let mut follower = following(&feed);
        let fault = with_head(&mut follower, &feed, 5, change).unwrap_err();
        assert_eq!((fault.code(), ends(&follower)), (code, S));
    }
    let mut follower = following(&feed);
    assert_eq!(
        with_head(&mut follower, &feed, 5, |_| ()),
        Ok(Progress::Fresh)
    );
    assert_eq!(ends(&follower), 5 + S);
}

#[test]
fn only_a_feed_key_of_the_issuer_signs_heads() {
    let feed = Feed::new(1..=3);
    let stranger = Feed {
        key: SigningKey::from_seed(Algorithm::Ed25519, &[2; 32]).unwrap(),
        ..feed.clone()
    };
    let mut follower = following(&feed);
    let asked = follower.begin(nonce(5), at(5));
    let answer = stranger.poll(&asked);
    let fault = follower.answer(&answer, &feed.keys(), &at(5));
    assert_eq!(fault.unwrap_err().code(), "bad_head");
    assert_eq!(ends(&follower), S);
    // A forgery does not use the question up. The twin: with the stranger's keys it is no forgery.
    let answered = follower.answer(&answer, &stranger.keys(), &at(5));
    assert_eq!(answered, Ok(Progress::Fresh));
}

#[test]
fn records_that_do_not_lead_to_the_head_renew_nothing() {
    type Tamper = fn(&mut PollAnswer);
    let cases: [(Tamper, &str, u64); 8] = [
        (|answer| answer.records.truncate(2), "missing_records", S),
        (|answer| answer.records.clear(), "missing_records", S),
        (
            |answer| answer.records = answer.records[1..].to_vec(),
            "bad_records",
            S,
        ),
        (|answer| answer.records.swap(0, 1), "bad_records", S),
        (
            |answer| answer.records[1] = answer.records[0],
            "bad_records",
            S,
        ),
        (
            |answer| {
                answer.records.push(Record {
                    rseq: 7,
                    kill: kill(7),
                });
            },
            "bad_records",
            S,
        ),
        (|answer| answer.records[1].kill = kill(66), "forked", 0),
        (|answer| answer.records[1].kill.generation = 0, "forked", 0),
    ];
    let mut later = Feed::new(1..=6);
    for (tamper, code, end) in cases {
        let mut follower = following(&Feed::new(1..=3));
        let fault = tampered(&mut follower, &later, 5, tamper).unwrap_err();
        assert_eq!((fault.code(), ends(&follower)), (code, end));
    }
    let mut follower = following(&Feed::new(1..=3));
    assert_eq!(poll(&mut follower, &later, 5), Ok(Progress::Fresh));
    assert!(follower.revocations(&at(5)).unwrap().is_dead(&killed(6)));
    // What is new must be acknowledged, and is by the next question.
    assert_eq!(follower.need(), Need::Poll);
    assert_eq!(follower.begin(nonce(6), at(6)).applied(), follower.head());
    assert_eq!(follower.need(), Need::Nothing);
    later.log.resize(2_000, kill(9));
    let fault = poll(&mut follower, &later, 7).unwrap_err();
    assert_eq!(fault, Fault::BadRecords, "too many at once");
}

#[test]
fn a_state_that_the_issuer_contradicts_ends_the_lease_and_needs_a_snapshot() {
    let feed = Feed::new(1..=4);
    for forged in [4, 66] {
        let mut follower = following(&Feed::new(1..=3));
        let record = Record {
            rseq: 4,
            kill: kill(forged),
        };
        assert_eq!(follower.pushed(&record), Pushed::Applied);
        let answered = poll(&mut follower, &feed, 5);
        if forged == 4 {
            assert_eq!((answered, ends(&follower)), (Ok(Progress::Fresh), 5 + S));
            continue;
        }
        assert_eq!((answered, ends(&follower)), (Err(Fault::Forked), 0));
        assert_eq!(follower.need(), Need::Snapshot);
        assert_eq!(resnap(&mut follower, &feed, 6), Ok(Progress::Fresh));
        assert!(!follower.revocations(&at(6)).unwrap().is_dead(&killed(66)));
    }
}

#[test]
fn who_is_told_to_start_over_goes_on_meanwhile_only_if_nothing_contradicts_it() {
    let cannot = |answer: &mut PollAnswer| {
        answer.records.clear();
        answer.snapshot_needed = true;
    };
    let feed = Feed::new(1..=4);
    for (forged, answered, end) in [
        (vec![], Ok(Progress::SnapshotNeeded), S),
        (vec![66], Err(Fault::Forked), 0),
        (vec![66, 67], Err(Fault::Forked), 0),
    ] {
        let mut follower = following(&Feed::new(1..=3));
        for (rseq, byte) in (4..).zip(forged) {
            let kill = kill(byte);
            assert_eq!(follower.pushed(&Record { rseq, kill }), Pushed::Applied);
        }
        assert_eq!(tampered(&mut follower, &feed, 5, cannot), answered);
        assert_eq!((ends(&follower), follower.need()), (end, Need::Snapshot));
    }
}

#[test]
fn an_issuer_that_cannot_continue_is_asked_for_a_snapshot() {
    let feed = Feed::new(1..=6);
    let cannot = |answer: &mut PollAnswer| {
        answer.records.clear();
        answer.snapshot_needed = true;
    };
    let mut follower = following(&Feed::new(1..=3));
    let answered = tampered(&mut follower, &feed, 5, cannot);
    assert_eq!(
        (answered, ends(&follower)),
        (Ok(Progress::SnapshotNeeded), S)
    );
    assert_eq!(follower.need(), Need::Snapshot);
    // Who has what the head says needs none, whatever the answer says beside the head.
    let mut follower = following(&feed);
    assert_eq!(
        tampered(&mut follower, &feed, 5, cannot),
        Ok(Progress::Fresh)
    );
}

#[test]
fn a_pushed_record_kills_and_renews_nothing() {
    let mut follower = following(&Feed::new(1..=3));
    let push = |follower: &mut Follower, rseq, byte| {
        follower.pushed(&Record {
            rseq,
            kill: kill(byte),
        })
    };
    follower.begin(nonce(1), at(1));
    assert_eq!(follower.need(), Need::Nothing);
    assert_eq!(push(&mut follower, 3, 3), Pushed::Known);
    assert_eq!(follower.need(), Need::Nothing);
    assert_eq!(push(&mut follower, 5, 5), Pushed::Gap);
    assert_eq!(follower.need(), Need::Poll);
    assert!(!follower.revocations(&at(1)).unwrap().is_dead(&killed(5)));
    assert_eq!(push(&mut follower, 4, 4), Pushed::Applied);
    assert!(follower.revocations(&at(1)).unwrap().is_dead(&killed(4)));
    assert_eq!(ends(&follower), S);
    assert_eq!(push(&mut follower, 4, 66), Pushed::Forked);
    assert_eq!(ends(&follower), 0);
}

#[test]
fn a_head_that_pushed_records_have_overtaken_renews() {
    let mut feed = Feed::new(1..=4);
    let mut follower = following(&Feed::new(1..=3));
    let asked = follower.begin(nonce(5), at(5));
    let answer = feed.poll(&asked);
    feed.log.push(kill(5));
    for record in feed.records(3) {
        assert_eq!(follower.pushed(&record), Pushed::Applied);
    }
    let answered = follower.answer(&answer, &feed.keys(), &at(5));
    assert_eq!((answered, ends(&follower)), (Ok(Progress::Fresh), 5 + S));
    assert!(follower.revocations(&at(5)).unwrap().is_dead(&killed(5)));
    assert_eq!(poll(&mut follower, &feed, 6), Ok(Progress::Fresh));
}

#[test]
fn pages_are_taken_in_and_the_last_one_renews() {
    let feed = Feed::new(1..=9);
    let mut follower = following(&Feed::new(1..=3));
    let first = |answer: &mut PollAnswer| {
        answer.records.truncate(3);
        answer.more = true;
    };
    assert_eq!(
        tampered(&mut follower, &feed, 5, first),
        Ok(Progress::Behind)
    );
    assert_eq!((ends(&follower), follower.need()), (S, Need::Poll));
    assert_eq!(follower.head().rseq, 6);
    assert_eq!(poll(&mut follower, &feed, 6), Ok(Progress::Fresh));
    assert_eq!(ends(&follower), 6 + S);
}

#[test]
fn who_is_too_far_behind_takes_a_snapshot() {
    let mut feed = Feed::new(1..=3);
    let mut follower = following(&feed);
    feed.log.resize(20_000, kill(9));
    let page = |answer: &mut PollAnswer| {
        answer.records.truncate(MAX_RECORDS);
        answer.more = true;
    };
    let mut second = 1;
    while tampered(&mut follower, &feed, second, page) == Ok(Progress::Behind) {
        second += 1;
    }
    assert_eq!((second, follower.need()), (17, Need::Snapshot));
    assert_eq!(resnap(&mut follower, &feed, 20), Ok(Progress::Fresh));
}

#[test]
fn an_issuer_that_goes_back_closes_the_follower_for_good() {
    let now = Feed::new(1..=3);
    let mut rewritten = now.clone();
    rewritten.log[2] = kill(66);
    let mut older = now.clone();
    older.epoch = 0;
    for (back, code) in [
        (Feed::new(1..=2), "log_shortened"),
        (rewritten, "log_rewritten"),
        (older, "epoch_lowered"),
    ] {
        let mut polled = following(&now);
        let mut resnapped = following(&now);
        let faults = [
            poll(&mut polled, &back, 1),
            resnap(&mut resnapped, &back, 1),
        ];
        for (mut follower, fault) in [polled, resnapped].into_iter().zip(faults) {
            let fault = fault.unwrap_err();
            assert!(fault.is_alarm());
            assert_eq!((fault.code(), ends(&follower)), (code, 0));
            assert_eq!(poll(&mut follower, &now, 2), Err(fault.clone()));
            assert_eq!(resnap(&mut follower, &now, 3), Err(fault.clone()));
            follower.pushed(&now.records(0)[2]);
            assert_eq!(
                (follower.alarm(), follower.need()),
                (Some(&fault), Need::Nothing)
            );
        }
    }
    // The twin: the same log, and a longer one, are no alarm.
    let mut follower = following(&now);
    assert_eq!(poll(&mut follower, &now, 1), Ok(Progress::Fresh));
    assert_eq!(
        poll(&mut follower, &Feed::new(1..=4), 2),
        Ok(Progress::Fresh)
    );
}

#[test]
fn an_old_head_that_is_played_back_is_no_alarm() {
    let mut follower = following(&Feed::new(1..=3));
    let asked = follower.begin(nonce(1), at(1));
    let old = Feed::new(1..=3).poll(&asked);
    let later = Feed::new(1..=4);
    assert_eq!(poll(&mut follower, &later, 2), Ok(Progress::Fresh));
    follower.begin(nonce(3), at(3));
    let answered = follower.answer(&old, &later.keys(), &at(3));
    assert_eq!((answered, follower.alarm()), (Err(Fault::Unasked), None));
}

#[test]
fn a_new_epoch_ends_the_lease_and_starts_from_a_snapshot() {
    let mut restored = Feed::new(1..=2);
    restored.epoch = 2;
    let mut follower = following(&Feed::new(1..=3));
    assert_eq!(
        poll(&mut follower, &restored, 1),
        Ok(Progress::SnapshotNeeded)
    );
    assert_eq!((ends(&follower), follower.need()), (0, Need::Snapshot));
    assert_eq!(resnap(&mut follower, &restored, 2), Ok(Progress::Fresh));
    let revocations = follower.revocations(&at(2)).unwrap();
    assert_eq!(
        (revocations.epoch(), revocations.is_dead(&killed(3))),
        (2, false)
    );
    let back = poll(&mut follower, &Feed::new(1..=9), 3);
    assert_eq!(back, Err(Fault::EpochLowered));
}

#[test]
fn a_snapshot_is_taken_only_as_it_was_signed() {
    let feed = Feed::new(1..=4);
    type Tamper = fn(&mut SnapshotAnswer);
    let cases: [(Tamper, bool); 5] = [
        (|_| (), true),
        (|answer| answer.records.reverse(), true),
        (|answer| answer.records.truncate(3), false),
        (|answer| answer.records[0].generation = 0, false),
        (|answer| answer.records.push(kill(66)), false),
    ];
    for (tamper, taken) in cases {
        let mut follower = closed();
        let asked = follower.begin_snapshot(nonce(1), at(1));
        let mut answer = feed.snapshot(&asked);
        tamper(&mut answer);
        let expected = if taken {
            Ok(Progress::Fresh)
        } else {
            Err(Fault::BadSnapshot)
        };
        assert_eq!(follower.snapshot(&answer, &feed.keys(), &at(1)), expected);
        assert_eq!(follower.is_fresh(&at(1)), taken);
    }
}

#[test]
fn a_snapshot_needs_a_head_with_its_digest_and_its_own_question() {
    let feed = Feed::new(1..=4);
    let keys = feed.keys();
    let mut follower = closed();
    let asked = follower.begin_snapshot(nonce(1), at(1));
    let answer = SnapshotAnswer {
        head: feed.head(&asked.nonce).sign(&feed.key),
        records: feed.log.clone(),
    };
    assert_eq!(
        follower.snapshot(&answer, &keys, &at(1)),
        Err(Fault::WrongHead)
    );
    let asked = follower.begin_snapshot(nonce(2), at(2));
    let answer = feed.snapshot(&asked);
    follower.begin(nonce(3), at(3));
    assert_eq!(
        follower.snapshot(&answer, &keys, &at(3)),
        Err(Fault::Unasked)
    );
    assert!(!follower.is_fresh(&at(3)));
    assert_eq!(resnap(&mut follower, &feed, 4), Ok(Progress::Fresh));
}

#[test]
fn a_log_that_was_exchanged_for_a_longer_one_brings_nothing_back() {
    let mut exchanged = Feed::new(1..=2);
    exchanged.log.extend([kill(7), kill(8), kill(9)]);
    let mut follower = following(&Feed::new(1..=3));
    assert_eq!(poll(&mut follower, &exchanged, 1), Err(Fault::Forked));
    assert_eq!(resnap(&mut follower, &exchanged, 2), Ok(Progress::Fresh));
    assert!(follower.revocations(&at(2)).unwrap().is_dead(&killed(3)));
    // The twin: who knew nothing of it has it from nowhere.
    let stranger = following(&exchanged);
    assert!(!stranger.revocations(&at(2)).unwrap().is_dead(&killed(3)));
}

#[test]
fn the_time_is_never_behind_the_issuers() {
    let feed = Feed::new(1..=3);
    let follower = following(&feed);
    let set_back = |seconds| Reading {
        wall: Timestamp::from_micros(5),
        ..at(seconds)
    };
    assert_eq!(follower.now(&set_back(7)), at(7).wall);
    // The twin: who has heard of no issuer has only its own clock.
    assert_eq!(closed().now(&set_back(7)), set_back(7).wall);
    let ahead = Reading {
        wall: at(500).wall,
        ..at(7)
    };
    assert_eq!(follower.now(&ahead), at(500).wall);
}

#[test]
fn a_clock_that_is_ahead_of_the_issuers_is_noticed() {
    let feed = Feed::new(1..=3);
    for seconds in [0, 1, 600] {
        let mut follower = following(&feed);
        // The issuer says that it is the time of 0.
        let [asked, later] = [2, 5].map(|boot| Reading {
            wall: at(seconds + boot - 2).wall,
            ..at(boot)
        });
        let question = follower.begin(nonce(2), asked);
        let answered = follower.answer(&feed.poll(&question), &feed.keys(), &asked);
        assert_eq!(answered, Ok(Progress::Fresh));
        for reading in [asked, later] {
            assert_eq!(follower.ahead(&reading), Duration::from_secs(seconds));
        }
    }
    // The twins: one that is behind is not, and who has heard of no issuer cannot tell.
    let set_back = Reading {
        wall: Timestamp::from_micros(5),
        ..at(7)
    };
    assert_eq!(following(&feed).ahead(&set_back), Duration::ZERO);
    assert_eq!(closed().ahead(&at(600)), Duration::ZERO);
}

/// Each with its twin: no epoch is required, and the same answer counts.
#[test]
fn a_head_of_another_epoch_than_the_required_one_renews_nothing_and_raises_no_alarm() {
    for other in [1, 3] {
        let mut feed = Feed::new(1..=1);
        feed.epoch = other;
        let mut free = closed();
        assert_eq!(resnap(&mut free, &feed, 0), Ok(Progress::Fresh));
        let mut bound = closed();
        bound.require_epoch(2);
        assert_eq!(resnap(&mut bound, &feed, 0), Err(Fault::OtherEpoch));
        assert!(!bound.is_fresh(&at(0)));
        // It is no alarm: the right one counts after it.
        feed.epoch = 2;
        assert_eq!(resnap(&mut bound, &feed, 1), Ok(Progress::Fresh));
    }
}

#[test]
fn a_lease_of_another_epoch_ends_when_one_is_required() {
    let feed = Feed::new(1..=1);
    for (required, stays) in [(1, true), (2, false)] {
        let mut follower = following(&feed);
        assert!(follower.is_fresh(&at(0)));
        follower.require_epoch(required);
        assert_eq!(follower.is_fresh(&at(0)), stays);
        assert_eq!(follower.need() == Need::Snapshot, !stays);
    }
}

/// What raised it may have been signed by the thief of a key; a newer epoch is said by the root alone.
#[test]
fn an_alarm_ends_with_a_newer_epoch_that_is_required_and_with_no_other() {
    let known = Feed::new(1..=3);
    for (required, opens) in [(known.epoch + 1, true), (known.epoch, false)] {
        let mut follower = following(&known);
        poll(&mut follower, &Feed::new(1..=2), 1).unwrap_err();
        assert!(follower.alarm().is_some());
        follower.require_epoch(required);
        let mut next = Feed::new(1..=1);
        next.epoch = required;
        assert_eq!(resnap(&mut follower, &next, 2).is_ok(), opens);
        assert_eq!(follower.alarm().is_none(), opens);
    }
}
