//! What the targets share: the issuer of `testdata/vectors.json`, and a pen to sign what nobody would.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
