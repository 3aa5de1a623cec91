//! Keys that sign and verify: Ed25519, and P-256 where a JWT library knows no other.
//!
//! A key has one algorithm. An Ed25519 signature is checked with one accept set everywhere (`verify_strict`: no
//! small-order keys, canonical parts), an ES256 signature must have the low of its two `s`: for every message and key
//! there is one signature that anybody could have seen.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek as ed25519;
use p256::ecdsa as es256;
use p256::ecdsa::signature::{Signer, Verifier};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base64url::decode_array;
use crate::invalid::Invalid;
use crate::json;
use crate::revocation::{Handle, HandleKind};
use crate::tool_server::TokenAlgorithm;

/// How many bytes a signature has, whichever the algorithm.
pub(super) const SIGNATURE_BYTES: usize = 64;
const COORDINATE_BYTES: usize = 32;

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032), named `EdDSA` in a header (RFC 8037).
    Ed25519,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4), deterministic (RFC 6979).
    Es256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::Es256];

    /// The `alg` of a header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        (Self::ALL.into_iter())
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| Invalid::new("the algorithms are `EdDSA` and `ES256`"))
    }
}

impl From<TokenAlgorithm> for Algorithm {
    fn from(algorithm: TokenAlgorithm) -> Self {
        match algorithm {
            TokenAlgorithm::EdDsa => Self::Ed25519,
            TokenAlgorithm::Es256 => Self::Es256,
        }
    }
}

/// What a key is called: the SHA-256 of its required members (RFC 7638). 43 characters of base64url on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint(pub [u8; 32]);

impl Thumbprint {
    /// By what a proof key is killed: the first 16 bytes of its thumbprint, known to whoever sees a proof of it.
    pub fn handle(self) -> Handle {
        let (bytes, _) = self.0.as_chunks::<16>();
        Handle {
            kind: HandleKind::Key,
            bytes: bytes.first().copied().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Thumbprint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        decode_array(text)
            .map(Self)
            .ok_or_else(|| Invalid::new("a thumbprint is 43 characters of base64url (RFC 7638)"))
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

/// A key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Curve);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Curve {
    Ed25519(ed25519::VerifyingKey),
    Es256(Box<es256::VerifyingKey>),
}

impl PublicKey {
    /// What it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Curve::Ed25519(_) => Algorithm::Ed25519,
            Curve::Es256(_) => Algorithm::Es256,
        }
    }

