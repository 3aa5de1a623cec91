//! The keys of a provider, as it publishes them (RFC 7517): of each only what is needed, and only keys that verify.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::invalid::Invalid;
use crate::json;
use crate::token::{Algorithm, PublicKey};

/// The most keys of one provider; the largest known sets have about twenty.
pub const MAX_PROVIDER_KEYS: usize = 64;
/// The longest name of a key, in bytes.
const MAX_KID_BYTES: usize = 256;
/// The one public exponent that RSA keys in use have: 65537.
const EXPONENT: &str = "AQAB";
/// The sizes of an RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;
/// The members of private and of shared keys: whoever publishes one of them has lost the key.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What a provider signs with. There is no `none` and no shared secret among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureKind {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3).
    Rs256,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// Ed25519 (RFC 8037), also named `Ed25519` (RFC 9864).
    EdDsa,
}

impl SignatureKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The `alg` of a header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The kind that a header or a key names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "Ed25519" => Some(Self::EdDsa),
            other => Self::ALL.into_iter().find(|kind| kind.as_str() == other),
        }
    }
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SignatureKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        (Self::ALL.into_iter().find(|kind| kind.as_str() == text)).ok_or_else(|| {
            Invalid::new("the algorithms are `RS256`, `ES256` and `EdDSA`; shared secrets and `none` prove nothing here")
        })
    }
}

/// Whether an RSASSA-PKCS1-v1_5 signature with SHA-256 over a message is this key's. Whoever runs the engine brings it:
/// on a native machine *ring*, which TLS brings along anyway.
pub type RsaCheck = fn(key: &RsaKey, message: &[u8], signature: &[u8]) -> bool;

/// An RSA key of 2048 to 4096 bits with the exponent 65537.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    /// The modulus, most significant byte first and not zero.
    modulus: Vec<u8>,
}

impl RsaKey {
    /// The modulus, most significant byte first.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent, most significant byte first.
    pub const fn exponent(&self) -> &'static [u8] {
        &[1, 0, 1]
    }

    fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        if text(jwk, "e")? != EXPONENT {
            return None;
        }
        let encoded = text(jwk, "n")?;
        // Base64 has four digits for three bytes: nothing longer can have the right size.
        if encoded.len() > RSA_BITS.end().div_ceil(6) {
            return None;
        }
        let modulus = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let zeros = modulus.first()?.leading_zeros();
        let bits = modulus.len().checked_mul(8)?;
        let bits = bits.checked_sub(usize::try_from(zeros).ok()?)?;
        let is_right = zeros < 8 && RSA_BITS.contains(&bits);
        is_right.then_some(Self { modulus })
    }
}

/// A provider's key. It verifies one kind of signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderKey {
    /// Ed25519 or P-256.
    Curve(PublicKey),
    /// RSA.
    Rsa(RsaKey),
}

impl ProviderKey {
    /// What it verifies.
    pub fn kind(&self) -> SignatureKind {
        match self {
            Self::Rsa(_) => SignatureKind::Rs256,
            Self::Curve(key) => match key.algorithm() {
                Algorithm::Ed25519 => SignatureKind::EdDsa,
                Algorithm::Es256 => SignatureKind::Es256,
            },
        }
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8], rsa: RsaCheck) -> bool {
        match self {
            Self::Curve(key) => key.verifies_of_others(message, signature),
            Self::Rsa(key) => signature.len() == key.modulus.len() && rsa(key, message, signature),
        }
    }

    /// The key as it is written down (RFC 7517): what is needed to check signatures with it.
    pub(crate) fn to_jwk(&self) -> Value {
        match self {
            Self::Curve(key) => key.to_jwk(),
            Self::Rsa(key) => {
                json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(&key.modulus), "e": EXPONENT })
            }
        }
    }

    /// A key that is for signatures, public, and of a known kind; `None` for every other.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        if is_private(jwk) || !is_for_signatures(jwk) {
            return None;
        }
        let key = match text(jwk, "kty")? {
            "RSA" => Self::Rsa(RsaKey::from_jwk(jwk)?),
            "EC" => Self::Curve(curve(jwk, &["kty", "crv", "x", "y"])?),
            "OKP" => Self::Curve(curve(jwk, &["kty", "crv", "x"])?),
            _ => return None,
        };
        let said = jwk
            .get("alg")
            .map(|alg| alg.as_str().and_then(SignatureKind::named));
        said.is_none_or(|said| said == Some(key.kind()))
            .then_some(key)
    }
}

/// Whether it is a private key, or a shared one.
pub(crate) fn is_private(jwk: &Map<String, Value>) -> bool {
    SECRET_MEMBERS.iter().any(|name| jwk.contains_key(*name))
}

/// What a key says of its use must not speak against checking signatures with it (RFC 7517, sections 4.2 and 4.3).
fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let purpose = jwk.get("use").is_none_or(|purpose| purpose == "sig");
    let operations = jwk.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == "verify"))
    });
    purpose && operations
}

fn curve(jwk: &Map<String, Value>, members: &[&str]) -> Option<PublicKey> {
    let mut plain = json!({});
    for name in members {
        plain
            .as_object_mut()?
            .insert((*name).to_owned(), jwk.get(*name)?.clone());
    }
    PublicKey::from_jwk(&plain).ok()
}

fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    members.get(name).and_then(Value::as_str)
}

/// The keys of a provider by the names that it gives them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderKeySet(Vec<(String, ProviderKey)>);

