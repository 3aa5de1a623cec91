//! What followers of the revocation log and the issuer say to each other, in JSON.
//!
//! Nothing here is signed but the `head` of an answer. Records are believed because the head's hash goes over them, a
//! snapshot because the head has its digest. To read one of these from a text, read a [`Object`] of it, which
//! takes an object only.

use std::fmt;
use std::str::FromStr;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Handle, HandleKind, LogHead, Mark};
use crate::base64url::decode_array;
use crate::invalid::Invalid;
use crate::json::Object;
use crate::time::clip;
use crate::tool_server::MAX_AUDIENCE_BYTES;

/// The most records of one answer to a poll.
pub const MAX_RECORDS: usize = 1_000;
/// The most marks of one snapshot.
pub const MAX_SNAPSHOT_MARKS: usize = 4_000_000;

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: 1..=$most:expr, $fits:expr, $rule:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The most bytes of one.
            pub const MAX_BYTES: usize = $most;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let fits: fn(u8) -> bool = $fits;
                if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(fits) {
                    Ok(Self(text.into()))
                } else {
                    let message = format!(
                        concat!("`{}` does not fit: 1 to {} ", $rule),
                        clip(text),
                        Self::MAX_BYTES
                    );
                    Err(Invalid::new(message))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )* };
}

texts! {
    /// What a follower asks with, so that the answer is known to be younger than the question. Never used twice: make
    /// it of 16 random bytes or more.
    Nonce: 1..=128, |byte| byte.is_ascii_graphic(), "visible ASCII characters";
    /// One run of a follower's process, which makes it up when it starts: by it the issuer tells apart the processes of
    /// one follower when it counts who knows of a kill.
    Instance: 1..=64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'), "of `A-Z a-z 0-9 _ -`";
    /// What the issuer calls a follower, by whose credential it asks: a head is made out to one follower.
    FollowerName: 1..=MAX_AUDIENCE_BYTES, |byte| byte.is_ascii_graphic(), "visible ASCII characters";
}

/// One kill of the log. On the wire `{"rseq": 7, "kind": 5, "handle": "AQEBAQEBAQEBAQEBAQEBAQ", "generation": 3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "WireRecord", try_from = "Object<WireRecord>")]
pub struct Record {
    /// Its number in the log, from 1 on, without gaps.
    pub rseq: u64,
    /// The lowest generation of the handle that lives after it.
    pub kill: Mark,
}

/// A follower's question: what is new after the state that I have?
///
/// `epoch`, `rseq` and `rhash` are what it has applied. They are also its acknowledgement, which counts only if the
/// hash is the log's: a follower that took a forged record in knows of something else than what was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PollRequest {
    /// Stands in the head of the answer.
    pub nonce: Nonce,
    /// Which process asks.
    pub instance: Instance,
    /// The epoch of what it has applied; 0 when it has nothing yet.
    pub epoch: u64,
    /// The last record that it has applied.
    pub rseq: u64,
    /// The hash of the log up to that record, base64url.
    #[serde(with = "bytes")]
    pub rhash: [u8; 32],
}

impl PollRequest {
    /// The head of what has been applied.
    pub fn applied(&self) -> LogHead {
        LogHead {
            rseq: self.rseq,
            rhash: self.rhash,
        }
    }
}

/// The issuer's answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PollAnswer {
    /// A signed [head](super::FeedHead) that was read after the question came.
    pub head: String,
    /// The records after the one that was asked from, at most [`MAX_RECORDS`], none past the head.
    pub records: Vec<Record>,
    /// Whether there are more of them up to the head: apply these and ask again.
    pub more: bool,
    /// Whether what the follower has cannot be continued (another epoch, another hash, records that are no longer
    /// kept): there are no records then, and it must ask for a snapshot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot_needed: bool,
}

/// A follower's question for everything that was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotRequest {
    /// Stands in the head of the answer.
    pub nonce: Nonce,
    /// Which process asks.
    pub instance: Instance,
}

/// The issuer's answer with everything that was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotAnswer {
    /// A signed [head](super::FeedHead) that was read after the question came, with the [digest](super::digest_of) of
    /// the records.
    pub head: String,
    /// The highest generation of each handle that was killed, at most [`MAX_SNAPSHOT_MARKS`], best in the order of kind
    /// and handle.
    pub records: Vec<Mark>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRecord {
    rseq: u64,
    kind: u8,
    #[serde(with = "bytes")]
    handle: [u8; 16],
    generation: u64,
}

impl From<Record> for WireRecord {
    fn from(record: Record) -> Self {
        let Mark { handle, generation } = record.kill;
        Self {
            rseq: record.rseq,
            kind: handle.kind as u8,
            handle: handle.bytes,
            generation,
        }
    }
}

impl TryFrom<Object<WireRecord>> for Record {
    type Error = Invalid;

