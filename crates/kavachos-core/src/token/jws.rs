//! Compact JSON Web Signatures (RFC 7515) with one reading: three segments of canonical base64url, a header of known
//! members, a `typ` that says the purpose, an algorithm of the key.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::failure::{Code, Failure};
use super::key::{Algorithm, PublicKey, SIGNATURE_BYTES, SigningKey, Thumbprint};
use super::key_set::KeySet;
use crate::base64url::{self, decode_array};
use crate::json::{Exact, Object, stated};

/// The longest token that is looked at, in bytes: what fits a header of common servers.
pub const MAX_TOKEN_BYTES: usize = 8_000;
/// The longest header, in bytes: one with a key in it has some two hundred.
const MAX_HEADER_BYTES: usize = 1_024;
/// What the claims of the longest token have at the most.
const MAX_CLAIMS_BYTES: usize = MAX_TOKEN_BYTES / 4 * 3;
/// How much of another's text a message repeats.
const SHOWN: usize = 160;

/// What a token is for. Every purpose is refused in every other purpose's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A leaf: access to one tool server.
    Leaf,
    /// A root: for the issuer alone.
    Root,
    /// A proof of possession.
    Proof,
    /// The head of a revocation log.
    FeedHead,
    /// What is said to a server behind a proxy about one call.
    Assertion,
    /// Which keys sign heads of a revocation log.
    FeedKeys,
}

impl Purpose {
    /// The `typ` of the header, compared byte for byte.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Leaf => "at+jwt",
            Self::Root => "kvr+jwt",
            Self::Proof => "dpop+jwt",
            Self::FeedHead => "kvf+jwt",
            Self::Assertion => "kvp+jwt",
            Self::FeedKeys => "kvk+jwt",
        }
    }

    /// The algorithm that a header names. Proofs come from many libraries, some of which say `Ed25519` (RFC 9864).
    fn algorithm(self, name: &str) -> Option<Algorithm> {
        match (name, self) {
            ("EdDSA", _) | ("Ed25519", Self::Proof) => Some(Algorithm::Ed25519),
            ("ES256", _) => Some(Algorithm::Es256),
            _ => None,
        }
    }
}

/// A token that was taken apart, its signature not yet looked at.
pub(crate) struct Unverified<'t> {
    algorithm: Algorithm,
    kid: Option<Thumbprint>,
    jwk: Option<Value>,
    message: &'t str,
    payload: &'t str,
    signature: [u8; SIGNATURE_BYTES],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'h> {
    #[serde(borrow)]
    typ: Cow<'h, str>,
    #[serde(borrow)]
    alg: Cow<'h, str>,
    #[serde(default, deserialize_with = "stated")]
    kid: Option<Thumbprint>,
    #[serde(default, deserialize_with = "stated")]
    jwk: Option<Exact>,
}

/// The three parts of a token, still encoded, and the first two as they are signed.
pub(crate) struct Parts<'t> {
    pub(crate) header: &'t str,
    pub(crate) payload: &'t str,
    pub(crate) signature: &'t str,
    pub(crate) message: &'t str,
}

/// Finds the three parts of a token.
///
/// # Errors
/// [`Code::Malformed`]: it is too long, or has no three parts.
pub(crate) fn parts(text: &str) -> Result<Parts<'_>, Failure> {
    if text.len() > MAX_TOKEN_BYTES {
        let message = format!("the token is longer than {MAX_TOKEN_BYTES} bytes");
        return Err(Failure::malformed(message));
    }
    let three = || Failure::malformed("a token has three parts with two dots between them");
    let (message, signature) = text.rsplit_once('.').ok_or_else(three)?;
    let (header, payload) = message.split_once('.').ok_or_else(three)?;
    // Counted to the end, which compilers make wide, where a search goes byte by byte.
    let dots = payload.bytes().filter(|byte| *byte == b'.').count();
    if dots > 0 || [header, payload, signature].contains(&"") {
        return Err(three());
    }
    Ok(Parts {
        header,
        payload,
        signature,
        message,
    })
}

/// Takes a token of this purpose apart.
///
/// # Errors
/// [`Code::Malformed`], then [`Code::WrongType`], then [`Code::AlgNotAllowed`].
pub(crate) fn split(text: &str, purpose: Purpose) -> Result<Unverified<'_>, Failure> {
    let Parts {
        header,
        payload,
        signature,
        message,
    } = parts(text)?;
    let mut room = [0; MAX_HEADER_BYTES];
    let header = decode(header, &mut room)?;
    let Header { typ, alg, kid, jwk } = object(header, "header")?;
    if typ != purpose.typ() {
        let message = format!("the `typ` of the token is not `{}`", purpose.typ());
        return Err(Failure::new(Code::WrongType, message));
    }
    let algorithm = (purpose.algorithm(&alg)).ok_or_else(|| {
        Failure::new(
            Code::AlgNotAllowed,
            "the `alg` of the token is not accepted: use `EdDSA` or `ES256`",
        )
    })?;
    let signature = decode_array(signature)
        .ok_or_else(|| Failure::malformed("the signature is not base64url of 64 bytes"))?;
    Ok(Unverified {
        algorithm,
        kid,
        jwk: jwk.map(|Exact(jwk)| jwk),
        message,
        payload,
        signature,
    })
}

