//! Proof that whoever redeems a code is whoever asked for it (RFC 7636): SHA-256 alone, for every client.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base64url;
use crate::invalid::Invalid;

/// How long a verifier is (RFC 7636, section 4.1).
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;

/// What was sent of the verifier when the code was asked for: its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// As it is stored.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether this is the verifier of which the challenge was made. What is no verifier is none.
    pub fn is_met_by(&self, verifier: &str) -> bool {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_verifier =
            VERIFIER_CHARS.contains(&verifier.len()) && verifier.bytes().all(unreserved);
        let made: [u8; 32] = Sha256::digest(verifier.as_bytes()).into();
        is_verifier && bool::from(made.ct_eq(&self.0))
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge(..)")
    }
}

impl FromStr for Challenge {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        base64url::decode_array(text).map(Self).ok_or_else(|| {
            Invalid::new(
                "must be the SHA-256 of the verifier in base64url without padding, 43 characters",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_vector_of_the_standard_is_met() {
        let challenge: Challenge = CHALLENGE.parse().unwrap();
        assert!(challenge.is_met_by(VERIFIER));
        assert!(Challenge::from_bytes(*challenge.bytes()).is_met_by(VERIFIER));
    }

    /// Lessons C 7.
    #[test]
    fn short_odd_and_wrong_verifiers_meet_nothing() {
        let challenge: Challenge = CHALLENGE.parse().unwrap();
        for wrong in [
            "",
            CHALLENGE,
            VERIFIER.get(..42).unwrap(),
            &VERIFIER.to_lowercase(),
        ] {
            assert!(!challenge.is_met_by(wrong), "{wrong}");
        }
        // What was made of something that is no verifier is met by nothing, not even by that.
        for odd in [
            "a".repeat(42),
            "a".repeat(129),
            format!("{}+", "a".repeat(43)),
        ] {
            let made = Challenge::from_bytes(Sha256::digest(odd.as_bytes()).into());
            assert!(!made.is_met_by(&odd), "{odd}");
        }
        for long in ["a".repeat(43), "a".repeat(128)] {
            let made = Challenge::from_bytes(Sha256::digest(long.as_bytes()).into());
            assert!(made.is_met_by(&long));
        }
    }

    #[test]
    fn a_challenge_is_a_digest() {
        for wrong in [
            "",
            VERIFIER.get(1..).unwrap(),
            &format!("{CHALLENGE}="),
            &format!("{CHALLENGE}A"),
            "\u{e9}",
        ] {
            assert!(wrong.parse::<Challenge>().is_err(), "{wrong}");
        }
    }
}