    fn try_from(Object(wire): Object<WireRecord>) -> Result<Self, Invalid> {
        Ok(Self {
            rseq: wire.rseq,
            kill: mark(wire.kind, wire.handle, wire.generation)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireMark {
    kind: u8,
    #[serde(with = "bytes")]
    handle: [u8; 16],
    generation: u64,
}

impl From<Mark> for WireMark {
    fn from(Mark { handle, generation }: Mark) -> Self {
        Self {
            kind: handle.kind as u8,
            handle: handle.bytes,
            generation,
        }
    }
}

impl TryFrom<Object<WireMark>> for Mark {
    type Error = Invalid;

    fn try_from(Object(wire): Object<WireMark>) -> Result<Self, Invalid> {
        mark(wire.kind, wire.handle, wire.generation)
    }
}

fn mark(kind: u8, bytes: [u8; 16], generation: u64) -> Result<Mark, Invalid> {
    let kind = HandleKind::try_from(i64::from(kind))
        .map_err(|error| Invalid::at("kind", error.message()))?;
    Ok(Mark {
        handle: Handle { kind, bytes },
        generation,
    })
}

/// A fixed number of bytes as base64url without padding, in its one spelling.
pub(super) mod bytes {
    use base64::Engine as _;

    use super::{Deserialize, Deserializer, Serializer, URL_SAFE_NO_PAD, de, decode_array};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        decode_array(&text)
            .ok_or_else(|| de::Error::custom(format!("it is not {N} bytes in base64url")))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_json::from_str::<Object<T>>(text)
            .map(|Object(read)| read)
            .map_err(|error| error.to_string())
    }

    fn record() -> Record {
        Record {
            rseq: 7,
            kill: Mark {
                handle: Handle {
                    kind: HandleKind::Agent,
                    bytes: [1; 16],
                },
                generation: 3,
            },
        }
    }

    #[test]
    fn records_and_marks_have_one_form() {
        let wire = r#"{"rseq":7,"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAQ","generation":3}"#;
        assert_eq!(serde_json::to_string(&record()).unwrap(), wire);
        assert_eq!(read(wire), Ok(record()));
        let wire = r#"{"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAQ","generation":3}"#;
        assert_eq!(serde_json::to_string(&record().kill).unwrap(), wire);
        assert_eq!(read(wire), Ok(record().kill));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for wire in [
            r#"{"rseq":7,"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAQ","generation":3,"why":1}"#,
            r#"{"rseq":7,"rseq":7,"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAQ","generation":3}"#,
            r#"{"rseq":7,"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAQ"}"#,
            r#"{"rseq":7,"kind":0,"handle":"AQEBAQEBAQEBAQEBAQEBAQ","generation":3}"#,
            r#"{"rseq":7,"kind":7,"handle":"AQEBAQEBAQEBAQEBAQEBAQ","generation":3}"#,
            r#"{"rseq":-7,"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAQ","generation":3}"#,
            r#"{"rseq":7,"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAR","generation":3}"#,
            r#"{"rseq":7,"kind":5,"handle":"AQEBAQEBAQEBAQEBAQEBAQ==","generation":3}"#,
            r#"{"rseq":7,"kind":5,"handle":"AQEB","generation":3}"#,
            r#"[7,5,"AQEBAQEBAQEBAQEBAQEBAQ",3]"#,
        ] {
            assert!(serde_json::from_str::<Record>(wire).is_err(), "{wire}");
        }
    }

    #[test]
    fn questions_and_answers_are_read_as_they_are_written() {
        let poll = PollRequest {
            nonce: "n-1".parse().unwrap(),
            instance: "i_1".parse().unwrap(),
            epoch: 1,
            rseq: 0,
            rhash: [0; 32],
        };
        let wire = json!({"nonce": "n-1", "instance": "i_1", "epoch": 1, "rseq": 0,
            "rhash": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
        assert_eq!(serde_json::to_value(&poll).unwrap(), wire);
        assert_eq!(read(&wire.to_string()), Ok(poll));

        let mut answer = PollAnswer {
            head: "h".to_owned(),
            records: vec![record()],
            more: false,
            snapshot_needed: false,
        };
        let wire = json!({"head": "h", "records": [record()], "more": false});
        assert_eq!(serde_json::to_value(&answer).unwrap(), wire);
        assert_eq!(read(&wire.to_string()), Ok(answer.clone()));
        (answer.snapshot_needed, answer.records) = (true, Vec::new());
        let wire = json!({"head": "h", "records": [], "more": false, "snapshotNeeded": true});
        assert_eq!(serde_json::to_value(&answer).unwrap(), wire);
        assert_eq!(read(&wire.to_string()), Ok(answer));
        let unknown = json!({"head": "h", "records": [], "more": false, "reason": "none"});
        assert!(read::<PollAnswer>(&unknown.to_string()).is_err());
    }

    #[test]
    fn names_have_their_lengths_and_characters() {
        assert!("n".repeat(128).parse::<Nonce>().is_ok());
        for wrong in ["", " ", "ä", "a\n", &"n".repeat(129)] {
            assert!(wrong.parse::<Nonce>().is_err(), "{wrong}");
        }
        assert!("aZ09_-".parse::<Instance>().is_ok());
        for wrong in ["", "a.b", &"i".repeat(65)] {
            assert!(wrong.parse::<Instance>().is_err(), "{wrong}");
        }
        assert!(
            "https://tools.example.com/mcp"
                .parse::<FollowerName>()
                .is_ok()
        );
        assert!("two words".parse::<FollowerName>().is_err());
    }
}
