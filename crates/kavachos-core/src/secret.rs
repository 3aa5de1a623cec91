//! Opaque credentials: `kv_agent_` and its relatives. Shown once, kept only as a hash.
//!
//! A credential is its prefix, 256 random bits in 43 characters of base 62, and 6 characters of CRC-32 over all before
//! them. Prefix and checksum let secret scanners, and people, recognise one without asking a server.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::invalid::Invalid;

/// What a credential is for. Every kind is refused in every other kind's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// An agent's own key.
    Agent,
    /// An operator's API key.
    Operator,
    /// A human's session.
    Session,
    /// A tool server's own key.
    Resource,
    /// A server's master key, of which other secrets are made. Authenticates nobody.
    Master,
    /// A sign-in whose first proof was accepted. It is no session: it takes a second proof, and nothing else.
    SignIn,
    /// A browser in which a human signed in before. Authenticates nobody: guesses in it are counted apart.
    Device,
    /// What a browser brings back to an OAuth client: a token is given for it once.
    Code,
    /// By which a device asks whether a human let it in: tokens are given for it once (RFC 8628).
    DeviceCode,
    /// What an OAuth client shows for the next token.
    Refresh,
    /// An OAuth client's own secret.
    Client,
    /// By which an OAuth client that registered itself changes what it says of itself (RFC 7592).
    Registration,
    /// The name of what an OAuth client pushed, which a human is asked for with it (RFC 9126).
    Request,
}

impl SecretKind {
    const ALL: [Self; 13] = [
        Self::Agent,
        Self::Operator,
        Self::Session,
        Self::Resource,
        Self::Master,
        Self::SignIn,
        Self::Device,
        Self::Code,
        Self::DeviceCode,
        Self::Refresh,
        Self::Client,
        Self::Registration,
        Self::Request,
    ];

    /// The prefix, with its closing underscore.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "kv_agent_",
            Self::Operator => "kv_key_",
            Self::Session => "kv_sess_",
            Self::Resource => "kv_res_",
            Self::Master => "kv_master_",
            Self::SignIn => "kv_signin_",
            Self::Device => "kv_device_",
            Self::Code => "kv_code_",
            Self::DeviceCode => "kv_dc_",
            Self::Refresh => "kv_rt_",
            Self::Client => "kv_client_",
            Self::Registration => "kv_reg_",
            Self::Request => "kv_req_",
        }
    }

    /// Whether this is what is [shown](Secret::display_prefix) of a credential of this kind.
    pub fn is_shown_as(self, text: &str) -> bool {
        text.strip_prefix(self.prefix()).is_some_and(|digits| {
            text.len() == SHOWN && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    }
}

/// A credential in clear text. It has no `Debug`, `Display` or `Serialize`: only [`Secret::reveal`] shows it.
#[derive(Clone)]
pub struct Secret {
    kind: SecretKind,
    text: String,
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_DIGITS: usize = 43;
const CHECK_DIGITS: usize = 6;
/// How many characters of a credential may be kept and shown, to tell one key from another.
const SHOWN: usize = 12;

impl Secret {
    /// Makes a credential from 256 random bits.
    pub fn new(kind: SecretKind, random: [u8; 32]) -> Self {
        let mut text = String::from(kind.prefix());
        text.push_str(&base62::<RANDOM_DIGITS>(random));
        let check = checksum(&text);
        text.push_str(&check);
        Self { kind, text }
    }

    /// Reads a credential; its prefix, length, alphabet and checksum must be right.
    ///
    /// # Errors
    /// Says what is wrong without repeating any of the text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let kind = SecretKind::ALL
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
            .ok_or_else(|| {
                Invalid::new("not a KavachOS credential: it starts with none of the known prefixes")
            })?;
        if text.len() != kind.prefix().len() + RANDOM_DIGITS + CHECK_DIGITS {
            return Err(Invalid::new(
                "the credential has the wrong length: copy all of it",
            ));
        }
        let (body, check) = text
            .split_at_checked(text.len() - CHECK_DIGITS)
            .ok_or_else(|| Invalid::new("the credential is not plain ASCII"))?;
        if checksum(body) != check
            || !text
                .bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        {
            return Err(Invalid::new(
                "the credential's checksum is wrong: a character was changed",
            ));
        }
        Ok(Self {
            kind,
            text: text.to_owned(),
        })
    }

    /// What the credential is for.
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// The clear text, to hand to its owner once.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is stored of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.text.as_bytes()).into())
    }

    /// The first characters, to tell credentials apart in lists.
    pub fn display_prefix(&self) -> &str {
        self.text.get(..SHOWN).unwrap_or_default()
    }
}

