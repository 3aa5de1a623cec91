//! What stands in a request to an OAuth endpoint: its parameters, a client's header, what a proof of possession of a code is.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::client::Challenge;
use kavachos_oauth::MAX_PARAMETERS;
use kavachos_oauth::fuzzing::{basic, parameters};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

/// What may stand more than once.
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// What is accepted reads as browsers read it, says nothing twice, and is written and read the same.
fn check_parameters(body: &[u8]) {
    let Some(written) = parameters(body) else {
        return;
    };
    let pairs = |text: &[u8]| -> Vec<(String, String)> {
        let pairs = form_urlencoded::parse(text).into_owned();
        pairs.filter(|(_, value)| !value.is_empty()).collect()
    };
    let read = pairs(written.as_bytes());
    assert_eq!(read, pairs(body));
    assert!(read.len() <= MAX_PARAMETERS);
    let mut names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| !REPEATABLE.contains(name));
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(parameters(written.as_bytes()), Some(written.clone()));
    if let Some((name, _)) = read.first() {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let twice = parameters(format!("{written}&{name}=x").as_bytes());
        let is_known = REPEATABLE.contains(&name.as_str()) && read.len() < MAX_PARAMETERS;
        assert_eq!(twice.is_some(), is_known);
    }
}

/// The verifier of RFC 7636: what is none meets nothing, not even what was made of it.
fn check_proof(text: &str) {
    let is_verifier = (43..=128).contains(&text.len())
        && (text.bytes()).all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let of = Challenge::from_bytes(Sha256::digest(text).into());
    assert_eq!(of.is_met_by(text), is_verifier);
    if let Ok(challenge) = text.parse::<Challenge>() {
        assert_eq!(URL_SAFE_NO_PAD.encode(challenge.bytes()), text);
        assert!(!challenge.is_met_by(text));
    }
}

fuzz_target!(|input: &[u8]| {
    check_parameters(input);
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    check_proof(text);
    if let Some((id, secret)) = basic(text) {
        let encoded = |text: &str| -> String {
            let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
            bytes.collect()
        };
        let pair = format!("{}:{}", encoded(&id), encoded(&secret));
        let header = base64::engine::general_purpose::STANDARD.encode(pair);
        assert_eq!(basic(&format!("Basic {header}")), Some((id, secret)));
    }
});
