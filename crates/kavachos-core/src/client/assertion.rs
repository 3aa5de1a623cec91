//! Assertions: a client signs who it is with a key of its own (RFC 7523, section 3; OpenID Connect Core 1.0, section 9,
//! `private_key_jwt`).
//!
//! Promises: an assertion is read in one way or not at all; the client's key decides the algorithm, never the header; it is for
//! this issuer by its name and for nobody beside it (draft-ietf-oauth-rfc7523bis: of a server that somebody tricks a client into
//! asking, it is worth nothing here), lives minutes, and has a name. Whether it was used before is for the caller to
//! remember, by [`Assertion::digest`] until [`Assertion::expires_at`].

use std::time::Duration;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::id::ClientId;
use super::keys::ClientKeys;
use crate::id_token::{REFUSED, RsaCheck, SignatureKind, decode, object};
use crate::time::Timestamp;
use crate::token::jws::{Parts, parts};
use crate::token::{CLOCK_SKEW, Code, Failure, Issuer};

/// The longest that an assertion is good: for so long its use must be remembered.
pub const MAX_ASSERTION_LIFE: Duration = Duration::from_secs(10 * 60);
/// The longest name of an assertion, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// What the header may say that it is, where it says it.
const TYPES: [&str; 3] = [
    "jwt",
    "client-authentication+jwt",
    "application/client-authentication+jwt",
];

/// An assertion that was taken apart. Nothing of it is to be believed.
pub struct UnverifiedAssertion<'t> {
    kind: SignatureKind,
    kid: Option<String>,
    message: &'t str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'t> UnverifiedAssertion<'t> {
    /// Takes an assertion apart.
    ///
    /// # Errors
    /// [`Code::Malformed`], [`Code::WrongType`] for what is for another purpose, then [`Code::AlgNotAllowed`].
    pub fn split(text: &'t str) -> Result<Self, Failure> {
        let Parts {
            header,
            payload,
            signature,
            message,
        } = parts(text)?;
        let header = object(header, "header")?;
        if let Some(name) = REFUSED.iter().find(|name| header.contains_key(**name)) {
            let message = format!("the header has the member `{name}`, which is not taken");
            return Err(Failure::malformed(message));
        }
        let typ = header
            .get("typ")
            .map(|typ| typ.as_str().unwrap_or_default().to_ascii_lowercase());
        if typ.is_some_and(|typ| !TYPES.contains(&typ.as_str())) {
            return Err(Failure::new(
                Code::WrongType,
                "the `typ` of the assertion is neither `client-authentication+jwt` nor `JWT`",
            ));
        }
        let kind = (header.get("alg").and_then(Value::as_str)).and_then(SignatureKind::named);
        let kind = kind.ok_or_else(|| {
            Failure::new(
                Code::AlgNotAllowed,
                "the `alg` of the assertion is not accepted: sign with `EdDSA`, `ES256` or `RS256`",
            )
        })?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Failure::malformed("`kid` is no text")),
        };
        Ok(Self {
            kind,
            kid,
            message,
            signature: decode(signature)?,
            claims: object(payload, "claims")?,
        })
    }

    /// The client that it names: whose keys it is to be held against.
    pub fn client(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// Holds it against the keys of a client, and what it says against what must be so.
    ///
    /// # Errors
    /// [`Code::UnknownKey`], [`Code::BadSignature`], then [`Code::Malformed`], [`Code::AudienceMismatch`],
    /// [`Code::NotYetValid`] and [`Code::Expired`].
    pub fn check(
        &self,
        (client, keys, rsa): (&ClientId, &ClientKeys, RsaCheck),
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Assertion, Failure> {
        let mut fitting = keys.fitting(self.kid.as_deref(), self.kind).peekable();
        if fitting.peek().is_none() {
            return Err(Failure::new(
                Code::UnknownKey,
                "the client has no key with the `kid` and `alg` of the assertion",
            ));
        }
        if !fitting.any(|key| key.verifies(self.message.as_bytes(), &self.signature, rsa)) {
            return Err(Failure::new(
                Code::BadSignature,
                "the signature does not fit the assertion",
            ));
        }
        for claim in ["iss", "sub"] {
            if self.text(claim)? != client.as_str() {
                let message = format!("`{claim}` of the assertion is not the client's id");
                return Err(Failure::malformed(message));
            }
        }
        // One text, and no list: of several, one could be another server.
        if self.claims.get("aud").and_then(Value::as_str) != Some(issuer.as_str()) {
            let message = format!(
                "`aud` of the assertion is `{issuer}`, as one text: the issuer, and not the address of an endpoint"
            );
            return Err(Failure::new(Code::AudienceMismatch, message));
        }
        let name = self.text("jti")?;
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
            let message = format!("`jti` of the assertion has 1 to {MAX_NAME_BYTES} bytes");
            return Err(Failure::malformed(message));
        }
        let (made_at, expires_at) = self.times(now)?;
        Ok(Assertion {
            digest: digest(client, name),
            made_at,
            expires_at,
        })
    }

    fn times(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), Failure> {
        let ends = self
            .time("exp")?
            .ok_or_else(|| Failure::malformed("`exp` of the assertion is missing"))?;
        let (made, begins) = (self.time("iat")?, self.time("nbf")?);
        let latest = now.plus(CLOCK_SKEW);
        if ends <= now {
            return Err(Failure::new(Code::Expired, "the assertion is over"));
        }
        if [made, begins]
            .into_iter()
            .flatten()
            .any(|time| time > latest)
        {
            let message = "the assertion is from the future: `iat` or `nbf` has not come";
            return Err(Failure::new(Code::NotYetValid, message));
        }
        let long_ago = made.is_some_and(|made| now.since(made) > MAX_ASSERTION_LIFE);
        if long_ago || ends > latest.plus(MAX_ASSERTION_LIFE) {
            let message = format!(
                "an assertion lives {} seconds at most: make one for each request",
                MAX_ASSERTION_LIFE.as_secs()
            );
            return Err(Failure::new(Code::Expired, message));
        }
        // As early as it can have been used, also if the client's clock is ahead.
        let made = made.unwrap_or_else(|| ends.minus(MAX_ASSERTION_LIFE));
        Ok((made.minus(CLOCK_SKEW), ends))
    }

    fn text(&self, name: &str) -> Result<&str, Failure> {
        self.claims
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| {
                Failure::malformed(format!("`{name}` of the assertion is missing or no text"))
            })
    }

    /// A `NumericDate` (RFC 7519, section 2) without a fraction.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let Some(value) = self.claims.get(name) else {
            return Ok(None);
        };
        let micros = value
            .as_i64()
            .filter(|seconds| *seconds >= 0)
            .and_then(|seconds| seconds.checked_mul(1_000_000))
            .filter(|micros| *micros <= Timestamp::MAX.as_micros());
        micros
            .map(|micros| Some(Timestamp::from_micros(micros)))
            .ok_or_else(|| {
                Failure::malformed(format!(
                    "`{name}` of the assertion is no number of whole seconds since 1970"
                ))
            })
    }
}

