//! The signed head of a revocation log (`kvf+jwt`): the one thing of the feed that must be believed.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::wire::{FollowerName, Nonce, bytes};
use super::{Lease, LogHead};
use crate::time::Timestamp;
use crate::token::jws::{self, Purpose};
use crate::token::{Failure, Issuer, KeySet, SigningKey};

/// What an issuer's log came to, as it says to one follower that has just asked.
///
/// The issuer signs one only from a read of its primary store that begins after the nonce has arrived: a head with my
/// nonce is younger than my question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedHead {
    /// Whose log it is.
    pub issuer: Issuer,
    /// In which epoch; a restored backup starts a new one.
    pub epoch: u64,
    /// The last record, and the hash over all of them.
    pub head: LogHead,
    /// When it was signed, by the issuer's clock.
    pub time: Timestamp,
    /// The longest lease that the issuer gives.
    pub lease_max: Lease,
    /// The nonce of the question.
    pub nonce: Nonce,
    /// Who asked.
    pub follower: FollowerName,
    /// The [digest](super::digest_of) of the snapshot that it goes with; `None` with the answer to a poll.
    pub set: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Claims {
    iss: Issuer,
    epoch: u64,
    rseq: u64,
    #[serde(with = "bytes")]
    rhash: [u8; 32],
    time: Micros,
    lease_max: Lease,
    nonce: Nonce,
    follower: FollowerName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Digest(#[serde(with = "bytes")] [u8; 32]);

/// Whole microseconds since 1970: with them a clock that lags is put right.
struct Micros(Timestamp);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.as_micros())
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let micros = i64::deserialize(deserializer)?;
        let time = Timestamp::from_micros(micros);
        if time.as_micros() == micros {
            Ok(Self(time))
        } else {
            Err(de::Error::custom(
                "a time is a number of microseconds since 1970",
            ))
        }
    }
}

impl FeedHead {
    /// The signed text.
    pub fn sign(&self, key: &SigningKey) -> String {
        let claims = Claims {
            iss: self.issuer.clone(),
            epoch: self.epoch,
            rseq: self.head.rseq,
            rhash: self.head.rhash,
            time: Micros(self.time),
            lease_max: self.lease_max,
            nonce: self.nonce.clone(),
            follower: self.follower.clone(),
            set: self.set.map(Digest),
        };
        jws::sign(Purpose::FeedHead, &claims, key)
    }

    /// Reads a head of an issuer, signed by one of its feed keys. Whether it is the answer to a question of mine is
    /// another matter.
    ///
    /// # Errors
    /// As [`crate::token::Leaf::open`]: form, type, algorithm, key, signature, claims.
    pub fn open(text: &str, issuer: &Issuer, feed_keys: &KeySet) -> Result<Self, Failure> {
        let claims: Claims = jws::split(text, Purpose::FeedHead)?.open(feed_keys)?;
        if claims.iss != *issuer {
            return Err(Failure::malformed("the head names another issuer"));
        }
        Ok(Self {
            issuer: claims.iss,
            epoch: claims.epoch,
            head: LogHead {
                rseq: claims.rseq,
                rhash: claims.rhash,
            },
            time: claims.time.0,
            lease_max: claims.lease_max,
            nonce: claims.nonce,
            follower: claims.follower,
            set: claims.set.map(|Digest(set)| set),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::token::{Algorithm, Code};

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(Algorithm::Ed25519, &[byte; 32]).unwrap()
    }

    fn keys() -> KeySet {
        KeySet::new([key(1).public().clone()]).unwrap()
    }

    fn issuer() -> Issuer {
        "https://auth.example.com".parse().unwrap()
    }

    fn head() -> FeedHead {
        FeedHead {
            issuer: issuer(),
            epoch: 2,
            head: LogHead {
                rseq: 7,
                rhash: [9; 32],
            },
            time: Timestamp::from_micros(1_795_255_200_000_001),
            lease_max: Lease::from_seconds(10).unwrap(),
            nonce: "n".parse().unwrap(),
            follower: "tools".parse().unwrap(),
            set: None,
        }
    }

    fn claims() -> Value {
        json!({"iss": "https://auth.example.com", "epoch": 2, "rseq": 7,
            "rhash": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk", "time": 1_795_255_200_000_001_i64,
            "leaseMax": 10, "nonce": "n", "follower": "tools"})
    }

    fn open(text: &str) -> Result<FeedHead, Code> {
        FeedHead::open(text, &issuer(), &keys()).map_err(|failure| failure.code)
    }

    #[test]
    fn a_head_is_read_as_it_was_signed() {
        let with_set = FeedHead {
            set: Some([3; 32]),
            ..head()
        };
        for head in [head(), with_set] {
            assert_eq!(open(&head.sign(&key(1))), Ok(head));
        }
        let signed = jws::sign(Purpose::FeedHead, &claims(), &key(1));
        assert_eq!(open(&signed), Ok(head()));
    }

    #[test]
    fn another_key_issuer_or_purpose_is_refused() {
        assert_eq!(open(&head().sign(&key(2))), Err(Code::UnknownKey));
        let other = FeedHead {
            issuer: "https://other.example.com".parse().unwrap(),
            ..head()
        };
        assert_eq!(open(&other.sign(&key(1))), Err(Code::Malformed));
        for purpose in [Purpose::Leaf, Purpose::Root] {
            let signed = jws::sign(purpose, &claims(), &key(1));
            assert_eq!(open(&signed), Err(Code::WrongType));
        }
    }

    #[test]
    fn claims_are_read_strictly() {
        let open = |claims: &Value| open(&jws::sign(Purpose::FeedHead, claims, &key(1)));
        assert!(open(&claims()).is_ok());
        let members = claims();
        for name in members.as_object().unwrap().keys() {
            let mut without = members.clone();
            without.as_object_mut().unwrap().remove(name);
            assert_eq!(open(&without), Err(Code::Malformed), "{name}");
        }
        for (name, wrong) in [
            ("exp", json!(1)),
            ("epoch", json!(-1)),
            ("rseq", json!(1.5)),
            ("rhash", json!("CQkJ")),
            ("time", json!(-1)),
            ("time", json!(Timestamp::MAX.as_micros() + 1)),
            ("leaseMax", json!(0)),
            ("leaseMax", json!(61)),
            ("nonce", json!("")),
            ("nonce", json!("n".repeat(129))),
            ("follower", json!("two words")),
            ("set", json!("AAAA")),
        ] {
            let mut claims = claims();
            claims[name] = wrong.clone();
            assert_eq!(open(&claims), Err(Code::Malformed), "{name}: {wrong}");
        }
    }
}
