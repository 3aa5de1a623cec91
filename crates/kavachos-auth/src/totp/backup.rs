//! Codes on paper, for the day on which the app is lost: ten, each used once.
//!
//! A code has 60 random bits in twelve characters that are not mistaken for one another, in three groups. Nobody types more
//! without an error, and 60 bits are too few for a plain hash: whoever took the database could try them all. So what is
//! stored is an HMAC under a key that stands sealed beside the seed, under the master key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// How many codes are made at once.
pub(super) const CODES: usize = 10;
/// The length of the key of their hashes.
pub(super) const KEY_BYTES: usize = 32;
/// How many random bytes a code is made of; the last four bits are left over.
pub(super) const RANDOM_BYTES: usize = 8;
/// How many characters a code has, without what stands between the groups.
const CHARACTERS: u32 = 12;
/// How many characters stand together.
const GROUP: usize = 4;
/// Base 32 of Crockford: no `i`, `l`, `o` and `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A code, without what stands between its groups.
pub(super) struct BackupCode(Zeroizing<String>);

impl BackupCode {
    /// Makes a code.
    pub(super) fn new(random: [u8; RANDOM_BYTES]) -> Self {
        let bits = u64::from_be_bytes(random);
        let digit =
            |at: u32| usize::try_from((bits >> (64 - 5 * (at + 1))) & 31).unwrap_or_default();
        let digits = (0..CHARACTERS).filter_map(|at| ALPHABET.get(digit(at)));
        Self(Zeroizing::new(
            digits.map(|byte| char::from(*byte)).collect(),
        ))
    }

    /// Reads what somebody typed: in any case, with blanks or hyphens anywhere, and with the letters that are none of ours
    /// for the digits that they look like.
    pub(super) fn read(text: &str) -> Option<Self> {
        const MAX_TYPED_BYTES: usize = 64;
        if text.len() > MAX_TYPED_BYTES {
            return None;
        }
        let mut code = Zeroizing::new(String::new());
        for typed in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let meant = match typed.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                other => other,
            };
            let known = u8::try_from(meant).is_ok_and(|byte| ALPHABET.contains(&byte));
            known.then(|| code.push(meant))?;
        }
        (code.len() == usize::try_from(CHARACTERS).ok()?).then_some(Self(code))
    }

    /// As it is shown: `k7wd-2m9q-x4tz`.
    pub(super) fn shown(&self) -> String {
        let groups = self.0.as_bytes().chunks(GROUP);
        let groups: Vec<&str> = groups
            .filter_map(|group| str::from_utf8(group).ok())
            .collect();
        groups.join("-")
    }

    /// What is stored of it.
    pub(super) fn hash(&self, key: &[u8; KEY_BYTES]) -> [u8; 32] {
        // HMAC takes keys of any length, so there is no error to come of it.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
            return [0; 32];
        };
        mac.update(b"kavachos totp backup code 1\n");
        mac.update(self.0.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_is_shown_and_as_people_type_it() {
        let code = BackupCode::new([0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xbf]);
        assert_eq!(code.shown(), "0123-4567-89ab");
        let hash = code.hash(&[7; KEY_BYTES]);
        for typed in [
            "0123-4567-89ab",
            "0123456789AB",
            " o1 23-4567 - 89 aB ",
            "OI234567 89ab",
            "0l23-4567-89ab",
        ] {
            let read = BackupCode::read(typed).unwrap();
            assert_eq!(read.hash(&[7; KEY_BYTES]), hash, "{typed}");
        }
        assert_ne!(code.hash(&[8; KEY_BYTES]), hash);
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in [
            "",
            "0123-4567-89a",
            "0123-4567-89abc",
            "0123-4567-89au",
            "0123_4567_89ab",
            "ö123-4567-89ab",
        ] {
            assert!(BackupCode::read(text).is_none(), "{text}");
        }
        assert!(BackupCode::read(&"0123-4567-89ab".repeat(1_000)).is_none());
    }

    #[test]
    fn sixty_random_bits_are_in_a_code() {
        let base = BackupCode::new([0; RANDOM_BYTES]).shown();
        for bit in 0..60 {
            let other = BackupCode::new((1_u64 << (63 - bit)).to_be_bytes()).shown();
            assert_ne!(other, base, "{bit}");
        }
        assert_eq!(
            BackupCode::new([0xff; RANDOM_BYTES]).shown(),
            "zzzz-zzzz-zzzz"
        );
    }
}
