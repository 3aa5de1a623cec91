//! The document that replaces feed keys (`kvk+jwt`): which keys sign the heads of a log of revocations in one epoch, said
//! by a root key that is kept offline.
//!
//! Promises: whoever pins the root believes no other keys than those of a document that it signed, for the issuer and the
//! epoch that the document names. A document is for one epoch and names all keys of it, so the next one ends the last:
//! whoever stole a feed key can neither name another nor go on in the epoch that follows. It has no end of its own, for
//! none of its readers would trust a clock; that it is not an older one played back is the reader's to see by its epoch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::claims::{Seconds, whole_second};
use super::failure::{Code, Failure};
use super::jws::{self, Purpose};
use super::key::{Algorithm, PublicKey, SigningKey, Thumbprint};
use super::key_set::KeySet;
use super::name::Issuer;
use crate::invalid::Invalid;
use crate::json::{self, Exact, Object};
use crate::time::Timestamp;

/// The most keys that sign heads in one epoch.
pub const MAX_FEED_KEYS: usize = 8;
/// The longest request that is read, in bytes: one with as many keys as there may be has some 1,200.
pub const MAX_FEED_KEYS_REQUEST_BYTES: usize = 4_096;
/// The last epoch: whoever reads numbers of JSON as floating-point ones reads it as it is.
const MAX_EPOCH: u64 = (1 << 53) - 1;

/// The public half of a root key: what verifiers pin, and what a server is told that it is for. Ed25519, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRoot(PublicKey);

impl FeedRoot {
    /// The key as a JSON Web Key (RFC 7517).
    pub fn to_jwk(&self) -> Value {
        self.0.to_jwk()
    }

    /// The key's name.
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.thumbprint()
    }
}

impl TryFrom<PublicKey> for FeedRoot {
    type Error = Invalid;

    fn try_from(key: PublicKey) -> Result<Self, Invalid> {
        match key.algorithm() {
            Algorithm::Ed25519 => Ok(Self(key)),
            Algorithm::Es256 => Err(Invalid::new("a root key is one of Ed25519")),
        }
    }
}

/// Reads a JSON Web Key.
impl FromStr for FeedRoot {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        PublicKey::from_jwk(&json::parse(text.as_bytes())?)?.try_into()
    }
}

impl fmt::Display for FeedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jwk().fmt(f)
    }
}

/// What a server asks the keeper of the root to sign: the keys with which it will sign heads, and from when on.
///
/// On the wire `{"iss": "https://auth.example.com", "epoch": 1795255200, "keys": [{"crv": "Ed25519", …}]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedKeysRequest {
    /// Whose log it is.
    pub issuer: Issuer,
    /// In which epoch the keys sign; the log enters it with them.
    pub epoch: u64,
    /// All keys that sign in it: 1 to [`MAX_FEED_KEYS`], Ed25519.
    pub keys: KeySet,
}

/// Which keys sign the heads of a log, as a root says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedKeys {
    /// What was asked for.
    pub request: FeedKeysRequest,
    /// When it was signed, by the clock of whoever signed; whole seconds count. For people: nothing follows from it.
    pub issued_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    iss: Issuer,
    epoch: Epoch,
    keys: Keys,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: Issuer,
    epoch: Epoch,
    keys: Keys,
    iat: Seconds,
}

/// From 1 on: in epoch 0 nothing was ever followed.
struct Epoch(u64);

/// Keys in their one spelling: the required members of each, none twice.
struct Keys(KeySet);

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let epoch = u64::deserialize(deserializer)?;
        if (1..=MAX_EPOCH).contains(&epoch) {
            Ok(Self(epoch))
        } else {
            Err(de::Error::custom("an epoch is a number from 1 to 2^53 - 1"))
        }
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.keys().map(PublicKey::to_jwk))
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What is read is bounded in bytes, so the list is.
        let jwks = Vec::<Exact>::deserialize(deserializer)?;
        if !(1..=MAX_FEED_KEYS).contains(&jwks.len()) {
            let message = format!("there are 1 to {MAX_FEED_KEYS} keys");
            return Err(de::Error::custom(message));
        }
        let read: Result<Vec<PublicKey>, Invalid> =
            jwks.iter().map(|Exact(jwk)| feed_key(jwk)).collect();
        let set = read.and_then(KeySet::new).map_err(de::Error::custom)?;
        if set.names().count() == jwks.len() {
            Ok(Self(set))
        } else {
            Err(de::Error::custom("a key stands twice"))
        }
    }
}

fn feed_key(jwk: &Value) -> Result<PublicKey, Invalid> {
    let key = PublicKey::from_jwk(jwk)?;
    if key.algorithm() == Algorithm::Ed25519 && key.to_jwk() == *jwk {
        Ok(key)
    } else {
        Err(Invalid::new(
            "a key of the feed is one of Ed25519 with the members `crv`, `kty` and `x`",
        ))
    }
}