/// A text in which everything that looks like a credential is cut down to its prefix: for messages that quote input.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, prefix, after)) = next_credential(rest) {
        let end = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        shown.push_str(before);
        shown.push_str(prefix);
        if end.len() < after.len() {
            shown.push('…');
        }
        rest = end;
    }
    shown.push_str(rest);
    shown
}

/// What stands before the first prefix of a credential, the prefix, and what follows it.
fn next_credential(text: &str) -> Option<(&str, &'static str, &str)> {
    let prefixes = SecretKind::ALL.into_iter().map(SecretKind::prefix);
    let found = prefixes.filter_map(|prefix| {
        let (before, after) = text.split_once(prefix)?;
        Some((before, prefix, after))
    });
    found.min_by_key(|(before, ..)| before.len())
}

/// The SHA-256 of a credential. 256 random bits need no slow hash.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// A hash as it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Compares in constant time.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

fn checksum(text: &str) -> String {
    base62::<CHECK_DIGITS>(crc32fast::hash(text.as_bytes()).to_be_bytes())
}

/// A big-endian number in base 62, left-padded with `0` to `WIDTH` digits.
fn base62<const WIDTH: usize>(bytes: impl AsRef<[u8]>) -> String {
    let mut number = bytes.as_ref().to_vec();
    let mut text = [b'0'; WIDTH];
    for slot in text.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *slot = usize::try_from(remainder)
            .ok()
            .and_then(|digit| DIGITS.get(digit))
            .copied()
            .unwrap_or(b'0');
    }
    text.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_survives_the_round_trip_and_no_changed_character_does() {
        let secret = Secret::new(SecretKind::Agent, [7; 32]);
        let text = secret.reveal();
        assert_eq!(text.len(), "kv_agent_".len() + 49);
        assert_eq!(Secret::parse(text).unwrap().hash(), secret.hash());
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert!(
                Secret::parse(str::from_utf8(&changed).unwrap()).is_err(),
                "position {at}"
            );
        }
    }

    #[test]
    fn no_credential_is_left_in_a_text_that_quotes_one() {
        let (one, two) = (
            Secret::new(SecretKind::Agent, [7; 32]),
            Secret::new(SecretKind::Operator, [8; 32]),
        );
        let text = format!("`{}` and {}: no ids", one.reveal(), two.reveal());
        assert_eq!(redacted(&text), "`kv_agent_…` and kv_key_…: no ids");
        for text in ["", "`kv_agent_` alone", "nothing of the kind, ünïcode too"] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn the_extremes_of_the_random_part_keep_their_width() {
        for random in [[0; 32], [0xff; 32]] {
            let secret = Secret::new(SecretKind::Operator, random);
            assert_eq!(secret.reveal().len(), "kv_key_".len() + 49);
            assert!(Secret::parse(secret.reveal()).is_ok());
        }
    }

    #[test]
    fn what_is_not_a_credential_is_refused_and_never_repeated() {
        for text in [
            "",
            "kv_",
            "kv_agent_",
            "kv_agent_short",
            "Bearer x",
            "kv_agent_\u{e9}",
            &"kv_agent_".repeat(40),
        ] {
            let error = Secret::parse(text).err().map(|error| error.to_string());
            assert!(
                error.is_some_and(|message| text.len() < 5 || !message.contains(text)),
                "{text}"
            );
        }
    }
}
