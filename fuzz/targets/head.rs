//! `FeedHead::open`.
#![no_main]

use kavachos_core::revocation::FeedHead;
use kavachos_fuzz::{ISSUER, KEY, KEYS, token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(text) = token(input, "kvf+jwt") else {
        return;
    };
    if let Ok(head) = FeedHead::open(&text, &ISSUER, &KEYS) {
        let again = head.sign(&KEY);
        assert_eq!(FeedHead::open(&again, &ISSUER, &KEYS), Ok(head));
    }
});