    /// Whether a signature over a message is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        match &self.0 {
            Curve::Ed25519(key) => {
                let signature = ed25519::Signature::from_bytes(signature);
                key.verify_strict(message, &signature).is_ok()
            }
            Curve::Es256(key) => es256::Signature::from_slice(signature).is_ok_and(|signature| {
                signature.normalize_s() == signature && key.verify(message, &signature).is_ok()
            }),
        }
    }

    /// The same for what others sign, who know no low `s`: of the two signatures that ECDSA allows, either will do. So
    /// whoever remembers what was used must not remember it by its signature.
    #[must_use]
    pub(crate) fn verifies_of_others(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = <&[u8; SIGNATURE_BYTES]>::try_from(signature) else {
            return false;
        };
        match &self.0 {
            Curve::Ed25519(_) => self.verifies(message, signature),
            Curve::Es256(key) => es256::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }

    /// The key's name.
    pub fn thumbprint(&self) -> Thumbprint {
        // RFC 7638, section 3: the required members in the order of their names, without blanks. So writes serde_json,
        // whose maps are sorted.
        Thumbprint(Sha256::digest(self.members().to_string().as_bytes()).into())
    }

    /// The members that make the key, as RFC 7517 writes them.
    fn members(&self) -> Value {
        match &self.0 {
            Curve::Ed25519(key) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": URL_SAFE_NO_PAD.encode(key.as_bytes())})
            }
            Curve::Es256(key) => {
                let (x, y) = coordinates(key);
                json!({"crv": "P-256", "kty": "EC", "x": x, "y": y})
            }
        }
    }

    /// The key as a JSON Web Key (RFC 7517): its required members, nothing else.
    pub fn to_jwk(&self) -> Value {
        self.members()
    }

    /// Reads a JSON Web Key. Members that say what the key may be used for are not looked at.
    ///
    /// # Errors
    /// It is a private key, of another kind, or its point is not on the curve or of small order.
    pub fn from_jwk(jwk: &Value) -> Result<Self, Invalid> {
        let members = (jwk.as_object())
            .ok_or_else(|| Invalid::new("a key is an object like `{\"kty\": \"OKP\", …}`"))?;
        let known = [
            "kty", "crv", "x", "y", "kid", "use", "alg", "key_ops", "ext",
        ];
        if members.keys().any(|name| !known.contains(&name.as_str())) {
            return Err(Invalid::new(
                "the key has members that a public key does not have; never send a private key",
            ));
        }
        match (text(members, "kty")?, text(members, "crv")?) {
            ("OKP", "Ed25519") if !members.contains_key("y") => {
                Self::from_ed25519(coordinate(members, "x")?)
            }
            ("EC", "P-256") => {
                Self::from_p256(coordinate(members, "x")?, coordinate(members, "y")?)
            }
            _ => Err(Invalid::new(
                "the key is of another kind; known are `OKP` with `Ed25519` and `EC` with `P-256`",
            )),
        }
    }

    fn from_ed25519(x: [u8; COORDINATE_BYTES]) -> Result<Self, Invalid> {
        let key = ed25519::VerifyingKey::from_bytes(&x)
            .ok()
            // One key, one text: the other encodings of a point are refused, and points that verify anything too.
            .filter(|key| !key.is_weak() && key.to_edwards().compress().to_bytes() == x)
            .ok_or_else(|| Invalid::at("x", "no point of the curve that a key may have"))?;
        Ok(Self(Curve::Ed25519(key)))
    }

    fn from_p256(x: [u8; COORDINATE_BYTES], y: [u8; COORDINATE_BYTES]) -> Result<Self, Invalid> {
        let mut point = vec![0x04];
        point.extend_from_slice(&x);
        point.extend_from_slice(&y);
        es256::VerifyingKey::from_sec1_bytes(&point)
            .map(|key| Self(Curve::Es256(Box::new(key))))
            .map_err(|_| Invalid::at("x", "no point of the curve"))
    }
}

fn coordinates(key: &es256::VerifyingKey) -> (String, String) {
    // Uncompressed: 0x04, then x and y of 32 bytes each.
    let point = key.to_sec1_point(false);
    let part = |coordinate: Option<&p256::FieldBytes>| {
        coordinate
            .map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
            .unwrap_or_default()
    };
    (part(point.x()), part(point.y()))
}

fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<&'m str, Invalid> {
    (members.get(name).and_then(Value::as_str))
        .ok_or_else(|| Invalid::at(name, format!("`{name}` is missing or no text")))
}

fn coordinate(members: &Map<String, Value>, name: &str) -> Result<[u8; COORDINATE_BYTES], Invalid> {
    decode_array(text(members, name)?)
        .ok_or_else(|| Invalid::at(name, format!("`{name}` is no base64url of 32 bytes")))
}

/// A key that signs. It has no `Debug` and no `Serialize`; its bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    secret: Secret,
    public: PublicKey,
    thumbprint: Thumbprint,
}

#[derive(Clone)]
enum Secret {
    Ed25519(Box<ed25519::SigningKey>),
    Es256(Box<es256::SigningKey>),
}

