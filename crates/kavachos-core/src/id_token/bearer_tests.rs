//! The kinds of tokens, each as its providers make it, and each in the others' place.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::time::Timestamp;
use crate::token::{Algorithm, Code, SigningKey};

const ISSUER: &str = "https://tenant.example.com/";
const NOW: u64 = 1_795_255_200;
const HOUR: Duration = Duration::from_secs(3_600);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(seconds).unwrap() * 1_000_000)
}

fn no_rsa(_: &RsaKey, _: &[u8], _: &[u8]) -> bool {
    false
}

fn accepted(kind: TokenKind) -> Accepted {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let (audiences, parties) = match kind {
        TokenKind::Identity => (texts(&["app"]), texts(&[])),
        TokenKind::Access => (texts(&["https://api.example.com"]), texts(&[])),
        TokenKind::Session => (texts(&["session-api"]), texts(&["https://app.example.com"])),
    };
    Accepted {
        kind,
        audiences,
        parties,
        max_age: HOUR,
    }
}

fn judged(typ: Option<&str>, claims: &Value, rules: &BearerRules<'_>) -> Result<BearerToken, Code> {
    let key = SigningKey::from_seed(Algorithm::Ed25519, &[7; 32]).unwrap();
    let mut header = json!({ "alg": "EdDSA", "kid": "ed" });
    if let Some(typ) = typ {
        header["typ"] = typ.into();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    let text = format!("{message}.{signature}");
    let mut jwk = key.public().to_jwk();
    jwk["kid"] = "ed".into();
    let keys = json!({ "keys": [jwk] }).to_string();
    let keys = ProviderKeySet::from_jwks(keys.as_bytes()).unwrap();
    let read = || {
        let token = UnverifiedIdToken::split_any(&text)?;
        let verified = token.verify(keys.get("ed").unwrap(), &SignatureKind::ALL, no_rsa)?;
        verified.check_bearer(rules, at(NOW))
    };
    read().map_err(|failure: crate::token::Failure| failure.code)
}

/// What comes of a token where these kinds are accepted.
fn read(kinds: &[TokenKind], typ: Option<&str>, claims: &Value) -> Result<TokenKind, Code> {
    let accepted: Vec<Accepted> = kinds.iter().copied().map(accepted).collect();
    let rules = BearerRules {
        issuer: ISSUER,
        accepted: &accepted,
        max_sign_in_age: HOUR,
        nonce: None,
    };
    judged(typ, claims, &rules).map(|bearer| bearer.kind)
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn claims(more: Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "sub": "user_1", "iat": NOW - 10, "exp": NOW + 60 });
    let Value::Object(more) = more else {
        panic!("an object")
    };
    claims.as_object_mut().unwrap().extend(more);
    claims
}

/// A kind, who makes it, its `typ`, and its claims.
type Shape = (TokenKind, &'static str, Option<&'static str>, Value);

/// Each kind, as those make it who make it otherwise than others.
fn shapes() -> Vec<Shape> {
    let mut all = session_tokens();
    all.extend(access_tokens());
    all.extend(identity_tokens());
    all
}

fn access_tokens() -> Vec<Shape> {
    use TokenKind::Access;
    let api = "https://api.example.com";
    vec![
        (
            Access,
            "auth0",
            Some("JWT"),
            claims(json!({ "aud": [api, "https://tenant.example.com/userinfo"],
            "azp": "client", "scope": "openid profile" })),
        ),
        (
            Access,
            "auth0, by RFC 9068",
            Some("at+jwt"),
            claims(json!({ "aud": api, "client_id": "client", "jti": "1" })),
        ),
        (
            Access,
            "keycloak",
            Some("JWT"),
            claims(
                json!({ "aud": [api, "account"], "azp": "client", "typ": "Bearer",
            "sid": "s", "scope": "openid" }),
            ),
        ),
        (
            Access,
            "entra",
            Some("JWT"),
            claims(json!({ "aud": api, "azp": "client", "scp": "access_as_user" })),
        ),
        (
            Access,
            "the whole media type",
            Some("application/AT+JWT"),
            claims(json!({ "aud": api, "client_id": "c" })),
        ),
    ]
}

