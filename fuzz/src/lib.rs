//! What the targets share: the issuer of `testdata/vectors.json`, and a pen to sign what nobody would.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::revocation::{
    FeedHead, Follower, Lease, LogHead, Nonce, Reading, SnapshotAnswer, digest_of,
};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, Issuer, KeySet, SigningKey};

/// Who issues the tokens.
pub static ISSUER: LazyLock<Issuer> =
    LazyLock::new(|| "https://auth.example.com".parse().expect("an issuer"));

/// The issuer's key, that of the vectors.
pub static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed(Algorithm::Ed25519, &[1; 32]).expect("a key"));

/// The issuer's keys.
pub static KEYS: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::new([KEY.public().clone()]).expect("a set"));

/// The token that an input stands for: its text, or the claims under a header of this type that names the key or, in a
/// proof, carries it. `None` of an input that stands for none.
pub fn token(input: &[u8], typ: &str) -> Option<String> {
    match input.split_first()? {
        (b't', text) => String::from_utf8(text.to_vec()).ok(),
        (b'c', claims) => Some(signed(typ, claims)),
        _ => None,
    }
}

fn signed(typ: &str, claims: &[u8]) -> String {
    let mut header = serde_json::json!({"typ": typ, "alg": "EdDSA"});
    if typ == "dpop+jwt" {
        header["jwk"] = KEY.public().to_jwk();
    } else {
        header["kid"] = KEY.thumbprint().to_string().into();
    }
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The time of the vectors, on a machine that was started a while ago.
pub const NOW: Reading = Reading {
    boot: Duration::from_secs(100_000),
    wall: Timestamp::from_micros(1_795_255_200_000_000),
};

/// The head that a text stands for: itself, or if it is claims those under a header that names the key.
pub fn head(text: &str) -> String {
    if text.starts_with('{') {
        signed("kvf+jwt", text.as_bytes())
    } else {
        text.to_owned()
    }
}

/// The nonce of every question.
pub fn nonce() -> Nonce {
    "n".parse().expect("a nonce")
}

/// A follower that knows nothing.
pub fn follower() -> Follower {
    let name = "tools".parse().expect("a name");
    let instance = "i".parse().expect("an instance");
    Follower::new(ISSUER.clone(), name, instance, lease())
}

/// A follower that knows, in the first epoch, that nothing was killed, and has a lease.
pub fn follower_of_nothing() -> Follower {
    let mut follower = follower();
    follower.begin_snapshot(nonce(), NOW);
    let head = FeedHead {
        issuer: ISSUER.clone(),
        epoch: 1,
        head: LogHead::EMPTY,
        time: NOW.wall,
        lease_max: lease(),
        nonce: nonce(),
        follower: "tools".parse().expect("a name"),
        set: Some(digest_of(&[])),
    };
    let answer = SnapshotAnswer {
        head: head.sign(&KEY),
        records: Vec::new(),
    };
    let taken = follower.snapshot(&answer, &KEYS, &NOW);
    taken.expect("a snapshot of nothing");
    follower
}

fn lease() -> Lease {
    Lease::from_seconds(10).expect("a lease")
}
