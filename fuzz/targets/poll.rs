//! `PollAnswer`, and what a follower makes of it.
#![no_main]

use kavachos_core::json::Object;
use kavachos_core::revocation::{FeedHead, LogHead, PollAnswer, Progress};
use kavachos_fuzz::{ISSUER, KEYS, NOW, follower_of_nothing, head, nonce};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(Object(mut answer)) = serde_json::from_slice::<Object<PollAnswer>>(input) else {
        return;
    };
    answer.head = head(&answer.head);
    let mut follower = follower_of_nothing();
    let before = follower.left(&NOW);
    follower.begin(nonce(), NOW);
    let progress = follower.answer(&answer, &KEYS, &NOW);
    if progress == Ok(Progress::Fresh) {
        let signed = FeedHead::open(&answer.head, &ISSUER, &KEYS).expect("a head that was taken");
        let set = follower.revocations(&NOW).expect("a lease that runs");
        assert_eq!((set.epoch(), set.head()), (signed.epoch, signed.head));
        let records = answer.records.iter();
        let log = records.fold(LogHead::EMPTY, |log, record| log.append(record.kill));
        assert!(signed.head == LogHead::EMPTY || signed.head == log);
    } else {
        assert!(follower.left(&NOW) <= before);
    }
});
