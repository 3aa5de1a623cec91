//! Addresses that mail goes to and comes from: one plain form, so that nothing can be put into a header by them.

use std::fmt;
use std::str::FromStr;

use kavachos_core::invalid::Invalid;
use kavachos_core::time::clip;
use serde::{Deserialize, Serialize};

use crate::text;

/// The longest part before the `@`, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;
/// The longest whole address, in bytes (RFC 5321, 4.5.3.1.3).
const MAX_BYTES: usize = 254;
/// The longest label of a domain, in bytes (RFC 1035, 2.3.4).
const MAX_LABEL_BYTES: usize = 63;
/// The longest name before an address, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// An address that mail can be sent to: `ada@example.com`, in lower case.
///
/// Only the plain form of RFC 5321: a dot-string before the `@`, without quotes and comments, and a domain of letters,
/// digits and hyphens. Everything is ASCII: what is not would look like another address, and few servers take it; a domain
/// has its `xn--` form. Without `Display`, and `Debug` shows nothing of it: an address belongs in no log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(..)")
    }
}

impl FromStr for EmailAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why| Err(Invalid::at("email", why));
        if text.len() > MAX_BYTES {
            return wrong("is longer than 254 bytes");
        }
        let Some((local, domain)) = text.split_once('@') else {
            return wrong("this is no e-mail address like `ada@example.com`");
        };
        if !is_local(local) {
            return wrong(
                "what stands before the `@` must be letters, digits and signs of ASCII, at most 64, with single dots between \
                 them",
            );
        }
        if !is_domain(domain) {
            return wrong(
                "what stands behind the `@` must be a domain like `example.com`; write one with other letters in its `xn--` \
                 form",
            );
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

/// A dot-string (RFC 5321, 4.1.2).
fn is_local(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    text.len() <= MAX_LOCAL_BYTES
        && (text.split('.')).all(|atom| !atom.is_empty() && atom.bytes().all(sign))
}

/// Labels of letters, digits and hyphens with dots between them; the last one is no number, so that it is no address.
fn is_domain(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(sign)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whom mail is from: `Example <auth@example.com>`, or an address alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    name: Option<String>,
    address: EmailAddress,
}

impl Mailbox {
    /// The name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address.
    pub fn address(&self) -> &EmailAddress {
        &self.address
    }
}

impl FromStr for Mailbox {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some(rest) = text.trim().strip_suffix('>') else {
            return Ok(Self {
                name: None,
                address: text.trim().parse()?,
            });
        };
        let wrong = || {
            let text = clip(text);
            Invalid::new(format!(
                "`{text}` is no sender like `Example <auth@example.com>`"
            ))
        };
        let (name, address) = rest.rsplit_once('<').ok_or_else(wrong)?;
        let name = name.trim().trim_matches('"').trim();
        let name = (!name.is_empty()).then(|| name.to_owned());
        if let Some(name) = &name {
            text::plain("name", name, MAX_NAME_BYTES)?;
            if name.contains(['<', '>', '"', '\\']) {
                return Err(wrong());
            }
        }
        Ok(Self {
            name,
            address: address.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_plain_form() {
        for (text, stored) in [
            ("Ada@Example.COM", "ada@example.com"),
            (
                "ada.lovelace+tag@mail.example.co",
                "ada.lovelace+tag@mail.example.co",
            ),
            (
                "o'brien@xn--bcher-kva.example",
                "o'brien@xn--bcher-kva.example",
            ),
            ("ada@localhost", "ada@localhost"),
        ] {
            let address: EmailAddress = text.parse().unwrap();
            assert_eq!(address.as_str(), stored);
        }
    }

    #[test]
    fn what_could_write_headers_or_look_like_another_address_is_none() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("ada@{}com", "example.".repeat(40));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@example.com",
            "ada@example.com\r\nBcc: eve@example.com",
            "ada\r\n@example.com",
            "ada@exam\nple.com",
            "ada@example.com\0",
            "ada @example.com",
            "ada@example.com ",
            "ada@example.com,eve@example.com",
            "ada@example.com;eve@example.com",
            "Ada <ada@example.com>",
            "\"ada\"@example.com",
            "ada(eve)@example.com",
            ".ada@example.com",
            "ada..l@example.com",
            "ada@example..com",
            "ada@-example.com",
            "ada@[127.0.0.1]",
            "ada@127.0.0.1",
            "аda@example.com",
            "ada@exämple.com",
            long.as_str(),
            longer.as_str(),
        ] {
            assert!(text.parse::<EmailAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        let mailbox: Mailbox = "Example <auth@example.com>".parse().unwrap();
        assert_eq!(mailbox.name(), Some("Example"));
        assert_eq!(mailbox.address().domain(), "example.com");
        let mailbox: Mailbox = "auth@example.com".parse().unwrap();
        assert_eq!(mailbox.name(), None);
        for text in [
            "Example <auth@example.com",
            "Exa\nmple <auth@example.com>",
            "A <b> <auth@example.com>",
            "Example",
        ] {
            assert!(text.parse::<Mailbox>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_not_in_what_debugging_prints() {
        let address: EmailAddress = "ada@example.com".parse().unwrap();
        assert_eq!(format!("{address:?}"), "EmailAddress(..)");
    }
}
