use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa as es256;
use serde_json::{Value, json};

use super::*;
use crate::time::Timestamp;
use crate::token::{Algorithm, Code, SigningKey};

const ISSUER: &str = "https://tenant.example.com/";
const NOW: u64 = 1_795_255_200;

fn now() -> Timestamp {
    Timestamp::from_micros(i64::try_from(NOW).unwrap() * 1_000_000)
}

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::from_seed(algorithm, &[7; 32]).unwrap()
}

/// An RSA key whose signatures are 256 times the byte 7, in the eyes of [`seven`].
fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "kid": "rsa", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xff; 256])})
}

fn seven(_: &RsaKey, _: &[u8], signature: &[u8]) -> bool {
    signature.iter().all(|byte| *byte == 7)
}

fn keys() -> ProviderKeySet {
    let named = |algorithm, kid: &str| {
        let mut jwk = key(algorithm).public().to_jwk();
        jwk["kid"] = kid.into();
        jwk
    };
    let set = json!({"keys": [
        named(Algorithm::Ed25519, "ed"), named(Algorithm::Es256, "ec"), rsa_jwk(),
    ]});
    ProviderKeySet::from_jwks(set.to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "auth0|123", "aud": "app", "iat": NOW - 10, "exp": NOW + 60, "nonce": "n",
        "email": "ada@example.com", "email_verified": true})
}

fn header(alg: &str, kid: &str) -> Value {
    json!({"typ": "JWT", "alg": alg, "kid": kid, "cat": "cl_1"})
}

fn message(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    )
}

