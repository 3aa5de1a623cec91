//! `Assertion::check`: what a server behind a proxy reads of a header.
#![no_main]

use std::sync::LazyLock;

use kavachos_core::token::{AssertedCall, Assertion};
use kavachos_core::tool_server::Audience;
use kavachos_fuzz::{ISSUER, KEY, KEYS, NOW, token};
use libfuzzer_sys::fuzz_target;

static AUDIENCE: LazyLock<Audience> =
    LazyLock::new(|| "https://tools.example.com".parse().expect("an audience"));

/// The call that arrived.
static CALL: LazyLock<AssertedCall> = LazyLock::new(|| AssertedCall {
    method: "GET".to_owned(),
    host: "tools.example.com".to_owned(),
    uri: "/a?b=c".to_owned(),
});

fuzz_target!(|input: &[u8]| {
    let Some(text) = token(input, "kvp+jwt") else {
        return;
    };
    let check = |text: &str, call| {
        let now = NOW.wall;
        Assertion::check(text, (&ISSUER, &AUDIENCE), &KEYS, call, now)
    };
    if let Ok(assertion) = check(&text, &CALL) {
        let other = AssertedCall {
            method: "POST".to_owned(),
            ..CALL.clone()
        };
        assert!(check(&text, &other).is_err());
        let again = assertion
            .sign(&KEY)
            .expect("what is accepted can be signed");
        assert_eq!(check(&again, &CALL), Ok(assertion));
    }
});
