//! `Proof::open`.
#![no_main]

use kavachos_core::time::Timestamp;
use kavachos_core::token::{Proof, ProofRequest};
use kavachos_fuzz::token;
use libfuzzer_sys::fuzz_target;

/// The time of the vectors.
const NOW: Timestamp = Timestamp::from_micros(1_795_255_200_000_000);

fuzz_target!(|input: &[u8]| {
    let Some(text) = token(input, "dpop+jwt") else {
        return;
    };
    let request = ProofRequest {
        method: "POST",
        uri: "https://tools.example.com/mcp",
        ..ProofRequest::default()
    };
    if Proof::open(&text, &request, NOW).is_ok() {
        let other = ProofRequest {
            method: "GET",
            ..request
        };
        assert!(Proof::open(&text, &other, NOW).is_err());
    }
});