impl Unverified<'_> {
    /// Checks the signature with the key of a set that the header names, and reads the claims.
    ///
    /// # Errors
    /// [`Code::UnknownKey`], [`Code::AlgNotAllowed`], [`Code::BadSignature`], then [`Code::Malformed`].
    pub(crate) fn open<T: DeserializeOwned>(&self, keys: &KeySet) -> Result<T, Failure> {
        if self.jwk.is_some() {
            return Err(Failure::malformed(
                "the header has a key in it; it names one with `kid`",
            ));
        }
        let kid = (self.kid)
            .ok_or_else(|| Failure::malformed("the header names no key: `kid` is missing"))?;
        let key = keys.get(&kid).ok_or_else(|| {
            Failure::new(
                Code::UnknownKey,
                "the token is signed by a key that is none of the issuer's",
            )
        })?;
        self.check(key)?;
        self.claims()
    }

    /// Checks the signature with the key that the header carries, and reads the claims.
    ///
    /// # Errors
    /// As [`Unverified::open`], but [`Code::Malformed`] for a key that is none.
    pub(crate) fn open_own<T: DeserializeOwned>(&self) -> Result<(PublicKey, T), Failure> {
        let jwk = (self.jwk.as_ref())
            .ok_or_else(|| Failure::malformed("the header has no key: `jwk` is missing"))?;
        let key = PublicKey::from_jwk(jwk)
            .map_err(|error| Failure::malformed(error.message().to_owned()))?;
        // Others sign it, by libraries that know no low `s`; a proof that was used is remembered by its key and its `jti`.
        self.check_by(&key, |key, message, signature| {
            key.verifies_of_others(message, signature)
        })?;
        Ok((key, self.claims()?))
    }

    fn check(&self, key: &PublicKey) -> Result<(), Failure> {
        self.check_by(key, PublicKey::verifies)
    }

    fn check_by(
        &self,
        key: &PublicKey,
        verifies: impl Fn(&PublicKey, &[u8], &[u8; SIGNATURE_BYTES]) -> bool,
    ) -> Result<(), Failure> {
        if key.algorithm() != self.algorithm {
            return Err(Failure::new(
                Code::AlgNotAllowed,
                "the `alg` of the header is not the one of the key that it names",
            ));
        }
        if verifies(key, self.message.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(Failure::new(
                Code::BadSignature,
                "the signature does not fit the token",
            ))
        }
    }

    fn claims<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        // On the stack, where it is in the cache: what is allocated anew often is not.
        let mut room = [0; MAX_CLAIMS_BYTES];
        object(decode(self.payload, &mut room)?, "claims")
    }
}

fn decode<'r>(segment: &str, room: &'r mut [u8]) -> Result<&'r [u8], Failure> {
    base64url::decode(segment, room).ok_or_else(not_base64url)
}

/// What a part is told that is none.
pub(crate) fn not_base64url() -> Failure {
    Failure::malformed("a part of the token is not base64url without padding (RFC 7515, section 2)")
}

/// Reads one object: derived readers refuse doubled and unknown members, and nothing may stand behind it.
fn object<'t, T: Deserialize<'t>>(json: &'t [u8], what: &str) -> Result<T, Failure> {
    // Checked as a whole: the reader of bytes would check each text in it by itself.
    let json = str::from_utf8(json)
        .map_err(|_| Failure::malformed(format!("the {what} of the token are not UTF-8")))?;
    let read: Result<Object<T>, _> = serde_json::from_str(json);
    read.map(|Object(read)| read).map_err(|error| {
        let shown: String = (error.to_string().chars().take(SHOWN))
            .flat_map(char::escape_debug)
            .collect();
        Failure::malformed(format!("the {what} of the token are not valid: {shown}"))
    })
}

/// Signs claims for a purpose. The header names the key with `kid`.
pub(crate) fn sign<T: Serialize>(purpose: Purpose, claims: &T, key: &SigningKey) -> String {
    #[derive(Serialize)]
    struct Named {
        typ: &'static str,
        alg: &'static str,
        kid: Thumbprint,
    }
    let header = Named {
        typ: purpose.typ(),
        alg: key.public().algorithm().as_str(),
        kid: key.thumbprint(),
    };
    seal(&header, claims, key)
}

/// Signs claims for a purpose. The header carries the key.
pub(crate) fn sign_own<T: Serialize>(purpose: Purpose, claims: &T, key: &SigningKey) -> String {
    #[derive(Serialize)]
    struct Carried {
        typ: &'static str,
        alg: &'static str,
        jwk: Value,
    }
    let header = Carried {
        typ: purpose.typ(),
        alg: key.public().algorithm().as_str(),
        jwk: key.public().to_jwk(),
    };
    seal(&header, claims, key)
}

fn seal(header: &impl Serialize, claims: &impl Serialize, key: &SigningKey) -> String {
    // INVARIANT: headers and claims are structs of texts, numbers and lists, which always have a JSON form.
    let header = serde_json::to_vec(header).unwrap_or_default();
    let claims = serde_json::to_vec(claims).unwrap_or_default();
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}