fn signed(header: &Value, claims: &Value, signer: &SigningKey) -> String {
    let message = message(&header.to_string(), &claims.to_string());
    let signature = signer.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn ed(claims: &Value) -> String {
    signed(&header("EdDSA", "ed"), claims, &key(Algorithm::Ed25519))
}

fn read_allowing(text: &str, allowed: &[SignatureKind], now: Timestamp) -> Result<IdToken, Code> {
    let audiences = ["app".to_owned(), "other-app".to_owned()];
    let rules = Rules {
        issuer: ISSUER,
        audiences: &audiences,
        max_age: Duration::from_secs(300),
        max_sign_in_age: Duration::from_secs(600),
    };
    let read = || {
        let token = UnverifiedIdToken::split(text)?;
        let keys = keys();
        let key = keys
            .get(token.kid())
            .ok_or_else(|| crate::token::Failure::new(Code::UnknownKey, "no such key"))?;
        token.verify(key, allowed, seven)?.check(&rules, now)
    };
    read().map_err(|failure: crate::token::Failure| failure.code)
}

fn read(text: &str) -> Result<IdToken, Code> {
    read_allowing(text, &SignatureKind::ALL, now())
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

#[test]
fn a_token_of_each_kind_of_key_is_believed() {
    let token = read(&ed(&claims())).unwrap();
    assert_eq!(token.subject.as_str(), "auth0|123");
    assert_eq!(token.expires_at, now().plus(Duration::from_secs(60)));
    assert!(
        read(&signed(
            &header("Ed25519", "ed"),
            &claims(),
            &key(Algorithm::Ed25519)
        ))
        .is_ok()
    );
    assert!(
        read(&signed(
            &header("ES256", "ec"),
            &claims(),
            &key(Algorithm::Es256)
        ))
        .is_ok()
    );
    let rsa = message(&header("RS256", "rsa").to_string(), &claims().to_string());
    assert!(read(&format!("{rsa}.{}", URL_SAFE_NO_PAD.encode([7; 256]))).is_ok());
    for wrong in [vec![8; 256], vec![7; 255], vec![7; 257], vec![7; 64]] {
        let text = format!("{rsa}.{}", URL_SAFE_NO_PAD.encode(wrong));
        assert_eq!(read(&text), Err(Code::BadSignature));
    }
}

#[test]
fn both_signatures_of_one_ecdsa_token_are_one_token() {
    let low = signed(&header("ES256", "ec"), &claims(), &key(Algorithm::Es256));
    let (message, signature) = low.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = es256::Signature::from_slice(&signature)
        .unwrap()
        .split_scalars();
    let high = es256::Signature::from_scalars(r, -s).unwrap();
    let high = format!("{message}.{}", URL_SAFE_NO_PAD.encode(high.to_bytes()));
    assert_ne!(low, high);
    assert_eq!(read(&low).unwrap().digest, read(&high).unwrap().digest);
}

#[test]
fn an_algorithm_is_the_keys_and_never_the_headers() {
    let hmac = |alg: &str, kid: &str| {
        // The public key as the secret, in the forms in which libraries were fooled (lessons C 52).
        let message = message(&header(alg, kid).to_string(), &claims().to_string());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode([7; 32]))
    };
    for alg in [
        "HS256", "HS384", "none", "None", "nOnE", "", "RS512", "PS256", "ES256K", "dir",
    ] {
        for kid in ["rsa", "ec", "ed"] {
            assert_eq!(
                read(&hmac(alg, kid)),
                Err(Code::AlgNotAllowed),
                "{alg} {kid}"
            );
        }
    }
    for alg in [
        json!(null),
        json!(["EdDSA"]),
        json!({"EdDSA": 1}),
        json!(" EdDSA"),
    ] {
        let header = with(header("EdDSA", "ed"), "alg", alg);
        let text = signed(&header, &claims(), &key(Algorithm::Ed25519));
        assert_eq!(read(&text), Err(Code::AlgNotAllowed));
    }
    let crossed = signed(&header("ES256", "ed"), &claims(), &key(Algorithm::Es256));
    assert_eq!(read(&crossed), Err(Code::AlgNotAllowed));
    // The twin: the right name of the same key; and a provider that may not sign with it.
    let text = ed(&claims());
    assert!(read(&text).is_ok());
    let allowed = [SignatureKind::Rs256];
    assert_eq!(
        read_allowing(&text, &allowed, now()),
        Err(Code::AlgNotAllowed)
    );
}

#[test]
fn a_signature_of_nothing_or_of_another_key_is_refused() {
    let message = message(&header("ES256", "ec").to_string(), &claims().to_string());
    for signature in [vec![0; 64], vec![0xff; 64], vec![1; 63], vec![1]] {
        let text = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(read(&text), Err(Code::BadSignature));
    }
    let stranger = SigningKey::from_seed(Algorithm::Ed25519, &[8; 32]).unwrap();
    let text = signed(&header("EdDSA", "ed"), &claims(), &stranger);
    assert_eq!(read(&text), Err(Code::BadSignature));
    let text = signed(
        &header("EdDSA", "gone"),
        &claims(),
        &key(Algorithm::Ed25519),
    );
    assert_eq!(read(&text), Err(Code::UnknownKey));
}

#[test]
fn a_header_of_another_purpose_or_with_means_of_its_own_is_refused() {
    let signer = key(Algorithm::Ed25519);
    for typ in [
        "at+jwt",
        "logout+jwt",
        "dpop+jwt",
        "kvr+jwt",
        "secevent+jwt",
        "jwt",
        "",
    ] {
        let header = with(header("EdDSA", "ed"), "typ", json!(typ));
        assert_eq!(
            read(&signed(&header, &claims(), &signer)),
            Err(Code::WrongType),
            "{typ}"
        );
    }
    let plain = without(header("EdDSA", "ed"), "typ");
    assert!(read(&signed(&plain, &claims(), &signer)).is_ok());
    for name in [
        "crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "epk",
    ] {
        let header = with(header("EdDSA", "ed"), name, json!(["exp"]));
        assert_eq!(
            read(&signed(&header, &claims(), &signer)),
            Err(Code::Malformed),
            "{name}"
        );
    }
    let unnamed = without(header("EdDSA", "ed"), "kid");
    assert_eq!(
        read(&signed(&unnamed, &claims(), &signer)),
        Err(Code::Malformed)
    );
}

#[test]
fn a_token_has_one_reading_or_none() {
    let text = ed(&claims());
    let (message, signature) = text.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    for wrong in [
        String::new(),
        "..".to_owned(),
        format!("{message}."),
        format!("{text}."),
        format!("{text}=="),
        format!(" {text}"),
        format!("{text}\n"),
        format!("{header}..{signature}"),
        format!("{header}.{payload}.{payload}.{signature}"),
        "a".repeat(8_001),
        // An encrypted one has five parts: the session of Auth.js, and what JWE bombs come in.
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0..AAAA.AAAA.AAAA".to_owned(),
    ] {
        assert_eq!(read(&wrong), Err(Code::Malformed), "{wrong}");
    }
    let signer = key(Algorithm::Ed25519);
    let of_texts = |header: &str, claims: &str| {
        let message = self::message(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(signer.sign(message.as_bytes()));
        format!("{message}.{signature}")
    };
    let plain = self::header("EdDSA", "ed").to_string();
    let doubled = claims()
        .to_string()
        .replace("\"sub\"", "\"sub\":\"eve\",\"sub\"");
    assert_eq!(read(&of_texts(&plain, &doubled)), Err(Code::Malformed));
    let unknown = claims()
        .to_string()
        .replace("\"email\"", "\"more\":1,\"more\":2,\"email\"");
    assert_eq!(read(&of_texts(&plain, &unknown)), Err(Code::Malformed));
    let doubled = plain.replace("\"alg\"", "\"alg\":\"none\",\"alg\"");
    assert_eq!(
        read(&of_texts(&doubled, &claims().to_string())),
        Err(Code::Malformed)
    );
    assert_eq!(
        read(&of_texts("[]", &claims().to_string())),
        Err(Code::Malformed)
    );
    // The twin: the same texts as they should be.
    assert!(read(&of_texts(&plain, &claims().to_string())).is_ok());
}

#[test]
fn the_issuer_and_the_audience_are_exactly_the_registered_ones() {
    for issuer in [
        "https://tenant.example.com",
        "https://TENANT.example.com/",
        "https://evil.example.com/",
        "",
    ] {
        let text = ed(&with(claims(), "iss", json!(issuer)));
        assert_eq!(read(&text), Err(Code::UnknownKey), "{issuer}");
    }
    for (audience, party, expected) in [
        (json!("app"), None, Ok(())),
        (json!("app"), Some("app"), Ok(())),
        (json!(["app"]), None, Ok(())),
        (json!(["app", "other-app"]), Some("other-app"), Ok(())),
        (
            json!(["app", "other-app"]),
            None,
            Err(Code::AudienceMismatch),
        ),
        (
            json!(["app", "other-app"]),
            Some("evil"),
            Err(Code::AudienceMismatch),
        ),
        (json!("app"), Some("evil"), Err(Code::AudienceMismatch)),
        (
            json!(["app", "evil"]),
            Some("app"),
            Err(Code::AudienceMismatch),
        ),
        (json!("evil"), None, Err(Code::AudienceMismatch)),
        (json!("App"), None, Err(Code::AudienceMismatch)),
        (json!([]), None, Err(Code::AudienceMismatch)),
        (json!([["app"]]), None, Err(Code::AudienceMismatch)),
        (
            json!(vec!["app"; 17]),
            Some("app"),
            Err(Code::AudienceMismatch),
        ),
        (json!(7), None, Err(Code::Malformed)),
        (json!(null), None, Err(Code::Malformed)),
    ] {
        let mut claims = with(claims(), "aud", audience);
        if let Some(party) = party {
            claims["azp"] = party.into();
        }
        assert_eq!(read(&ed(&claims)).map(drop), expected, "{claims}");
    }
    assert_eq!(read(&ed(&without(claims(), "aud"))), Err(Code::Malformed));
}

#[test]
fn times_have_exact_bounds() {
    for (name, time, expected) in [
        ("exp", NOW + 1, Ok(())),
        ("exp", NOW, Err(Code::Expired)),
        ("exp", 0, Err(Code::Expired)),
        ("iat", NOW + 30, Ok(())),
        ("iat", NOW + 31, Err(Code::NotYetValid)),
        ("iat", NOW - 300, Ok(())),
        ("iat", NOW - 301, Err(Code::Expired)),
        ("iat", 0, Err(Code::Expired)),
        ("nbf", NOW + 30, Ok(())),
        ("nbf", NOW + 31, Err(Code::NotYetValid)),
        ("auth_time", NOW - 600, Ok(())),
        ("auth_time", NOW - 601, Err(Code::Expired)),
        ("auth_time", NOW + 31, Err(Code::NotYetValid)),
        // In milliseconds, as better-auth writes it.
        ("auth_time", (NOW - 5) * 1_000, Ok(())),
        ("auth_time", (NOW - 601) * 1_000, Err(Code::Expired)),
        ("exp", 253_402_300_800, Err(Code::Malformed)),
        ("exp", (1 << 53) + 2, Err(Code::Malformed)),
        ("auth_time", 1 << 53, Err(Code::Malformed)),
    ] {
        let text = ed(&with(claims(), name, json!(time)));
        assert_eq!(read(&text).map(drop), expected, "{name} {time}");
    }
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for wrong in [
            json!(-1),
            json!(1.5),
            json!("1"),
            json!(null),
            json!(u64::MAX),
        ] {
            let text = ed(&with(claims(), name, wrong));
            assert_eq!(read(&text), Err(Code::Malformed), "{name}");
        }
    }
    assert_eq!(read(&ed(&without(claims(), "exp"))), Err(Code::Malformed));
    assert_eq!(read(&ed(&without(claims(), "iat"))), Err(Code::Malformed));
}

#[test]
fn a_subject_is_a_short_plain_text() {
    for wrong in [
        json!(""),
        json!("a b"),
        json!("a\u{0}"),
        json!("é"),
        json!("x".repeat(256)),
        json!(7),
        json!(null),
    ] {
        let text = ed(&with(claims(), "sub", wrong.clone()));
        assert_eq!(read(&text), Err(Code::Malformed), "{wrong}");
    }
    assert!(read(&ed(&with(claims(), "sub", json!("x".repeat(255))))).is_ok());
}

#[test]
fn a_token_to_end_a_session_or_for_access_is_none_of_identity() {
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    assert_eq!(
        read(&ed(&with(claims(), "events", event))),
        Err(Code::WrongType)
    );
    for other in ["Bearer", "Logout", "Refresh"] {
        assert_eq!(
            read(&ed(&with(claims(), "typ", json!(other)))),
            Err(Code::WrongType)
        );
    }
    assert!(read(&ed(&with(claims(), "typ", json!("ID")))).is_ok());
    for other in ["access", "refresh", ""] {
        assert_eq!(
            read(&ed(&with(claims(), "token_use", json!(other)))),
            Err(Code::WrongType)
        );
    }
    assert!(read(&ed(&with(claims(), "token_use", json!("id")))).is_ok());
}

/// As Entra ID, Okta and whoever follows RFC 9068 without its `typ` make them for an API of the same client.
#[test]
fn a_token_that_says_what_it_gives_access_to_is_none_of_identity() {
    let bare = ["nonce", "at_hash", "c_hash"]
        .into_iter()
        .fold(claims(), without);
    for (claim, scopes) in [
        ("scope", json!("openid profile")),
        ("scp", json!("access_as_user")),
        ("scp", json!(["openid"])),
        ("scope", json!(null)),
    ] {
        let access = with(bare.clone(), claim, scopes);
        assert_eq!(read(&ed(&access)), Err(Code::WrongType), "{claim}");
        // The twins: providers that write the scopes of a sign-in into what they say of it.
        for (sign, value) in [
            ("nonce", "n-1"),
            ("at_hash", "MTIzNDU2Nzg5MDEyMzQ1Ng"),
            ("c_hash", "MTIzNDU2Nzg5MDEyMzQ1Ng"),
            ("typ", "ID"),
            ("token_use", "id"),
        ] {
            let identity = with(access.clone(), sign, json!(value));
            assert!(read(&ed(&identity)).is_ok(), "{claim} {sign}");
        }
    }
    assert!(read(&ed(&bare)).is_ok());
}
