//! Proof of possession (RFC 9449, DPoP): the sender of a request shows that it holds the key of its token.
//!
//! A proof is made for one method, one URL, one token and one time, and where the tool server asks for it for one body:
//! a server whose every call goes to one URL, as of MCP, binds nothing by method and URL alone. Whether a proof was
//! used before is for the caller to remember, by [`Proof::id`] and [`Proof::key`].

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CLOCK_SKEW;
use super::claims::{Seconds, whole_second};
use super::failure::{Code, Failure};
use super::jws::{self, Purpose};
use super::key::{PublicKey, SigningKey, Thumbprint};
use crate::time::Timestamp;

/// How old a proof may be; for so long its use must be remembered.
pub const MAX_PROOF_AGE: Duration = Duration::from_secs(60);
/// The longest name of a proof, and the longest nonce, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// The request that a proof is for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProofRequest<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The URL; query and fragment are not looked at.
    pub uri: &'a str,
    /// The token that is sent with it; `None` at the token endpoint.
    pub token: Option<&'a str>,
    /// The [digest](body_digest) of the body, where the proof must name it.
    pub body: Option<[u8; 32]>,
}

/// What a proof says of a body: its SHA-256.
pub fn body_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// A proof that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Its name, to be used once with this key.
    pub id: String,
    /// The key that its sender holds.
    pub key: Thumbprint,
    /// The same key, to bind a root to it.
    pub public_key: PublicKey,
    /// The nonce that it repeats; for whoever gave nonces to hold against those.
    pub nonce: Option<String>,
    /// When it was made, by its sender's clock. Whole seconds.
    pub issued_at: Timestamp,
}

/// Members that are not known are not looked at: the standard lets there be others.
#[derive(Serialize, Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bh: Option<String>,
}

impl Proof {
    /// Makes a proof for a request, as an agent does. `id` is random and never used again.
    pub fn sign(
        request: &ProofRequest<'_>,
        id: &str,
        nonce: Option<&str>,
        now: Timestamp,
        key: &SigningKey,
    ) -> String {
        let claims = Claims {
            jti: id.to_owned(),
            htm: request.method.to_owned(),
            htu: request
                .uri
                .split(['?', '#'])
                .next()
                .unwrap_or_default()
                .to_owned(),
            iat: Seconds(whole_second(now)),
            ath: request.token.map(token_hash),
            nonce: nonce.map(str::to_owned),
            bh: request.body.map(|digest| URL_SAFE_NO_PAD.encode(digest)),
        };
        jws::sign_own(Purpose::Proof, &claims, key)
    }

    /// Holds a proof against the request that came with it.
    ///
    /// # Errors
    /// [`Code::ProofInvalid`], whatever is wrong with it.
    pub fn open(text: &str, request: &ProofRequest<'_>, now: Timestamp) -> Result<Self, Failure> {
        let read = jws::split(text, Purpose::Proof).and_then(|jws| jws.open_own::<Claims>());
        let (key, claims) = read.map_err(|failure| invalid(failure.message().to_owned()))?;
        check(&claims, request)?;
        let made = claims.iat.0;
        if made > now.plus(CLOCK_SKEW) || now.since(made) > MAX_PROOF_AGE {
            return Err(invalid(
                "the proof is too old, or from the future: make one for each request",
            ));
        }
        let fits = |text: &str| (1..=MAX_NAME_BYTES).contains(&text.len());
        if !fits(&claims.jti) || !claims.nonce.as_deref().is_none_or(fits) {
            return Err(invalid(format!(
                "`jti` and `nonce` have 1 to {MAX_NAME_BYTES} bytes"
            )));
        }
        Ok(Self {
            id: claims.jti,
            key: key.thumbprint(),
            public_key: key,
            nonce: claims.nonce,
            issued_at: made,
        })
    }
}

fn check(claims: &Claims, request: &ProofRequest<'_>) -> Result<(), Failure> {
    if claims.htm != request.method {
        return Err(invalid("`htm` is not the method of the request"));
    }
    let asked = normal(request.uri);
    if asked.is_none() || normal(&claims.htu) != asked {
        return Err(invalid(
            "`htu` is not the URL of the request, without query and fragment",
        ));
    }
    if claims.ath != request.token.map(token_hash) {
        return Err(invalid(
            "`ath` is not the hash of the token that came with the proof",
        ));
    }
    let body = request.body.map(|digest| URL_SAFE_NO_PAD.encode(digest));
    if body.is_some() && claims.bh != body {
        return Err(invalid("`bh` is not the SHA-256 of the body in base64url"));
    }
    Ok(())
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(Code::ProofInvalid, message)
}

fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

/// A URL in the form in which two are compared (RFC 9449, section 4.3, step 9): scheme and host in lower case, without
/// the default port, escapes in upper case, those of plain characters undone, `/` for no path. `None` of what is none.
fn normal(uri: &str) -> Option<String> {
    let uri = uri.split(['?', '#']).next()?;
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, path),
        None => (rest, ""),
    };
    let default = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(default).unwrap_or(&authority);
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    Some(format!("{scheme}://{authority}/{}", normal_path(path)?))
}

fn normal_path(path: &str) -> Option<String> {
    let mut pieces = path.split('%');
    let mut normal = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = char::from(u8::from_str_radix(digits, 16).ok()?);
        if byte.is_ascii_alphanumeric() || "-._~".contains(byte) {
            normal.push(byte);
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(rest);
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::token::Algorithm;

    const TOKEN: &str = "a.b.c";

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn key(algorithm: Algorithm) -> SigningKey {
        SigningKey::from_seed(algorithm, &[7; 32]).unwrap()
    }

    fn request() -> ProofRequest<'static> {
        ProofRequest {
            method: "POST",
            uri: "https://tools.example.com/mcp?session=1",
            token: Some(TOKEN),
            body: Some(body_digest(b"{}")),
        }
    }

    fn proof() -> String {
        Proof::sign(
            &request(),
            "one",
            Some("n"),
            now(),
            &key(Algorithm::Ed25519),
        )
    }

    fn code(text: &str, request: &ProofRequest<'_>, now: Timestamp) -> Result<String, Code> {
        Proof::open(text, request, now)
            .map(|proof| proof.id)
            .map_err(|failure| failure.code)
    }

    #[test]
    fn a_proof_holds_for_its_request_and_tells_whose_it_is() {
        for algorithm in Algorithm::ALL {
            let text = Proof::sign(&request(), "one", None, now(), &key(algorithm));
            let proof = Proof::open(&text, &request(), now()).unwrap();
            assert_eq!(proof.key, key(algorithm).thumbprint());
            assert_eq!((proof.id.as_str(), proof.issued_at), ("one", now()));
        }
    }

    /// Browsers and Node.js sign with either `s`; what is remembered of a proof is the same for both.
    #[test]
    fn a_proof_may_have_the_other_s() {
        let low = Proof::sign(&request(), "one", None, now(), &key(Algorithm::Es256));
        let (message, signature) = low.rsplit_once('.').unwrap();
        let bytes: [u8; 64] = crate::base64url::decode_array(signature).unwrap();
        let low_s = p256::ecdsa::Signature::from_slice(&bytes).unwrap();
        let (r, s) = low_s.split_scalars();
        let other = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-s).to_bytes()).unwrap();
        let other = URL_SAFE_NO_PAD.encode(other.to_bytes());
        assert_ne!(signature, other);
        let of = |text: &str| {
            let proof = Proof::open(text, &request(), now()).unwrap();
            (proof.key, proof.id)
        };
        assert_eq!(of(&format!("{message}.{other}")), of(&low));
    }

    #[test]
    fn a_proof_for_another_request_is_refused() {
        let others = [
            ProofRequest {
                method: "GET",
                ..request()
            },
            ProofRequest {
                method: "post",
                ..request()
            },
            ProofRequest {
                uri: "https://tools.example.com/mcp/",
                ..request()
            },
            ProofRequest {
                uri: "https://tools.example.com:8443/mcp",
                ..request()
            },
            ProofRequest {
                uri: "http://tools.example.com/mcp",
                ..request()
            },
            ProofRequest {
                uri: "no url",
                ..request()
            },
            ProofRequest {
                token: Some("a.b.d"),
                ..request()
            },
            ProofRequest {
                token: None,
                ..request()
            },
            ProofRequest {
                body: Some(body_digest(b"{ }")),
                ..request()
            },
        ];
        for other in others {
            assert_eq!(
                code(&proof(), &other, now()),
                Err(Code::ProofInvalid),
                "{other:?}"
            );
        }
        // The twin: where the body is not asked for, what the proof says of it does not matter.
        let without = ProofRequest {
            body: None,
            ..request()
        };
        assert_eq!(code(&proof(), &without, now()), Ok("one".to_owned()));
    }

    #[test]
    fn a_url_is_compared_in_its_normal_form() {
        for uri in [
            "HTTPS://Tools.Example.com/mcp",
            "https://tools.example.com:443/mcp#a",
            "https://tools.example.com/%6dcp",
        ] {
            let request = ProofRequest { uri, ..request() };
            assert!(code(&proof(), &request, now()).is_ok(), "{uri}");
        }
        assert_eq!(normal("https://a"), normal("https://a/"));
        assert_eq!(normal("https://a/%2f"), normal("https://a/%2F"));
        assert_ne!(normal("https://a/%2F"), normal("https://a//"));
        assert_eq!(normal("https://a/%4"), None);
        assert_eq!(normal("https://me@a/"), None);
    }

    #[test]
    fn a_proof_holds_for_a_minute() {
        let age = |seconds: u64| now().plus(Duration::from_secs(seconds));
        assert!(code(&proof(), &request(), age(60)).is_ok());
        assert!(code(&proof(), &request(), age(61)).is_err());
        assert!(code(&proof(), &request(), now().minus(CLOCK_SKEW)).is_ok());
        let before = CLOCK_SKEW + Duration::from_secs(1);
        assert!(code(&proof(), &request(), now().minus(before)).is_err());
    }

    /// A proof with other header members or claims than [`Proof::sign`] makes, signed well.
    fn forged(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = key(Algorithm::Ed25519).sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn a_header_or_claims_of_another_form_are_refused() {
        let jwk = key(Algorithm::Ed25519).public().to_jwk();
        let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk});
        let claims = json!({"jti": "one", "htm": "POST", "htu": "https://tools.example.com/mcp",
            "iat": now().as_micros() / 1_000_000, "ath": token_hash(TOKEN),
            "bh": URL_SAFE_NO_PAD.encode(body_digest(b"{}")), "more": [1]});
        let with = |value: &Value, name: &str, member: Value| {
            let mut value = value.clone();
            value[name] = member;
            value
        };
        // The twin: as they are they hold, with a claim that is not known and the other name of the algorithm.
        assert!(code(&forged(&header, &claims), &request(), now()).is_ok());
        let named = with(&header, "alg", json!("Ed25519"));
        assert!(code(&forged(&named, &claims), &request(), now()).is_ok());
        let private = with(
            &jwk,
            "d",
            json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        );
        let stranger = SigningKey::from_seed(Algorithm::Ed25519, &[8; 32]).unwrap();
        let headers = [
            with(&header, "typ", json!("at+jwt")),
            with(&header, "typ", json!("JWT")),
            with(&header, "alg", json!("none")),
            with(&header, "alg", json!("HS256")),
            with(&header, "alg", json!("ES256")),
            with(&header, "jwk", private),
            with(&header, "jwk", stranger.public().to_jwk()),
            with(&header, "kid", json!("a")),
            with(&header, "crit", json!(["b64"])),
            json!({"typ": "dpop+jwt", "alg": "EdDSA"}),
        ];
        for header in headers {
            let text = forged(&header, &claims);
            assert_eq!(
                code(&text, &request(), now()),
                Err(Code::ProofInvalid),
                "{header}"
            );
        }
        let wrong = [
            with(&claims, "jti", json!("")),
            with(&claims, "jti", json!("x".repeat(129))),
            with(&claims, "jti", json!(1)),
            with(&claims, "iat", json!(-1)),
            with(&claims, "iat", json!(1.5)),
            with(&claims, "iat", json!(u64::MAX)),
            with(&claims, "ath", json!(null)),
            with(&claims, "bh", json!(null)),
        ];
        for claims in wrong {
            let text = forged(&header, &claims);
            assert_eq!(
                code(&text, &request(), now()),
                Err(Code::ProofInvalid),
                "{claims}"
            );
        }
    }
}