impl FeedKeysRequest {
    /// Reads a request, which nobody has signed yet.
    ///
    /// # Errors
    /// It is too long, or not strictly of this form.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > MAX_FEED_KEYS_REQUEST_BYTES {
            let message = format!("the request is longer than {MAX_FEED_KEYS_REQUEST_BYTES} bytes");
            return Err(Invalid::new(message));
        }
        let read: Result<Object<Asked>, _> = serde_json::from_slice(bytes);
        let Object(Asked { iss, epoch, keys }) =
            read.map_err(|error| Invalid::new(format!("this is no request: {error}")))?;
        Ok(Self {
            issuer: iss,
            epoch: epoch.0,
            keys: keys.0,
        })
    }

    /// Signs it, for whoever pins this root.
    ///
    /// # Errors
    /// The key is none of Ed25519, or is one of the keys that it signs for.
    pub fn sign(&self, root: &SigningKey, now: Timestamp) -> Result<String, Invalid> {
        let public = FeedRoot::try_from(root.public().clone())?;
        if self.keys.get(&public.thumbprint()).is_some() {
            return Err(Invalid::new(OWN_KEY));
        }
        let claims = Claims {
            iss: self.issuer.clone(),
            epoch: Epoch(self.epoch),
            keys: Keys(self.keys.clone()),
            iat: Seconds(whole_second(now)),
        };
        Ok(jws::sign(Purpose::FeedKeys, &claims, root))
    }
}

/// As [`FeedKeysRequest::parse`] reads it.
impl Serialize for FeedKeysRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let asked = Asked {
            iss: self.issuer.clone(),
            epoch: Epoch(self.epoch),
            keys: Keys(self.keys.clone()),
        };
        asked.serialize(serializer)
    }
}

/// What is wrong with a root that signs for itself.
const OWN_KEY: &str = "a root key signs documents and nothing else, so it is no key of the feed";