fn session_tokens() -> Vec<Shape> {
    use TokenKind::Session;
    vec![
        (
            Session,
            "clerk",
            Some("JWT"),
            claims(json!({ "azp": "https://app.example.com", "sid": "sess_1",
            "sts": "active", "fva": [0, -1], "v": 2 })),
        ),
        (
            Session,
            "clerk with an audience",
            Some("JWT"),
            claims(json!({ "azp": "https://app.example.com", "sid": "s",
            "aud": "session-api" })),
        ),
    ]
}

fn identity_tokens() -> Vec<Shape> {
    use TokenKind::Identity;
    vec![
        (
            Identity,
            "auth0",
            Some("JWT"),
            claims(json!({ "aud": "app", "sid": "s", "nonce": "n" })),
        ),
        (
            Identity,
            "google through auth.js",
            Some("JWT"),
            claims(json!({ "aud": "app", "azp": "app", "at_hash": "h" })),
        ),
        (
            Identity,
            "better-auth, its plugin `jwt`",
            None,
            claims(json!({ "aud": "app", "email": "a@example.com" })),
        ),
        (
            Identity,
            "keycloak",
            Some("JWT"),
            claims(json!({ "aud": "app", "azp": "app", "typ": "ID", "sid": "s" })),
        ),
    ]
}

#[test]
fn each_kind_is_believed_where_it_is_accepted_and_nowhere_else() {
    for (kind, name, typ, claims) in shapes() {
        assert_eq!(read(&[kind], typ, &claims), Ok(kind), "{name}");
        assert_eq!(read(&TokenKind::ALL, typ, &claims), Ok(kind), "{name}");
        let others: Vec<_> = TokenKind::ALL
            .into_iter()
            .filter(|other| *other != kind)
            .collect();
        let refused = read(&others, typ, &claims);
        let why = [Code::WrongType, Code::AudienceMismatch, Code::Malformed];
        assert!(
            refused.is_err_and(|code| why.contains(&code)),
            "{name}: {refused:?}"
        );
        assert_eq!(read(&[], typ, &claims), Err(Code::WrongType), "{name}");
    }
}

/// The audience alone does not make the kind: an application and its API may share one.
#[test]
fn a_token_of_another_kind_with_the_right_audience_is_refused() {
    let api = "https://api.example.com";
    for (kind, name, typ, claims) in shapes() {
        if kind != TokenKind::Access {
            let claims = with(claims.clone(), "aud", json!(api));
            let refused = read(&[TokenKind::Access], typ, &claims);
            assert_eq!(refused, Err(Code::WrongType), "{name}");
        }
        if kind == TokenKind::Access {
            let claims = with(claims.clone(), "aud", json!("app"));
            assert_eq!(
                read(&[TokenKind::Identity], typ, &claims),
                Err(Code::WrongType),
                "{name}"
            );
        }
        if kind != TokenKind::Session {
            let claims = with(
                with(claims, "azp", json!("https://app.example.com")),
                "aud",
                json!("session-api"),
            );
            let with_sid = with(claims, "sid", json!("s"));
            let refused = read(&[TokenKind::Session], typ, &with_sid);
            // What better-auth's plugin signs says nothing of itself, and a `sid` makes it a session: so its signs are needed.
            let says_nothing = name.starts_with("better-auth");
            assert_eq!(refused.is_ok(), says_nothing, "{name}: {refused:?}");
        }
    }
}

#[test]
fn a_program_and_whoever_acts_in_a_humans_name_are_nobodys_sign_in() {
    for (kind, name, typ, claims) in shapes() {
        for (claim, value) in [
            ("act", json!({ "sub": "support_1" })),
            ("act", json!(null)),
            ("gty", json!("client-credentials")),
            ("idtyp", json!("app")),
            ("client_id", json!("user_1")),
            ("appid", json!("user_1")),
            ("azp", json!("user_1")),
        ] {
            let claims = with(claims.clone(), claim, value);
            assert_eq!(
                read(&[kind], typ, &claims),
                Err(Code::WrongType),
                "{name} {claim}"
            );
        }
        // The twin: the right to act for somebody, given and not used.
        if kind != TokenKind::Identity {
            let claims = with(claims, "may_act", json!({ "sub": "support_1" }));
            assert_eq!(read(&[kind], typ, &claims), Ok(kind), "{name}");
        }
    }
}

