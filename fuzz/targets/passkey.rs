//! What browsers and authenticators send of passkeys: CBOR, `authenticatorData`, `attestationObject`, `clientDataJSON`, and
//! the JSON around them.
//!
//! An input is client data, a byte that no UTF-8 has, and what the authenticator wrote. Without client data it is that of
//! an honest browser, so that the rest is looked at.
#![no_main]

use kavachos_auth::fuzzing::passkey::{
    Data, data, fits, integer, is_key, item, registered, sent, used,
};
use libfuzzer_sys::fuzz_target;

/// The site of the vectors of the standard, and another one.
const SITE: &str = "https://example.org";
const OTHER: &str = "https://example.com";
const CREATES: &[u8] =
    br#"{"type":"webauthn.create","challenge":"AAAA","origin":"https://example.org"}"#;
const GETS: &[u8] = br#"{"type":"webauthn.get","challenge":"AAAA","origin":"https://example.org"}"#;
/// What is no byte of UTF-8.
const BETWEEN: u8 = 0xff;
/// The longest id of a credential (WebAuthn, section 4), and the longest attestation that is read.
const MAX_ID_BYTES: usize = 1_023;
const MAX_ATTESTATION_BYTES: usize = 16_384;
/// Where the id of a credential stands in an authenticator's data, behind the hash, the flags, the counter, the model and
/// the length.
const ID_AT: usize = 32 + 1 + 4 + 16 + 2;

/// A key of RSA: of them every signature of the right length holds here.
fn rsa_key() -> Vec<u8> {
    let head = b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59\x01\x00";
    [&head[..], &[0xff; 256], b"\x21\x43\x01\x00\x01"].concat()
}

/// What is read does not depend on what comes behind it, and is never more than is there.
fn check_items(bytes: &[u8]) {
    let _ = integer(bytes);
    if is_key(bytes) {
        assert_eq!(item(bytes), Some((bytes, &[][..])), "a key is one item");
    }
    let Some((read, behind)) = item(bytes) else {
        return;
    };
    assert!(!read.is_empty() && [read, behind].concat() == bytes);
    assert_eq!(item(read), Some((read, &[][..])));
    assert_eq!(item(&read[..read.len() - 1]), None);
}

/// What was read of an authenticator stands there, and nothing else does.
fn check_data(bytes: &[u8]) -> Option<Data<'_>> {
    let read = data(bytes)?;
    assert!(bytes.starts_with(&read.site) && bytes[33..37] == read.counter.to_be_bytes());
    if let Some((id, key)) = read.credential {
        assert!((1..=MAX_ID_BYTES).contains(&id.len()));
        assert!(bytes[ID_AT..].starts_with(id) && bytes[ID_AT + id.len()..].starts_with(key));
        assert_eq!(item(key), Some((key, &[][..])));
    }
    // Nothing may be cut off or hung on.
    assert_eq!(data(&bytes[..bytes.len() - 1]), None);
    assert_eq!(data(&[bytes, &[0]].concat()), None);
    Some(read)
}

fn check_registration(client_data: &[u8], attestation: &[u8]) {
    let Some(made) = registered(SITE, client_data, attestation) else {
        return;
    };
    assert_eq!(fits(client_data, true, SITE), Some(true));
    assert!((1..=MAX_ID_BYTES).contains(&made.id.len()) && is_key(&made.key));
    assert!(attestation.len() <= MAX_ATTESTATION_BYTES && !made.is_contradictory);
    assert_eq!(registered(OTHER, client_data, attestation), None);
    assert_eq!(registered(SITE, GETS, attestation), None);
    let cut = &attestation[..attestation.len() - 1];
    assert_eq!(registered(SITE, client_data, cut), None);
}

fn check_use(client_data: &[u8], authenticator_data: &[u8]) {
    let key = rsa_key();
    assert!(is_key(&key));
    let sent = |signature: &'static [u8]| (client_data, authenticator_data, signature);
    let Some(counter) = used(SITE, (&key, 0), sent(&[0; 256])) else {
        return;
    };
    assert_eq!(fits(client_data, false, SITE), Some(true));
    assert_eq!(
        data(authenticator_data).map(|data| data.counter),
        Some(counter)
    );
    assert_eq!(used(OTHER, (&key, 0), sent(&[0; 256])), None);
    assert_eq!(used(SITE, (&key, 0), sent(&[0; 255])), None);
    // A device that counts never says a number twice.
    if counter > 0 {
        assert_eq!(used(SITE, (&key, counter), sent(&[0; 256])), None);
    }
    let created = (CREATES, authenticator_data, &[0; 256][..]);
    assert_eq!(used(SITE, (&key, 0), created), None);
}

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == BETWEEN);
    let said = parts.next().unwrap_or_default();
    let written = parts.next().unwrap_or_default();
    check_items(written);
    let _ = check_data(written);
    check_registration(if said.is_empty() { CREATES } else { said }, written);
    check_use(if said.is_empty() { GETS } else { said }, written);
    for registers in [true, false] {
        if fits(said, registers, SITE) == Some(true) {
            assert_eq!(fits(said, !registers, SITE), Some(false));
            assert_eq!(fits(said, registers, OTHER), Some(false));
        }
    }
    if let Some((id, transports)) = sent(said) {
        assert!((1..=MAX_ID_BYTES).contains(&id.len()));
        let words: Vec<&str> = transports.split_whitespace().collect();
        assert!(words.len() <= 8 && words.iter().all(|word| word.len() <= 32));
        assert_eq!(words.join(" "), transports);
    }
});