impl ProviderKeySet {
    /// Reads a published set. Keys without a name, for other uses, of other kinds or sizes are left out (RFC 7517,
    /// section 5).
    ///
    /// # Errors
    /// The text is no set, has too many keys, two that verify under one name, or none that can be used.
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, Invalid> {
        let document = json::parse(bytes)?;
        let keys = (document.get("keys").and_then(Value::as_array))
            .ok_or_else(|| Invalid::new("a key set is an object with a list `keys`"))?;
        if keys.len() > MAX_PROVIDER_KEYS {
            let message = format!("a provider has at most {MAX_PROVIDER_KEYS} keys");
            return Err(Invalid::at("keys", message));
        }
        let mut set = Self::default();
        for (name, key) in keys.iter().filter_map(named) {
            if set.get(name).is_some() {
                return Err(Invalid::at("keys", "two keys have the same `kid`"));
            }
            set.0.push((name.to_owned(), key));
        }
        if set.0.is_empty() {
            return Err(Invalid::at(
                "keys",
                "there is no key that can be used: RSA of 2048 to 4096 bits, P-256 or Ed25519, for signatures, with a \
                 `kid`",
            ));
        }
        Ok(set)
    }

    /// The key with this name.
    pub fn get(&self, name: &str) -> Option<&ProviderKey> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, key)| key)
    }
}

fn named(key: &Value) -> Option<(&str, ProviderKey)> {
    let members = key.as_object()?;
    let name = text(members, "kid")?;
    let fits = (1..=MAX_KID_BYTES).contains(&name.len());
    Some((name, ProviderKey::from_jwk(members)?)).filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::SigningKey;

    fn rsa(bits: usize) -> Value {
        let modulus = vec![0xff; bits / 8];
        json!({"kty": "RSA", "kid": "r", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(modulus)})
    }

    fn own(algorithm: Algorithm, kid: &str) -> Value {
        let key = SigningKey::from_seed(algorithm, &[7; 32]).unwrap();
        let mut jwk = key.public().to_jwk();
        jwk["kid"] = kid.into();
        jwk
    }

    fn kinds(keys: &[Value]) -> Result<Vec<SignatureKind>, String> {
        let set = ProviderKeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes());
        let set = set.map_err(|error| error.to_string())?;
        Ok(set.0.iter().map(|(_, key)| key.kind()).collect())
    }

    fn with(mut jwk: Value, name: &str, member: Value) -> Value {
        jwk[name] = member;
        jwk
    }

    #[test]
    fn a_set_of_all_kinds_is_read_with_members_that_nobody_here_knows() {
        let auth0 = with(rsa(2_048), "x5c", json!(["MIIC"]));
        let auth0 = with(with(auth0, "use", json!("sig")), "alg", json!("RS256"));
        let ec = with(own(Algorithm::Es256, "e"), "key_ops", json!(["verify"]));
        let ed = with(own(Algorithm::Ed25519, "o"), "alg", json!("Ed25519"));
        assert_eq!(kinds(&[auth0, ec, ed]), Ok(SignatureKind::ALL.to_vec()));
    }

    #[test]
    fn a_key_that_is_not_for_this_is_left_out_and_its_twin_is_not() {
        let ed = || own(Algorithm::Ed25519, "o");
        for wrong in [
            rsa(1_024),
            rsa(2_040),
            rsa(4_104),
            rsa(16_384),
            with(rsa(2_048), "e", json!("Aw")),
            with(rsa(2_048), "e", json!("AAEAAQ")),
            with(rsa(2_048), "n", json!(format!("AA{}", "_".repeat(340)))),
            with(rsa(2_048), "alg", json!("PS256")),
            with(rsa(2_048), "alg", json!("HS256")),
            with(rsa(2_048), "alg", json!(256)),
            with(rsa(2_048), "use", json!("enc")),
            with(rsa(2_048), "d", json!("AQAB")),
            with(rsa(2_048), "kid", json!("")),
            with(rsa(2_048), "kid", json!(7)),
            with(ed(), "crv", json!("X25519")),
            with(
                ed(),
                "x",
                json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ),
            with(ed(), "key_ops", json!(["sign"])),
            json!({"kty": "oct", "kid": "s", "k": "AQAB", "alg": "HS256"}),
            json!("RSA"),
        ] {
            assert_eq!(
                kinds(&[wrong.clone(), ed()]).map(|kinds| kinds.len()),
                Ok(1),
                "{wrong}"
            );
            assert!(kinds(&[wrong]).is_err());
        }
        for right in [rsa(2_048), rsa(3_072), rsa(4_096)] {
            assert_eq!(kinds(&[right, ed()]).map(|kinds| kinds.len()), Ok(2));
        }
    }

    #[test]
    fn two_keys_of_one_name_spoil_a_set_and_so_do_too_many() {
        assert!(kinds(&[own(Algorithm::Ed25519, "a"), own(Algorithm::Es256, "a")]).is_err());
        assert!(kinds(&[own(Algorithm::Ed25519, "a"), own(Algorithm::Es256, "b")]).is_ok());
        let many = |count: usize| -> Vec<Value> {
            (0..count)
                .map(|at| own(Algorithm::Ed25519, &format!("k{at}")))
                .collect()
        };
        assert!(kinds(&many(MAX_PROVIDER_KEYS)).is_ok());
        assert!(kinds(&many(MAX_PROVIDER_KEYS + 1)).is_err());
        for document in [
            "{}",
            "[]",
            "{\"keys\":{}}",
            "{\"keys\":[],\"keys\":[]}",
            "nothing",
        ] {
            assert!(
                ProviderKeySet::from_jwks(document.as_bytes()).is_err(),
                "{document}"
            );
        }
    }
}
