//! `KeySet::from_jwks`.
#![no_main]

use kavachos_core::token::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(set) = KeySet::from_jwks(input) {
        let written = set.to_jwks().to_string();
        assert_eq!(KeySet::from_jwks(written.as_bytes()), Ok(set));
    }
});
