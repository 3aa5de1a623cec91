//! `Leaf::open`.
#![no_main]

use kavachos_core::token::Leaf;
use kavachos_fuzz::{ISSUER, KEY, KEYS, token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(token) = token(input, "at+jwt") else {
        return;
    };
    if let Ok(leaf) = Leaf::open(&token, &ISSUER, &KEYS) {
        let again = leaf.sign(&KEY).expect("what is accepted can be signed");
        assert_eq!(Leaf::open(&again, &ISSUER, &KEYS), Ok(leaf));
    }
});
