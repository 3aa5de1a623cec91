//! `Root::open`.
#![no_main]

use kavachos_core::token::Root;
use kavachos_fuzz::{ISSUER, KEY, KEYS, token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(token) = token(input, "kvr+jwt") else {
        return;
    };
    if let Ok(root) = Root::open(&token, &ISSUER, &KEYS) {
        let again = root.sign(&KEY).expect("what is accepted can be signed");
        assert_eq!(Root::open(&again, &ISSUER, &KEYS), Ok(root));
    }
});
