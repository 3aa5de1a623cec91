//! `requireApproval`: a human approves this very call first.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::invalid::Invalid;

/// How long a request for approval lives when nothing else is said, in seconds.
pub const DEFAULT_APPROVAL_TTL: u32 = 300;
/// The longest life of a request for approval in seconds: a week.
pub const MAX_APPROVAL_TTL: u32 = 7 * 86_400;

/// Every call needs an approval of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Approval {
    ttl_seconds: Option<u32>,
}

impl Approval {
    /// An approval whose request lives for so many seconds.
    ///
    /// # Errors
    /// When the life is not 1 to [`MAX_APPROVAL_TTL`] seconds.
    pub fn with_ttl(seconds: u32) -> Result<Self, Invalid> {
        if seconds == 0 || seconds > MAX_APPROVAL_TTL {
            return Err(Invalid::at(
                "ttlSeconds",
                format!("a request for approval lives for 1 to {MAX_APPROVAL_TTL} seconds"),
            ));
        }
        Ok(Self {
            ttl_seconds: Some(seconds),
        })
    }

    /// How long a request for this approval lives.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds.unwrap_or(DEFAULT_APPROVAL_TTL).into())
    }

    pub(super) fn narrower_than(self, parent: Self) -> Result<(), Invalid> {
        if self.ttl() <= parent.ttl() {
            Ok(())
        } else {
            Err(Invalid::at(
                "ttlSeconds",
                format!(
                    "must not be above the parent's {} seconds",
                    parent.ttl().as_secs()
                ),
            ))
        }
    }
}

impl Serialize for Approval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.ttl_seconds {
            None => serializer.serialize_bool(true),
            Some(seconds) => serializer.collect_map([("ttlSeconds", seconds)]),
        }
    }
}

impl<'de> Deserialize<'de> for Approval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Approval;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true` or an object with `ttlSeconds`")
    }

    fn visit_bool<E: de::Error>(self, required: bool) -> Result<Approval, E> {
        if required {
            Ok(Approval::default())
        } else {
            Err(E::custom(
                "`false` takes nothing back; leave the member out when no approval is needed",
            ))
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<Approval, A::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Wire {
            ttl_seconds: u32,
        }
        let wire = Wire::deserialize(MapAccessDeserializer::new(members))?;
        Approval::with_ttl(wire.ttl_seconds).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn approval(value: &serde_json::Value) -> Approval {
        Approval::deserialize(value).unwrap()
    }

    #[test]
    fn what_is_no_clear_requirement_is_refused() {
        for value in [
            json!(false),
            json!(null),
            json!(1),
            json!("true"),
            json!({}),
            json!([300]),
            json!({"ttlSeconds": 0}),
            json!({"ttlSeconds": MAX_APPROVAL_TTL + 1}),
            json!({"ttlSeconds": 60, "by": "me"}),
        ] {
            assert!(Approval::deserialize(&value).is_err(), "{value}");
        }
        for value in [json!(true), json!({"ttlSeconds": 60})] {
            assert_eq!(serde_json::to_value(approval(&value)).unwrap(), value);
        }
    }

    #[test]
    fn a_narrower_approval_waits_no_longer() {
        let long = approval(&json!({"ttlSeconds": 600}));
        let short = approval(&json!({"ttlSeconds": 60}));
        let plain = approval(&json!(true));
        assert_eq!(plain.ttl(), Duration::from_secs(300));
        for (child, parent, narrower) in [
            (plain, plain, true),
            (plain, long, true),
            (plain, short, false),
            (short, plain, true),
            (long, plain, false),
        ] {
            assert_eq!(child.narrower_than(parent).is_ok(), narrower, "{child:?}");
        }
    }
}
