//! `Record`, as it is pushed, and what a follower makes of it.
#![no_main]

use kavachos_core::revocation::Record;
use kavachos_fuzz::{NOW, follower_of_nothing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut follower = follower_of_nothing();
    for line in input.split(|byte| *byte == b'\n') {
        let Ok(record) = serde_json::from_slice::<Record>(line) else {
            return;
        };
        let before = follower.left(&NOW);
        follower.pushed(&record);
        // What nobody signs for gives no lease.
        assert!(follower.left(&NOW) <= before);
    }
});