#[test]
fn the_party_and_the_audience_of_each_kind_are_the_registered_ones() {
    use TokenKind::{Access, Session};
    let session = shapes().remove(0).3;
    for (claim, value) in [
        ("azp", json!("https://evil.example.com")),
        ("azp", json!("https://app.example.com/")),
        ("azp", json!(["https://app.example.com"])),
        ("aud", json!("other")),
        ("aud", json!(["session-api", "other"])),
    ] {
        let claims = with(session.clone(), claim, value.clone());
        assert_eq!(
            read(&[Session], Some("JWT"), &claims),
            Err(Code::AudienceMismatch),
            "{claim} {value}"
        );
    }
    let without_party = without(session.clone(), "azp");
    assert_eq!(
        read(&[Session], Some("JWT"), &without_party),
        Err(Code::AudienceMismatch)
    );
    for (claim, value) in [
        ("sts", json!("pending")),
        ("sid", json!("")),
        ("sid", json!(1)),
    ] {
        let claims = with(session.clone(), claim, value);
        assert_eq!(
            read(&[Session], Some("JWT"), &claims),
            Err(Code::WrongType),
            "{claim}"
        );
    }
    let access = shapes().remove(2).3;
    for audience in [json!("other"), json!(["https://API.example.com"])] {
        let claims = with(access.clone(), "aud", audience);
        assert_eq!(
            read(&[Access], Some("JWT"), &claims),
            Err(Code::AudienceMismatch)
        );
    }
    for audience in [
        json!([]),
        json!(7),
        json!(["https://api.example.com", 7]),
        json!(vec!["x"; 17]),
    ] {
        let claims = with(access.clone(), "aud", audience);
        assert_eq!(read(&[Access], Some("JWT"), &claims), Err(Code::Malformed));
    }
    // An API that names the clients it takes.
    let mut only = accepted(Access);
    for (party, expected) in [("client", None), ("another", Some(Code::AudienceMismatch))] {
        only.parties = vec![party.to_owned()];
        let rules = BearerRules {
            issuer: ISSUER,
            accepted: std::slice::from_ref(&only),
            max_sign_in_age: HOUR,
            nonce: None,
        };
        assert_eq!(judged(Some("JWT"), &access, &rules).err(), expected);
    }
}

#[test]
fn when_the_human_signed_in_is_read_from_what_the_provider_says() {
    use TokenKind::{Identity, Session};
    let read = |kind, claims: &Value| {
        let accepted = [accepted(kind)];
        let rules = BearerRules {
            issuer: ISSUER,
            accepted: &accepted,
            max_sign_in_age: HOUR,
            nonce: None,
        };
        judged(Some("JWT"), claims, &rules).map(|bearer| bearer.token.signed_in_at)
    };
    let session = shapes().remove(0).3;
    // Whole minutes, so up to one more.
    assert_eq!(read(Session, &session), Ok(Some(at(NOW - 10 - 60))));
    let older = with(session.clone(), "fva", json!([7, -1]));
    assert_eq!(read(Session, &older), Ok(Some(at(NOW - 10 - 480))));
    let too_old = with(session.clone(), "fva", json!([60, -1]));
    assert_eq!(read(Session, &too_old), Err(Code::Expired));
    for nothing in [
        json!([-1, -1]),
        json!([]),
        json!(0),
        json!(["0"]),
        json!([1_u64 << 50]),
    ] {
        let claims = with(session.clone(), "fva", nothing);
        assert_eq!(read(Session, &claims), Ok(None));
    }
    let identity = claims(json!({ "aud": "app", "auth_time": NOW - 30, "fva": [0, 0] }));
    assert_eq!(read(Identity, &identity), Ok(Some(at(NOW - 30))));
    let silent = without(identity, "auth_time");
    assert_eq!(read(Identity, &silent), Ok(None));
}

#[test]
fn a_nonce_that_was_asked_with_must_come_back() {
    let accepted = [accepted(TokenKind::Identity)];
    let asked = |nonce| BearerRules {
        issuer: ISSUER,
        accepted: &accepted,
        max_sign_in_age: HOUR,
        nonce,
    };
    let token = claims(json!({ "aud": "app", "nonce": "n-1" }));
    let judged = |claims: &Value, nonce| judged(None, claims, &asked(nonce)).err();
    assert_eq!(judged(&token, Some("n-1")), None);
    assert_eq!(judged(&token, None), None);
    assert_eq!(judged(&token, Some("n-2")), Some(Code::AudienceMismatch));
    assert_eq!(
        judged(&without(token, "nonce"), Some("n-1")),
        Some(Code::AudienceMismatch)
    );
}
