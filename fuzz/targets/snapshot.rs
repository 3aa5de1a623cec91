//! `SnapshotAnswer`, and what a follower makes of it.
#![no_main]

use kavachos_core::json::Object;
use kavachos_core::revocation::{FeedHead, SnapshotAnswer, digest_of};
use kavachos_fuzz::{ISSUER, KEYS, NOW, follower, head, nonce};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(Object(mut answer)) = serde_json::from_slice::<Object<SnapshotAnswer>>(input) else {
        return;
    };
    answer.head = head(&answer.head);
    let mut follower = follower();
    follower.begin_snapshot(nonce(), NOW);
    if follower.snapshot(&answer, &KEYS, &NOW).is_err() {
        assert!(follower.revocations(&NOW).is_none());
        return;
    }
    let signed = FeedHead::open(&answer.head, &ISSUER, &KEYS).expect("a head that was taken");
    assert_eq!(signed.set, Some(digest_of(&answer.records)));
    let set = follower.revocations(&NOW).expect("a lease that runs");
    assert_eq!((set.epoch(), set.head()), (signed.epoch, signed.head));
    for mark in &answer.records {
        assert!(set.generation(&mark.handle) >= mark.generation);
    }
});
