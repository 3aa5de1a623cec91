//! `ProviderKeySet::from_jwks`, `UnverifiedIdToken::split`, and the claims of a token whose signature holds: as a token of
//! identity, and as a bearer of any kind.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::id_token::{
    Accepted, BearerRules, ProviderKeySet, Rules, SignatureKind, TokenKind, UnverifiedIdToken,
};
use kavachos_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;

const HEADER: &str = r#"{"alg":"RS256","kid":"a"}"#;
const ISSUER: &str = "https://a.example";
const NOW: Timestamp = Timestamp::from_micros(1_795_255_200_000_000);
const MAX_AGE: Duration = Duration::from_secs(300);

/// A key whose signatures all hold: see below.
static KEYS: LazyLock<ProviderKeySet> = LazyLock::new(|| {
    let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
    let set = format!(r#"{{"keys":[{{"kty":"RSA","kid":"a","e":"AQAB","n":"{modulus}"}}]}}"#);
    ProviderKeySet::from_jwks(set.as_bytes()).expect("the set has a key")
});

fuzz_target!(|input: &[u8]| {
    let _ = ProviderKeySet::from_jwks(input);
    if let Ok(text) = str::from_utf8(input) {
        let _ = UnverifiedIdToken::split(text).map(|token| token.issuer().is_some());
    }
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let parts = [HEADER.as_bytes(), input, &[0; 256]].map(encoded);
    let text = parts.join(".");
    let Ok(token) = UnverifiedIdToken::split(&text) else {
        return;
    };
    let key = KEYS.get("a").expect("the set has a key");
    let audiences = ["app".to_owned()];
    let rules = Rules {
        issuer: ISSUER,
        audiences: &audiences,
        max_age: MAX_AGE,
        max_sign_in_age: MAX_AGE,
    };
    let Ok(claims) = token.verify(key, &SignatureKind::ALL, |_, _, _| true) else {
        return;
    };
    let accepted = TokenKind::ALL.map(|kind| Accepted {
        kind,
        audiences: vec![kind.as_str().to_owned()],
        parties: vec!["party".to_owned()],
        max_age: MAX_AGE,
    });
    let bearers = BearerRules {
        issuer: ISSUER,
        accepted: &accepted,
        max_sign_in_age: MAX_AGE,
        nonce: None,
    };
    if let Ok(bearer) = claims.check_bearer(&bearers, NOW) {
        assert!(bearer.token.expires_at > NOW && NOW.since(bearer.token.issued_at) <= MAX_AGE);
    }
    if let Ok(token) = claims.check(&rules, NOW) {
        assert!(token.expires_at > NOW && NOW.since(token.issued_at) <= MAX_AGE);
        assert!(
            token
                .signed_in_at
                .is_none_or(|time| NOW.since(time) <= MAX_AGE)
        );
    }
});