/// What a client signed, and nobody has used as far as is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// By what its use is remembered: the client, and the name that it gave.
    pub digest: [u8; 32],
    /// When it was made, or as early as it may have been, by a clock that may be ahead of ours. Whole seconds.
    pub made_at: Timestamp,
    /// When it ends. Whole seconds.
    pub expires_at: Timestamp,
}

fn digest(client: &ClientId, name: &str) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(b"kavachos client assertion 1\n");
    for text in [client.as_str(), name] {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text.as_bytes());
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::token::{Algorithm, SigningKey};

    const ISSUER: &str = "https://auth.example.com";
    const NOW: i64 = 1_795_255_200;

    fn key(algorithm: Algorithm, seed: u8) -> SigningKey {
        SigningKey::from_seed(algorithm, &[seed; 32]).unwrap()
    }

    fn id() -> ClientId {
        "client_01h455vb4pex5vsknk084sn02q".parse().unwrap()
    }

    fn claims() -> Value {
        json!({
            "iss": id(), "sub": id(), "aud": ISSUER, "jti": "one", "iat": NOW, "nbf": NOW, "exp": NOW + 60,
        })
    }

    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "p256", "typ": "client-authentication+jwt" })
    }

    fn signed(header: &Value, claims: &Value, key: &SigningKey) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn check(text: &str, after: i64) -> Result<Assertion, Code> {
        let named = |algorithm, kid: &str| {
            let mut jwk = key(algorithm, 1).public().to_jwk();
            jwk["kid"] = kid.into();
            jwk
        };
        let keys = [
            named(Algorithm::Es256, "p256"),
            named(Algorithm::Ed25519, "ed"),
        ];
        let keys = ClientKeys::from_jwks(&json!({ "keys": keys })).unwrap();
        let now = Timestamp::from_micros((NOW + after) * 1_000_000);
        let read = UnverifiedAssertion::split(text);
        let known = (&id(), &keys, (|_, _, _| false) as RsaCheck);
        read.and_then(|read| read.check(known, &ISSUER.parse().unwrap(), now))
            .map_err(|failure| failure.code)
    }

    fn with(value: &Value, name: &str, member: Value) -> Value {
        let mut value = value.clone();
        match member {
            Value::Null => drop(value.as_object_mut().unwrap().remove(name)),
            member => value[name] = member,
        }
        value
    }

    #[test]
    fn what_real_clients_sign_is_taken() {
        let es = key(Algorithm::Es256, 1);
        let ed = key(Algorithm::Ed25519, 1);
        for (header, key) in [
            (header(), &es),
            (json!({ "alg": "ES256", "typ": "JWT" }), &es),
            (json!({ "alg": "ES256" }), &es),
            (json!({ "alg": "Ed25519", "kid": "ed" }), &ed),
            (json!({ "alg": "EdDSA" }), &ed),
        ] {
            let taken = check(&signed(&header, &claims(), key), 0);
            assert!(taken.is_ok(), "{header}: {taken:?}");
        }
        let bare = ["iat", "nbf"]
            .into_iter()
            .fold(claims(), |claims, name| with(&claims, name, Value::Null));
        let taken = check(&signed(&header(), &bare, &es), 0).unwrap();
        assert_eq!(
            taken.made_at,
            taken.expires_at.minus(MAX_ASSERTION_LIFE + CLOCK_SKEW),
            "as early as can be"
        );
        let one = check(&signed(&header(), &claims(), &es), 0).unwrap();
        let now = Timestamp::from_micros(NOW * 1_000_000);
        assert_eq!(one.made_at, now.minus(CLOCK_SKEW));
        let later = check(
            &signed(&header(), &with(&claims(), "exp", json!(NOW + 61)), &es),
            0,
        );
        assert_eq!(
            one.digest,
            later.unwrap().digest,
            "one name is one assertion"
        );
    }

    #[test]
    fn a_header_of_another_form_or_key_is_refused() {
        let es = key(Algorithm::Es256, 1);
        for (member, value, code) in [
            ("alg", json!("none"), Code::AlgNotAllowed),
            ("alg", json!("HS256"), Code::AlgNotAllowed),
            ("alg", json!("ES384"), Code::AlgNotAllowed),
            ("alg", Value::Null, Code::AlgNotAllowed),
            // The key is of another kind than the header says.
            ("alg", json!("EdDSA"), Code::UnknownKey),
            ("alg", json!("RS256"), Code::UnknownKey),
            ("kid", json!("ed"), Code::UnknownKey),
            ("kid", json!("other"), Code::UnknownKey),
            ("kid", json!(7), Code::Malformed),
            ("typ", json!("at+jwt"), Code::WrongType),
            ("typ", json!("dpop+jwt"), Code::WrongType),
            ("typ", json!(7), Code::WrongType),
            ("crit", json!(["b64"]), Code::Malformed),
            ("jwk", es.public().to_jwk(), Code::Malformed),
            ("jku", json!("https://evil.example/keys"), Code::Malformed),
        ] {
            let header = with(&header(), member, value);
            let text = signed(&header, &claims(), &es);
            assert_eq!(check(&text, 0), Err(code), "{header}");
        }
        let stranger = signed(&header(), &claims(), &key(Algorithm::Es256, 2));
        assert_eq!(check(&stranger, 0), Err(Code::BadSignature));
        let text = signed(&header(), &claims(), &es);
        for broken in [
            text.rsplit_once('.').unwrap().0.to_owned(),
            format!("{text}."),
            format!("{text}="),
            format!("{text}{}", "A".repeat(8_000)),
            String::new(),
        ] {
            assert_eq!(check(&broken, 0), Err(Code::Malformed), "{broken}");
        }
    }

    #[test]
    fn an_assertion_is_for_this_issuer_by_its_name_and_for_minutes() {
        let es = key(Algorithm::Es256, 1);
        for (member, value, code) in [
            ("iss", json!("client_other"), Code::Malformed),
            ("sub", json!("client_other"), Code::Malformed),
            ("iss", Value::Null, Code::Malformed),
            ("aud", Value::Null, Code::AudienceMismatch),
            ("aud", json!([ISSUER]), Code::AudienceMismatch),
            (
                "aud",
                json!([ISSUER, "https://evil.example"]),
                Code::AudienceMismatch,
            ),
            (
                "aud",
                json!(format!("{ISSUER}/oauth/token")),
                Code::AudienceMismatch,
            ),
            ("aud", json!(format!("{ISSUER}/")), Code::AudienceMismatch),
            ("jti", Value::Null, Code::Malformed),
            ("jti", json!(""), Code::Malformed),
            ("jti", json!(7), Code::Malformed),
            ("jti", json!("x".repeat(257)), Code::Malformed),
            ("exp", Value::Null, Code::Malformed),
            ("exp", json!(NOW), Code::Expired),
            ("exp", json!(NOW + 700), Code::Expired),
            ("exp", json!(1e300), Code::Malformed),
            ("exp", json!(-1), Code::Malformed),
            ("exp", json!("soon"), Code::Malformed),
            ("iat", json!(NOW + 100), Code::NotYetValid),
            ("nbf", json!(NOW + 100), Code::NotYetValid),
            ("iat", json!(NOW - 700), Code::Expired),
        ] {
            let claims = with(&claims(), member, value);
            let text = signed(&header(), &claims, &es);
            assert_eq!(check(&text, 0), Err(code), "{claims}");
        }
        let text = signed(&header(), &claims(), &es);
        assert!(check(&text, 59).is_ok());
        assert_eq!(check(&text, 60), Err(Code::Expired));
    }
}
