//! What a client signs of who it is (`client::UnverifiedAssertion`): a text, claims that are signed here, or (after an `m`) a
//! good one in which bytes are changed, each by two bytes that say where and one that says how.
#![no_main]

use std::sync::LazyLock;

use kavachos_core::client::{
    Assertion, ClientId, ClientKeys, MAX_ASSERTION_LIFE, UnverifiedAssertion,
};
use kavachos_core::id_token::RsaCheck;
use kavachos_core::token::{Algorithm, CLOCK_SKEW, Issuer, SigningKey};
use kavachos_fuzz::{ISSUER, KEY, NOW, token};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const TYPE: &str = "client-authentication+jwt";

static ID: LazyLock<ClientId> = LazyLock::new(|| id("client_01h455vb4pex5vsknk084sn02q"));
static OTHER_ID: LazyLock<ClientId> = LazyLock::new(|| id("https://app.example.com/client.json"));
static OTHER_ISSUER: LazyLock<Issuer> =
    LazyLock::new(|| "https://evil.example.com".parse().expect("an issuer"));
static CLIENT_KEYS: LazyLock<ClientKeys> = LazyLock::new(|| keys(&KEY));
static OTHER_KEYS: LazyLock<ClientKeys> = LazyLock::new(|| {
    let key = SigningKey::from_seed(Algorithm::Ed25519, &[2; 32]);
    keys(&key.expect("a key"))
});

/// The one that is good.
static GOOD: LazyLock<String> = LazyLock::new(|| {
    let seconds = NOW.wall.as_micros() / 1_000_000;
    let claims = json!({
        "iss": *ID, "sub": *ID, "aud": ISSUER.as_str(), "jti": "a", "iat": seconds, "exp": seconds + 60,
    });
    token(format!("c{claims}").as_bytes(), TYPE).expect("a token")
});

fn id(text: &str) -> ClientId {
    text.parse().expect("an id")
}

/// The key's public part, under the name that it has here.
fn keys(key: &SigningKey) -> ClientKeys {
    let mut jwk = key.public().to_jwk();
    jwk["kid"] = KEY.thumbprint().to_string().into();
    ClientKeys::from_jwks(&json!({ "keys": [jwk] })).expect("a set")
}

fn check(text: &str, (id, keys): (&ClientId, &ClientKeys), issuer: &Issuer) -> Option<Assertion> {
    let read = UnverifiedAssertion::split(text).ok()?;
    let no_rsa: RsaCheck = |_, _, _| false;
    let known = (id, keys, no_rsa);
    let checked = read.check(known, issuer, NOW.wall).ok()?;
    assert_eq!(read.client(), Some(id.as_str()));
    Some(checked)
}

/// The good one after some changes; `None` if it is no text any more.
fn mutated(changes: &[u8]) -> Option<String> {
    let mut text = GOOD.clone().into_bytes();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % text.len();
        text[at] ^= change[2];
    }
    String::from_utf8(text).ok()
}

fuzz_target!(|input: &[u8]| {
    let (is_signed_here, text) = match input.split_first() {
        Some((b'm', changes)) => (false, mutated(changes)),
        Some((first, _)) => (*first == b'c', token(input, TYPE)),
        None => return,
    };
    let Some(text) = text else {
        return;
    };
    let ours = (&*ID, &*CLIENT_KEYS);
    let Some(assertion) = check(&text, ours, &ISSUER) else {
        assert!(text != *GOOD);
        return;
    };
    assert!(is_signed_here || text == *GOOD);
    let now = NOW.wall;
    let latest = now.plus(CLOCK_SKEW);
    assert!(assertion.expires_at > now);
    assert!(assertion.expires_at <= latest.plus(MAX_ASSERTION_LIFE));
    assert!(assertion.made_at <= latest);
    assert!(check(&text, ours, &OTHER_ISSUER).is_none());
    assert!(check(&text, (&*OTHER_ID, &*CLIENT_KEYS), &ISSUER).is_none());
    assert!(check(&text, (&*ID, &*OTHER_KEYS), &ISSUER).is_none());
});
