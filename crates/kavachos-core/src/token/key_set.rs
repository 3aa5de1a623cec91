//! Sets of public keys as they are published (RFC 7517, section 5).

use serde_json::{Value, json};

use super::key::{PublicKey, Thumbprint};
use crate::invalid::Invalid;
use crate::json;

/// The most keys of one set.
pub const MAX_KEYS: usize = 32;

/// The public keys of an issuer for one purpose, by their thumbprints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet(Vec<(Thumbprint, PublicKey)>);

impl KeySet {
    /// A set of these keys; one that stands twice counts once.
    ///
    /// # Errors
    /// There are more than [`MAX_KEYS`].
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Result<Self, Invalid> {
        let mut set = Self::default();
        for key in keys {
            let name = key.thumbprint();
            if set.get(&name).is_some() {
                continue;
            }
            if set.0.len() == MAX_KEYS {
                return Err(Invalid::new(format!("a set has at most {MAX_KEYS} keys")));
            }
            set.0.push((name, key));
        }
        Ok(set)
    }

    /// The key with this name.
    pub fn get(&self, name: &Thumbprint) -> Option<&PublicKey> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, key)| key)
    }

    /// The keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter().map(|(_, key)| key)
    }

    /// The names, in the order of the set.
    pub fn names(&self) -> impl Iterator<Item = Thumbprint> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set as it is published.
    pub fn to_jwks(&self) -> Value {
        json!({"keys": self.jwks()})
    }

    /// Its keys as they are published, each with `kid`, `alg` and `use`.
    pub fn jwks(&self) -> Vec<Value> {
        let keys = self.0.iter().map(|(name, key)| {
            let mut jwk = key.to_jwk();
            if let Some(members) = jwk.as_object_mut() {
                members.insert("kid".to_owned(), name.to_string().into());
                members.insert("alg".to_owned(), key.algorithm().as_str().into());
                members.insert("use".to_owned(), "sig".into());
            }
            jwk
        });
        keys.collect()
    }

    /// Reads a published set. Keys of kinds that are not known here are left out (RFC 7517, section 5).
    ///
    /// # Errors
    /// The text is no set, a key of a known kind is wrong or has a `kid` that is not its thumbprint, or there are none
    /// that are known, or too many.
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, Invalid> {
        let document = json::parse(bytes)?;
        let keys = (document.get("keys").and_then(Value::as_array))
            .ok_or_else(|| Invalid::new("a key set is an object with a list `keys`"))?;
        if keys.len() > MAX_KEYS {
            return Err(Invalid::new(format!("a set has at most {MAX_KEYS} keys")));
        }
        let known = keys.iter().enumerate().filter(|(_, key)| is_known(key));
        let read = known.map(|(index, key)| {
            read_named(key).map_err(|error| error.within(&format!("keys[{index}]")))
        });
        let set = Self::new(read.collect::<Result<Vec<_>, _>>()?)?;
        if set.is_empty() {
            return Err(Invalid::at(
                "keys",
                "there is no key of a kind that is known here",
            ));
        }
        Ok(set)
    }
}

fn is_known(key: &Value) -> bool {
    let member = |name| key.get(name).and_then(Value::as_str);
    matches!(
        (member("kty"), member("crv")),
        (Some("OKP"), Some("Ed25519")) | (Some("EC"), Some("P-256"))
    )
}

fn read_named(jwk: &Value) -> Result<PublicKey, Invalid> {
    let key = PublicKey::from_jwk(jwk)?;
    let name = key.thumbprint().to_string();
    if jwk.get("kid").and_then(Value::as_str) == Some(&name) {
        Ok(key)
    } else {
        Err(Invalid::at(
            "kid",
            "the name of a key is its thumbprint (RFC 7638)",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::key::{Algorithm, SigningKey};

    fn key(byte: u8) -> PublicKey {
        let algorithm = Algorithm::ALL[usize::from(byte % 2)];
        SigningKey::from_seed(algorithm, &[byte; 32])
            .unwrap()
            .public()
            .clone()
    }

    #[test]
    fn a_set_is_read_back_as_it_was_published() {
        let set = KeySet::new([key(1), key(2), key(1)]).unwrap();
        assert_eq!(set.names().count(), 2);
        assert_eq!(
            KeySet::from_jwks(set.to_jwks().to_string().as_bytes()),
            Ok(set)
        );
    }

    #[test]
    fn a_key_under_another_name_is_refused_and_an_unknown_kind_left_out() {
        let read = |document: &Value| KeySet::from_jwks(document.to_string().as_bytes());
        let mut document = KeySet::new([key(1), key(2)]).unwrap().to_jwks();
        document["keys"][1] = json!({"kty": "RSA", "kid": "a", "n": "AAAA", "e": "AQAB"});
        assert_eq!(read(&document).unwrap().names().count(), 1);
        document["keys"][0]["kid"] = key(2).thumbprint().to_string().into();
        assert_eq!(read(&document).unwrap_err().field(), "keys[0].kid");
        assert!(read(&json!({"keys": []})).is_err());
        assert!(read(&json!({"keys": {}})).is_err());
        assert!(read(&json!([])).is_err());
        let many: Vec<u8> = (0..=32).collect();
        assert!(KeySet::new(many.into_iter().map(key)).is_err());
    }
}
