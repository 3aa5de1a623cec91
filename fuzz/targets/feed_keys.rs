//! `FeedKeys::open`, and `FeedKeysRequest::parse` of what follows an `r`.
#![no_main]

use kavachos_core::token::{FeedKeys, FeedKeysRequest, FeedRoot};
use kavachos_fuzz::{ISSUER, KEY, token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(text) = input.strip_prefix(b"r") {
        if let Ok(asked) = FeedKeysRequest::parse(text) {
            let again = serde_json::to_vec(&asked).expect("a request has a form");
            assert_eq!(FeedKeysRequest::parse(&again), Ok(asked));
        }
        return;
    }
    let Some(text) = token(input, "kvk+jwt") else {
        return;
    };
    let root = FeedRoot::try_from(KEY.public().clone()).expect("a root is of Ed25519");
    let roots = [root];
    if let Ok(read) = FeedKeys::open(&text, &ISSUER, &roots) {
        let again = read
            .request
            .sign(&KEY, read.issued_at)
            .expect("no root is a key");
        assert_eq!(FeedKeys::open(&again, &ISSUER, &roots), Ok(read));
    }
});
