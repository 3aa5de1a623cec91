//! By what a client is known: an id that was made here, or the address of the document in which it says what it is.
//!
//! Promises: one is never read as the other, since no id that is made here is an address; an address has one spelling.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::redirect::{RedirectKind, RedirectUri};
use crate::id::RegisteredClientId;
use crate::invalid::Invalid;
use crate::json;
use crate::time::clip;

/// The longest id, in bytes.
pub const MAX_CLIENT_ID_BYTES: usize = 512;

/// By what a client is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the address of a document.
    pub fn is_document(&self) -> bool {
        self.0.contains("://")
    }

    /// The host whose word the document is, with its port; `None` of a client that was registered.
    pub fn host(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once("://")?;
        rest.split('/').next()
    }

    /// The id that stands for all documents of its host, whatever the port: an operator may deny that. `None` of a client that
    /// was registered.
    pub fn all_of_host(&self) -> Option<Self> {
        let (scheme, _) = self.0.split_once("://")?;
        let authority = self.host()?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        Some(Self(format!("{scheme}://{host}/*").into()))
    }

    /// The host, with its scheme (`https://app.example.com`), for all of whose documents it stands, as [`Self::all_of_host`] makes
    /// it; `None` of an id that stands for one client.
    pub fn whole_host(&self) -> Option<&str> {
        self.0.strip_suffix("/*")
    }
}

impl From<RegisteredClientId> for ClientId {
    fn from(id: RegisteredClientId) -> Self {
        Self(id.to_string().into())
    }
}

impl FromStr for ClientId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.parse::<RegisteredClientId>().is_ok() || is_address(text) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new(format!(
            "`{}` is no client: write an id that was given here, or the `https` address of a metadata document, with a path \
             and without query",
            clip(text)
        )))
    }
}

/// Of `https`, or of this machine without it, where that is let (which is not decided here).
fn is_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<RedirectUri>() else {
        return false;
    };
    let Some((_, path)) = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
    else {
        return false;
    };
    text.len() <= MAX_CLIENT_ID_BYTES
        && uri.kind() != RedirectKind::Private
        && has_one_spelling(text)
        && !path.is_empty()
        && !text.contains('?')
}

/// Whether its host is written as it is by all: whoever keeps one out keeps out all of its spellings.
fn has_one_spelling(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let address = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    let is_plain =
        |address: &str| (address.parse::<Ipv6Addr>()).is_ok_and(|read| read.to_string() == address);
    !authority.ends_with(default_port) && address.is_none_or(is_plain)
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ClientId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_ours_or_an_address() {
        let ours: ClientId = "client_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        assert!(!ours.is_document());
        assert_eq!(ours.host(), None);
        let document: ClientId = "https://app.example.com:8443/oauth/client.json"
            .parse()
            .unwrap();
        assert!(document.is_document());
        assert_eq!(document.host(), Some("app.example.com:8443"));
        for text in [
            "http://127.0.0.1:8080/client.json",
            "https://127.0.0.1:80/client.json",
            "https://app.example.com:4430/client.json",
            "https://[2606:4700::1111]:8443/client.json",
        ] {
            assert!(text.parse::<ClientId>().is_ok(), "{text}");
        }
    }

    #[test]
    fn all_documents_of_a_host_have_one_name() {
        for (one, all) in [
            ("https://app.example.com/c", "https://app.example.com/*"),
            (
                "https://app.example.com:8443/a/b",
                "https://app.example.com/*",
            ),
            ("https://[2606:4700::1111]/c", "https://[2606:4700::1111]/*"),
            (
                "https://[2606:4700::1111]:8443/c",
                "https://[2606:4700::1111]/*",
            ),
            ("https://app.example.com/*", "https://app.example.com/*"),
        ] {
            let one: ClientId = one.parse().unwrap();
            let all: ClientId = all.parse().unwrap();
            assert_eq!(one.whole_host().is_some(), one == all);
            assert_eq!(one.all_of_host(), Some(all));
        }
        let ours: ClientId = "client_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        assert_eq!((ours.all_of_host(), ours.whole_host()), (None, None));
        let all: ClientId = "https://app.example.com/*".parse().unwrap();
        assert_eq!(all.whole_host(), Some("https://app.example.com"));
    }

    #[test]
    fn nothing_else_is_one() {
        for text in [
            "",
            "client",
            "client_",
            "CLIENT_01h455vb4pex5vsknk084sn02q",
            "agent_01h455vb4pex5vsknk084sn02q",
            "https://app.example.com",
            "https://app.example.com/",
            "https://app.example.com:443/c",
            "http://127.0.0.1:80/c",
            "https://[2606:4700:0::1111]/c",
            "https://[::1]:443/c",
            "https://app.example.com./c",
            "https://app.example.com/c?x=y",
            "https://app.example.com?/c",
            "https://app.example.com/c#x",
            "https://app.example.com/a/../c",
            "https://app.example.com/%2e%2e/c",
            "https://user@app.example.com/c",
            "https://APP.example.com/c",
            "http://app.example.com/c",
            "ftp://app.example.com/c",
            "com.example.app:/c",
            "javascript:alert(1)",
            "https://app.example.com/c\n",
        ] {
            assert!(text.parse::<ClientId>().is_err(), "{text:?}");
        }
        let long = format!(
            "https://app.example.com/{}",
            "a".repeat(MAX_CLIENT_ID_BYTES)
        );
        assert!(long.parse::<ClientId>().is_err());
    }
}
