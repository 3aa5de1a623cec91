//! Typed identifiers: `agent_01h455vb4pex5vsknk084sn02q`, a TypeID (specification 0.3) over a UUID version 7.
//!
//! An id is public: it names a thing and says when it was made, and knowing it gives no right to anything.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::json;
use crate::time::{Timestamp, clip};

/// What an id names; gives the id its prefix.
pub trait Named {
    /// The text before the underscore, lower case.
    const PREFIX: &'static str;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal / $kind:ident;)*) => {
        /// The kinds of things that have ids.
        pub mod kind {
            $(
                #[doc = concat!("Names things with ids like `", $prefix, "_01h455vb4pex5vsknk084sn02q`.")]
                #[derive(Debug)]
                pub enum $kind {}
                impl super::Named for $kind { const PREFIX: &'static str = $prefix; }
            )*
        }
        $($(#[$doc])* pub type $name = Id<kind::$kind>;)*
    };
}

ids! {
    /// A human.
    UserId = "user" / User;
    /// An agent.
    AgentId = "agent" / Agent;
    /// A grant: the root grant of an agent, or a delegation.
    GrantId = "grant" / Grant;
    /// A record of the ledger.
    AuditId = "audit" / Audit;
    /// An operator's API key.
    KeyId = "key" / Key;
    /// A registered tool server.
    ToolServerId = "resource" / ToolServer;
    /// One HTTP request.
    RequestId = "req" / Request;
    /// A request for a human's approval.
    ApprovalId = "approval" / Approval;
    /// A human's session.
    SessionId = "session" / Session;
    /// An address that is told of records.
    WebhookId = "webhook" / Webhook;
    /// A leaf or a root.
    TokenId = "token" / Token;
    /// A mail that is to be sent.
    MailId = "mail" / Mail;
    /// An OAuth client that was registered here.
    RegisteredClientId = "client" / Client;
}

/// A typed id: 128 bits, shown as `prefix_` and 26 characters of Crockford base 32.
///
/// Big-endian bytes and no `u128`, which would align, and so pad, all that ids stand in. They compare as the number does.
pub struct Id<K>([u8; 16], PhantomData<fn() -> K>);

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// What each byte is worth as a digit; [`NO_DIGIT`] of all that are none.
const WORTH: [u8; 256] = worth();
const NO_DIGIT: u8 = u8::MAX;
const DIGIT_COUNT: usize = 26;

impl<K: Named> Id<K> {
    /// A new UUID version 7: 48 bits of milliseconds, then the given randomness.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u128::from(now.as_micros().unsigned_abs() / 1000) & 0xffff_ffff_ffff;
        let random = random
            .iter()
            .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let low = (random & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        let high = (random >> 62 & 0x0fff) | 0x7000;
        Self::from_bits(millis << 80 | high << 64 | low)
    }

    /// The id with exactly these bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits.to_be_bytes(), PhantomData)
    }

    /// The 128 bits, for compact keys.
    pub const fn bits(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl<K: Named> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; DIGIT_COUNT];
        let mut rest = self.bits();
        for slot in text.iter_mut().rev() {
            let digit = usize::try_from(rest & 31).unwrap_or(0);
            *slot = DIGITS.get(digit).copied().unwrap_or(b'0');
            rest >>= 5;
        }
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl<K: Named> FromStr for Id<K> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(format!(
                "`{}` is not an id like `{}_01h455vb4pex5vsknk084sn02q`",
                clip(text),
                K::PREFIX
            ))
        };
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .ok_or_else(wrong)?;
        // 26 digits hold 130 bits: the first may only be 0 to 7.
        if digits.len() != DIGIT_COUNT
            || digits.as_bytes().first().is_none_or(|first| *first > b'7')
        {
            return Err(wrong());
        }
        digits
            .bytes()
            .try_fold(0_u128, |bits, byte| {
                let digit = WORTH.get(usize::from(byte)).copied();
                let digit = digit.filter(|digit| *digit != NO_DIGIT)?;
                Some(bits << 5 | u128::from(digit))
            })
            .map(Self::from_bits)
            .ok_or_else(wrong)
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "done by the compiler, which would say so"
)]
const fn worth() -> [u8; 256] {
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0_u8;
    while (digit as usize) < DIGITS.len() {
        worth[DIGITS[digit as usize] as usize] = digit;
        digit += 1;
    }
    worth
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        u128::from_be_bytes(self.0).hash(state);
    }
}
impl<K: Named> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K: Named> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: Named> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_typeid_specification() {
        // valid.json of the specification: uuid 01890a5d-ac96-774b-bcce-b302099a8057.
        let id = UserId::from_bits(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        assert_eq!(id.to_string(), "user_01h455vb4pex5vsknk084sn02q");
        assert_eq!("user_01h455vb4pex5vsknk084sn02q".parse(), Ok(id));
    }

    #[test]
    fn a_new_id_is_a_uuid_version_7() {
        let id = AgentId::new(Timestamp::from_micros(1_700_000_000_000_000), [0xff; 10]);
        assert_eq!(id.bits() >> 80, 1_700_000_000_000);
        assert_eq!(id.bits() >> 76 & 0xf, 7);
        assert_eq!(id.bits() >> 62 & 0b11, 0b10);
    }

    #[test]
    fn what_is_not_an_id_of_the_kind_is_refused() {
        for text in [
            "",
            "user",
            "user_",
            "agent_01h455vb4pex5vsknk084sn02q",
            "user_81h455vb4pex5vsknk084sn02q",
            "user_01h455vb4pex5vsknk084sn02",
            "user_01h455vb4pex5vsknk084sn02qq",
            "user_01H455VB4PEX5VSKNK084SN02Q",
            "user_01h455vb4pex5vsknk084sn02u",
            "user_01h455vb4pex5vsknk084sn0\u{e9}",
        ] {
            assert!(text.parse::<UserId>().is_err(), "{text}");
        }
    }
}
