//! A token taken apart, and its signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::key::{ProviderKey, RsaCheck, SignatureKind};
use crate::json;
use crate::token::jws::{Parts, not_base64url, parts};
use crate::token::{Code, Failure};

/// The `typ` of an identity token, where its header has one.
const TYP: &str = "JWT";
/// The `typ` of a token that gives access (RFC 9068, section 2.1), which may be written with its whole media type.
const ACCESS_TYP: [&str; 2] = ["at+jwt", "application/at+jwt"];
/// Members of a header that change how a token is read, or bring along what it is to be checked with (RFC 7515,
/// section 4.1; RFC 7516; RFC 7797). No identity token needs one, and whoever sends one is refused.
pub(crate) const REFUSED: [&str; 9] = [
    "crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "epk",
];

/// What the header says that a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typ {
    /// Nothing in particular: `JWT`, or none.
    Plain,
    /// To give access.
    Access,
}

impl Typ {
    /// Media types are compared without their case; `JWT` is written in capitals by all who write it.
    fn of(header: &Map<String, Value>) -> Option<Self> {
        let Some(typ) = header.get("typ") else {
            return Some(Self::Plain);
        };
        let typ = typ.as_str()?;
        let access = |name: &&str| typ.eq_ignore_ascii_case(name);
        match typ {
            TYP => Some(Self::Plain),
            _ => ACCESS_TYP.iter().any(access).then_some(Self::Access),
        }
    }
}

/// A token that was taken apart. Nothing of it is to be believed.
pub struct UnverifiedIdToken<'t> {
    typ: Typ,
    kind: SignatureKind,
    kid: String,
    message: &'t str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'t> UnverifiedIdToken<'t> {
    /// Takes a token of identity apart.
    ///
    /// # Errors
    /// [`Code::Malformed`], [`Code::WrongType`] for a token of another purpose, then [`Code::AlgNotAllowed`].
    pub fn split(text: &'t str) -> Result<Self, Failure> {
        Self::split_where(text, |typ| typ == Typ::Plain)
    }

    /// Takes a token apart that may be of any [kind](super::TokenKind): what it is its claims have to say, too.
    ///
    /// # Errors
    /// Those of [`Self::split`].
    pub fn split_any(text: &'t str) -> Result<Self, Failure> {
        Self::split_where(text, |_| true)
    }

    fn split_where(text: &'t str, fits: fn(Typ) -> bool) -> Result<Self, Failure> {
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
        let typ = Typ::of(&header).filter(|typ| fits(*typ)).ok_or_else(|| {
            Failure::new(
                Code::WrongType,
                "the token is for another purpose: its `typ` is another than `JWT`",
            )
        })?;
        let kind = (header.get("alg").and_then(Value::as_str)).and_then(SignatureKind::named);
        let kind = kind.ok_or_else(|| {
            Failure::new(
                Code::AlgNotAllowed,
                "the `alg` of the token is not accepted: let the provider sign with `RS256`, `ES256` or `EdDSA`",
            )
        })?;
        let kid = header.get("kid").and_then(Value::as_str);
        let kid =
            kid.ok_or_else(|| Failure::malformed("the header names no key: `kid` is missing"))?;
        Ok(Self {
            typ,
            kind,
            kid: kid.to_owned(),
            message,
            signature: decode(signature)?,
            claims: object(payload, "claims")?,
        })
    }

    /// The issuer that it names: whose keys it is to be held against.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// The name of the key that it names.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The claims, once the signature holds. `allowed` are the kinds that the provider may sign with.
    ///
    /// # Errors
    /// [`Code::AlgNotAllowed`], then [`Code::BadSignature`].
    pub fn verify(
        self,
        key: &ProviderKey,
        allowed: &[SignatureKind],
        rsa: RsaCheck,
    ) -> Result<VerifiedClaims, Failure> {
        if key.kind() != self.kind || !allowed.contains(&key.kind()) {
            return Err(Failure::new(
                Code::AlgNotAllowed,
                "the `alg` of the header is not the one of the key that it names, or is not accepted from this provider",
            ));
        }
        if !key.verifies(self.message.as_bytes(), &self.signature, rsa) {
            return Err(Failure::new(
                Code::BadSignature,
                "the signature does not fit the token",
            ));
        }
        Ok(VerifiedClaims {
            typ: self.typ,
            digest: Sha256::digest(self.message.as_bytes()).into(),
            members: self.claims,
        })
    }
}

/// What a provider said, with its signature checked and nothing else.
pub struct VerifiedClaims {
    pub(super) typ: Typ,
    pub(super) members: Map<String, Value>,
    /// SHA-256 of what was signed, without the signature: of one token there may be two of those.
    pub(super) digest: [u8; 32],
}

pub(crate) fn decode(segment: &str) -> Result<Vec<u8>, Failure> {
    (URL_SAFE_NO_PAD.decode(segment)).map_err(|_| not_base64url())
}

pub(crate) fn object(segment: &str, what: &str) -> Result<Map<String, Value>, Failure> {
    let read = json::parse(&decode(segment)?)
        .map_err(|error| Failure::malformed(format!("the {what} of the token: {error}")))?;
    match read {
        Value::Object(members) => Ok(members),
        _ => Err(Failure::malformed(format!(
            "the {what} of the token are no object"
        ))),
    }
}
