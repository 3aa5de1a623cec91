//! The keys with which a client signs who it is, as it wrote them down (RFC 7591, section 2, `jwks`): of each only what is
//! needed, and only keys that verify.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::id_token::{ProviderKey, SignatureKind, is_private};
use crate::invalid::Invalid;

/// The most keys of one client: some are about to be replaced.
pub const MAX_CLIENT_KEYS: usize = 10;
/// The longest name of a key, in bytes.
const MAX_KID_BYTES: usize = 256;

/// A client's keys, with the names that it gives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub struct ClientKeys(Vec<(Option<String>, ProviderKey)>);

impl ClientKeys {
    /// Reads a set. Keys for other uses, of other kinds or sizes are left out (RFC 7517, section 5).
    ///
    /// # Errors
    /// It is no set, has too many keys, a private one, two of one name, or none that can be used.
    pub fn from_jwks(set: &Value) -> Result<Self, Invalid> {
        let keys = (set.get("keys").and_then(Value::as_array))
            .ok_or_else(|| Invalid::new("is no object with a list `keys`"))?;
        if keys.len() > MAX_CLIENT_KEYS {
            return Err(Invalid::new(format!(
                "holds more than {MAX_CLIENT_KEYS} keys"
            )));
        }
        let mut known: Vec<(Option<String>, ProviderKey)> = Vec::new();
        for members in keys.iter().filter_map(Value::as_object) {
            if is_private(members) {
                return Err(Invalid::new(
                    "holds a private key or a shared secret, which is lost now: make another key, and write down its public part \
                     alone",
                ));
            }
            let kid = members.get("kid").and_then(Value::as_str);
            let fits = kid.is_none_or(|kid| (1..=MAX_KID_BYTES).contains(&kid.len()));
            let Some(key) = ProviderKey::from_jwk(members).filter(|_| fits) else {
                continue;
            };
            if kid.is_some() && known.iter().any(|(name, _)| name.as_deref() == kid) {
                return Err(Invalid::new("holds two keys with the same `kid`"));
            }
            known.push((kid.map(str::to_owned), key));
        }
        Self(known).used()
    }

    /// Those of one kind.
    ///
    /// # Errors
    /// There is none.
    pub fn of_kind(self, name: &str) -> Result<Self, Invalid> {
        let kind = SignatureKind::named(name);
        let mut keys = self.0;
        keys.retain(|(_, key)| Some(key.kind()) == kind);
        Self(keys).used()
    }

    fn used(self) -> Result<Self, Invalid> {
        match self.0.is_empty() {
            true => Err(Invalid::new(
                "holds no key that can be used: Ed25519, P-256, or RSA of 2048 to 4096 bits, for signatures",
            )),
            false => Ok(self),
        }
    }

    /// Whether every key of another set is in this one.
    pub(super) fn holds(&self, others: &Self) -> bool {
        others.0.iter().all(|key| self.0.contains(key))
    }

    /// Those with which something was signed in this way: the one with the name that is said, where one is.
    pub(super) fn fitting(
        &self,
        kid: Option<&str>,
        kind: SignatureKind,
    ) -> impl Iterator<Item = &ProviderKey> {
        let fits = move |(name, key): &&(Option<String>, ProviderKey)| {
            key.kind() == kind && kid.is_none_or(|kid| name.as_deref() == Some(kid))
        };
        self.0.iter().filter(fits).map(|(_, key)| key)
    }
}

impl From<ClientKeys> for Value {
    fn from(keys: ClientKeys) -> Self {
        let keys = keys.0.into_iter().map(|(kid, key)| {
            let mut jwk = key.to_jwk();
            if let (Some(kid), Some(members)) = (kid, jwk.as_object_mut()) {
                members.insert("kid".to_owned(), kid.into());
            }
            jwk
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

impl TryFrom<Value> for ClientKeys {
    type Error = Invalid;

    fn try_from(set: Value) -> Result<Self, Invalid> {
        Self::from_jwks(&set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Algorithm, SigningKey};

    fn own(algorithm: Algorithm) -> Value {
        let key = SigningKey::from_seed(algorithm, &[7; 32]).unwrap();
        key.public().to_jwk()
    }

    fn with(mut jwk: Value, member: &str, value: Value) -> Value {
        jwk[member] = value;
        jwk
    }

    fn read(keys: &[Value]) -> Result<ClientKeys, Invalid> {
        ClientKeys::from_jwks(&json!({ "keys": keys }))
    }

    #[test]
    fn a_set_is_stored_as_it_was_read_and_without_what_nobody_needs() {
        let named = with(own(Algorithm::Es256), "kid", json!("a"));
        let other = json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" });
        let keys = read(&[
            with(named, "x5c", json!(["MII"])),
            own(Algorithm::Ed25519),
            other,
        ])
        .unwrap();
        let stored = serde_json::to_string(&keys).unwrap();
        assert!(!stored.contains("x5c") && !stored.contains("P-384"));
        assert_eq!(serde_json::from_str::<ClientKeys>(&stored).unwrap(), keys);
        let count = |kid, kind| keys.fitting(kid, kind).count();
        assert_eq!(count(Some("a"), SignatureKind::Es256), 1);
        assert_eq!(count(None, SignatureKind::Es256), 1);
        assert_eq!(count(None, SignatureKind::EdDsa), 1);
        assert_eq!(count(Some("a"), SignatureKind::EdDsa), 0);
        assert_eq!(count(Some("b"), SignatureKind::Es256), 0);
        assert_eq!(count(None, SignatureKind::Rs256), 0);
        assert!(keys.clone().of_kind("ES256").is_ok());
        for other in ["RS256", "HS256", "none"] {
            assert!(keys.clone().of_kind(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_no_set_of_public_keys_is_refused() {
        let key = || own(Algorithm::Ed25519);
        let named = |kid: &str| with(key(), "kid", json!(kid));
        for set in [json!({}), json!([]), json!("x"), json!({ "keys": {} })] {
            assert!(ClientKeys::from_jwks(&set).is_err(), "{set}");
        }
        for keys in [
            vec![],
            vec![json!({ "kty": "oct", "k": "AQAB" }), key()],
            vec![with(key(), "d", json!("AQAB"))],
            vec![with(key(), "use", json!("enc"))],
            vec![named(""), named(&"k".repeat(257))],
            vec![named("a"), named("a")],
            (0..=MAX_CLIENT_KEYS)
                .map(|at| named(&at.to_string()))
                .collect(),
        ] {
            assert!(read(&keys).is_err(), "{keys:?}");
        }
        assert!(read(&[named("a"), named("b"), key(), key()]).is_ok());
    }
}