impl SigningKey {
    /// The key that 32 random bytes make.
    ///
    /// # Errors
    /// One text in 2^32 is no key of P-256: draw again.
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, Invalid> {
        let (secret, public) = match algorithm {
            Algorithm::Ed25519 => {
                let key = ed25519::SigningKey::from_bytes(seed);
                let public = Curve::Ed25519(key.verifying_key());
                (Secret::Ed25519(Box::new(key)), public)
            }
            Algorithm::Es256 => {
                let key = es256::SigningKey::from_slice(seed)
                    .map_err(|_| Invalid::new("these bytes are no key of P-256; draw others"))?;
                let public = Curve::Es256(Box::new(*key.verifying_key()));
                (Secret::Es256(Box::new(key)), public)
            }
        };
        let public = PublicKey(public);
        Ok(Self {
            secret,
            thumbprint: public.thumbprint(),
            public,
        })
    }

    /// The bytes to keep, encrypted.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(match &self.secret {
            Secret::Ed25519(key) => key.to_bytes(),
            Secret::Es256(key) => key.to_bytes().into(),
        })
    }

    /// What its signatures are checked with.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The name of the public key.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Signs. The same message gives the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        match &self.secret {
            Secret::Ed25519(key) => key.sign(message).to_bytes(),
            Secret::Es256(key) => {
                let signature: es256::Signature = key.sign(message);
                signature.normalize_s().to_bytes().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: Algorithm) -> SigningKey {
        SigningKey::from_seed(algorithm, &[7; 32]).unwrap()
    }

    #[test]
    fn a_key_signs_and_its_public_half_verifies_and_no_other() {
        for algorithm in Algorithm::ALL {
            let signature = key(algorithm).sign(b"message");
            assert!(key(algorithm).public().verifies(b"message", &signature));
            assert!(!key(algorithm).public().verifies(b"massage", &signature));
            for other in Algorithm::ALL {
                let stranger = SigningKey::from_seed(other, &[8; 32]).unwrap();
                assert!(!stranger.public().verifies(b"message", &signature));
            }
        }
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        // RFC 8037, appendix A.3.
        let jwk = json!({"kty": "OKP", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let print = PublicKey::from_jwk(&jwk).unwrap().thumbprint();
        assert_eq!(
            print.to_string(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_public_key_is_read_back_as_it_was_written() {
        for algorithm in Algorithm::ALL {
            let public = key(algorithm).public().clone();
            assert_eq!(PublicKey::from_jwk(&public.to_jwk()), Ok(public));
        }
    }

    #[test]
    fn private_keys_other_kinds_and_bad_points_are_refused() {
        let mut private = key(Algorithm::Ed25519).public().to_jwk();
        private["d"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
        // The neutral element, and the neutral element in an encoding that is not canonical.
        let neutral = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let padded = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let loose = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp";
        for wrong in [
            private,
            json!("a text"),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": neutral}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": padded}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": loose}),
            json!({"kty": "OKP", "crv": "Ed25519"}),
            json!({"kty": "OKP", "crv": "X25519", "x": neutral}),
            json!({"kty": "EC", "crv": "P-256", "x": neutral, "y": neutral}),
            json!({"kty": "EC", "crv": "P-256", "x": neutral}),
        ] {
            assert!(PublicKey::from_jwk(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_other_s_of_an_es256_signature_is_refused() {
        let key = key(Algorithm::Es256);
        let low = es256::Signature::from_slice(&key.sign(b"message")).unwrap();
        let (r, s) = low.split_scalars();
        let high = es256::Signature::from_scalars(r.to_bytes(), (-s).to_bytes()).unwrap();
        let Curve::Es256(public) = &key.public().0 else {
            panic!("a key of P-256")
        };
        // The twin: to a library that does not look, both are good.
        assert!(public.verify(b"message", &high).is_ok());
        assert!(!key.public().verifies(b"message", &high.to_bytes().into()));
        assert!(key.public().verifies(b"message", &low.to_bytes().into()));
    }

    #[test]
    fn signatures_of_nothing_are_refused() {
        // CVE-2022-21449: r = s = 0, and numbers that are too large.
        for signature in [[0; 64], [0xff; 64]] {
            for algorithm in Algorithm::ALL {
                assert!(!key(algorithm).public().verifies(b"message", &signature));
            }
        }
    }
}