impl FeedKeys {
    /// Reads a document about an issuer, signed by one of these roots.
    ///
    /// # Errors
    /// As [`crate::token::Leaf::open`]: form, type, algorithm, key, signature, claims; [`Code::UnknownKey`] if it is
    /// signed by no root of these, [`Code::Malformed`] if it is about another issuer or names a root as a key.
    pub fn open(text: &str, issuer: &Issuer, roots: &[FeedRoot]) -> Result<Self, Failure> {
        let roots = KeySet::new(roots.iter().map(|FeedRoot(key)| key.clone()))
            .map_err(|error| Failure::malformed(error.message().to_owned()))?;
        let opened = jws::split(text, Purpose::FeedKeys)?.open(&roots);
        let claims: Claims = opened.map_err(|failure| match failure.code {
            Code::UnknownKey => Failure::new(
                Code::UnknownKey,
                "it is signed by another root key than the one that is pinned",
            ),
            _ => failure,
        })?;
        if claims.iss != *issuer {
            return Err(Failure::malformed("the document names another issuer"));
        }
        let Keys(keys) = claims.keys;
        if roots.names().any(|root| keys.get(&root).is_some()) {
            return Err(Failure::malformed(OWN_KEY));
        }
        Ok(Self {
            request: FeedKeysRequest {
                issuer: claims.iss,
                epoch: claims.epoch.0,
                keys,
            },
            issued_at: claims.iat.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_255_200_000_000);

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(Algorithm::Ed25519, &[byte; 32]).unwrap()
    }

    fn public(byte: u8) -> PublicKey {
        key(byte).public().clone()
    }

    fn root(byte: u8) -> FeedRoot {
        public(byte).try_into().unwrap()
    }

    fn issuer() -> Issuer {
        "https://auth.example.com".parse().unwrap()
    }

    fn request() -> FeedKeysRequest {
        FeedKeysRequest {
            issuer: issuer(),
            epoch: 2,
            keys: KeySet::new([public(1)]).unwrap(),
        }
    }

    fn claims() -> Value {
        json!({"iss": "https://auth.example.com", "epoch": 2, "keys": [public(1).to_jwk()],
            "iat": 1_795_255_200})
    }

    fn open(text: &str) -> Result<FeedKeys, Code> {
        FeedKeys::open(text, &issuer(), &[root(9)]).map_err(|failure| failure.code)
    }

    fn signed(claims: &Value) -> Result<FeedKeys, Code> {
        open(&jws::sign(Purpose::FeedKeys, claims, &key(9)))
    }

    #[test]
    fn a_document_is_read_as_it_was_signed() {
        let several = FeedKeysRequest {
            keys: KeySet::new((1..=8).map(public)).unwrap(),
            epoch: MAX_EPOCH,
            ..request()
        };
        for request in [request(), several] {
            let document = request.sign(&key(9), NOW).unwrap();
            let read = open(&document).unwrap();
            assert_eq!((read.request, read.issued_at), (request, NOW));
        }
        // What is signed here is what other programs would sign.
        let other = jws::sign(Purpose::FeedKeys, &claims(), &key(9));
        assert_eq!(open(&other).unwrap().request, request());
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let text = serde_json::to_string(&request()).unwrap();
        assert_eq!(FeedKeysRequest::parse(text.as_bytes()), Ok(request()));
        let mut more: Value = serde_json::from_str(&text).unwrap();
        more["iat"] = 1.into();
        for wrong in [
            more.to_string(),
            text.replace("\"epoch\":2", "\"epoch\":0"),
            format!("[{text}]"),
            format!("{text}{text}"),
            format!("{text}{}", " ".repeat(MAX_FEED_KEYS_REQUEST_BYTES)),
        ] {
            assert!(FeedKeysRequest::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    /// Each with its twin: the same document where it belongs.
    #[test]
    fn another_root_issuer_or_purpose_is_refused() {
        let document = request().sign(&key(9), NOW).unwrap();
        let by = |issuer: &str, roots: &[FeedRoot]| {
            let issuer = issuer.parse().unwrap();
            let read = FeedKeys::open(&document, &issuer, roots);
            read.map(drop).map_err(|failure| failure.code)
        };
        let own = "https://auth.example.com";
        assert_eq!(by(own, &[root(9)]), Ok(()));
        assert_eq!(by(own, &[root(8), root(9)]), Ok(()));
        assert_eq!(by(own, &[root(8)]), Err(Code::UnknownKey));
        assert_eq!(by(own, &[]), Err(Code::UnknownKey));
        let other = "https://other.example.com";
        assert_eq!(by(other, &[root(9)]), Err(Code::Malformed));
        for purpose in [
            Purpose::Leaf,
            Purpose::Root,
            Purpose::Proof,
            Purpose::FeedHead,
            Purpose::Assertion,
        ] {
            let text = jws::sign(purpose, &claims(), &key(9));
            assert_eq!(open(&text), Err(Code::WrongType));
        }
    }

    #[test]
    fn a_key_in_the_header_is_not_believed() {
        let own = jws::sign_own(Purpose::FeedKeys, &claims(), &key(8));
        assert_eq!(open(&own), Err(Code::Malformed));
        let own = jws::sign_own(Purpose::FeedKeys, &claims(), &key(9));
        assert_eq!(open(&own), Err(Code::Malformed));
    }

    #[test]
    fn claims_are_read_strictly() {
        assert!(signed(&claims()).is_ok());
        let members = claims();
        for name in members.as_object().unwrap().keys() {
            let mut without = members.clone();
            without.as_object_mut().unwrap().remove(name);
            assert_eq!(signed(&without), Err(Code::Malformed), "{name}");
        }
        let es256 = SigningKey::from_seed(Algorithm::Es256, &[2; 32]).unwrap();
        let mut named = public(1).to_jwk();
        named["kid"] = public(1).thumbprint().to_string().into();
        let many: Vec<Value> = (1..=9).map(|byte| public(byte + 20).to_jwk()).collect();
        for (name, wrong) in [
            ("exp", json!(1)),
            ("iss", json!("auth")),
            ("epoch", json!(0)),
            ("epoch", json!(-1)),
            ("epoch", json!(MAX_EPOCH + 1)),
            ("epoch", json!("2")),
            ("iat", json!(-1)),
            ("iat", json!(1.5)),
            ("keys", json!([])),
            ("keys", json!({})),
            ("keys", json!(many)),
            ("keys", json!([named])),
            ("keys", json!([es256.public().to_jwk()])),
            ("keys", json!([public(1).to_jwk(), public(1).to_jwk()])),
            ("keys", json!([public(1).to_jwk(), public(9).to_jwk()])),
        ] {
            let mut claims = claims();
            claims[name] = wrong.clone();
            assert_eq!(signed(&claims), Err(Code::Malformed), "{name}: {wrong}");
        }
    }

    #[test]
    fn a_root_is_of_ed25519_and_signs_for_no_key_of_its_own() {
        let es256 = SigningKey::from_seed(Algorithm::Es256, &[9; 32]).unwrap();
        assert!(FeedRoot::try_from(es256.public().clone()).is_err());
        assert!(request().sign(&es256, NOW).is_err());
        assert!(request().sign(&key(1), NOW).is_err());
        assert!(request().sign(&key(9), NOW).is_ok());
        assert_eq!(root(9).to_string().parse(), Ok(root(9)));
        for wrong in ["", "{}", "[]", &es256.public().to_jwk().to_string()] {
            assert!(wrong.parse::<FeedRoot>().is_err(), "{wrong}");
        }
    }
}
