//! Who issues tokens, and whom they are about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::invalid::Invalid;
use crate::time::clip;
use crate::tool_server::Audience;

/// The longest subject in bytes (OpenID Connect Core, section 2).
const MAX_SUBJECT_BYTES: usize = 255;

/// Who issues tokens: a URL in one spelling, compared byte for byte (RFC 8414, section 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Issuer(Audience);

impl Issuer {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Where a server is found that was told nothing else: `http://localhost:3000`.
    pub fn localhost() -> Self {
        Self(Audience::localhost())
    }

    /// The issuer as the one whom a token is made out to.
    pub fn as_audience(&self) -> &Audience {
        &self.0
    }
}

impl FromStr for Issuer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |_| {
            Invalid::new(format!(
                "`{}` is no issuer: write a URL like `https://auth.example.com`, scheme and host in lower case, without \
                 user, query and fragment",
                clip(text)
            ))
        };
        text.parse().map(Self).map_err(wrong)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Issuer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Issuer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The human whom a token is about: an id of ours, or a pseudonym that only one tool server is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(Box<str>);

impl Subject {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=MAX_SUBJECT_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new(format!(
                "`{}` is no subject: 1 to {MAX_SUBJECT_BYTES} visible ASCII characters",
                clip(text)
            )))
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
