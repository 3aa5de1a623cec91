//! Codes on paper, for the day on which the app is lost: ten, each used once.
//!
//! A code has 65 random bits in thirteen characters that are not mistaken for one another, in three groups. Nobody types
//! more without an error, and 65 bits are too few for a plain hash. So what is stored is an HMAC of what Argon2id makes of
//! the code, with a random salt of the set: the key of the HMAC stands sealed beside the seed, under the master key, so that
//! whoever took the database alone tries nothing, and whoever has that key too tries slowly.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::password::{Password, Stretched};

/// How many codes are made at once.
pub(super) const CODES: usize = 10;
/// The length of the key of their hashes.
pub(super) const KEY_BYTES: usize = 32;
/// How many random bytes a code is made of; the last 63 bits are left over.
pub(super) const RANDOM_BYTES: usize = 16;
/// How many characters a code has, without what stands between the groups.
const CHARACTERS: u32 = 13;
/// Where a hyphen is shown.
const HYPHENS: [usize; 2] = [4, 8];
/// Base 32 of Crockford: no `i`, `l`, `o` and `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A code, without what stands between its groups.
pub(super) struct BackupCode(Zeroizing<String>);

impl BackupCode {
    /// Makes a code.
    pub(super) fn new(random: [u8; RANDOM_BYTES]) -> Self {
        let bits = u128::from_be_bytes(random);
        let digit =
            |at: u32| usize::try_from((bits >> (128 - 5 * (at + 1))) & 31).unwrap_or_default();
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

    /// As it is shown: `k7wd-2m9q-x4tzn`.
    pub(super) fn shown(&self) -> String {
        let mut shown = String::new();
        for (at, digit) in self.0.chars().enumerate() {
            if HYPHENS.contains(&at) {
                shown.push('-');
            }
            shown.push(digit);
        }
        shown
    }

    /// What is stretched; a code is never too long for that.
    pub(super) fn as_password(&self) -> Option<Password> {
        Password::parse(&self.0).ok()
    }
}

/// What is stored of a code that was stretched. It is `None` of no key: HMAC takes those of any length.
pub(super) fn hash(stretched: &Stretched, key: &[u8; KEY_BYTES]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(b"kavachos totp backup code 2\n");
    mac.update(&stretched[..]);
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_is_shown_and_as_people_type_it() {
        let random = 0x0044_3214_c742_54b6_u128 << 64;
        let code = BackupCode::new(random.to_be_bytes());
        assert_eq!(code.shown(), "0123-4567-89abc");
        for typed in [
            "0123-4567-89abc",
            "0123456789ABC",
            " o1 23-4567 - 89 aBC ",
            "OI234567 89abc",
            "0l23-4567-89abc",
        ] {
            let read = BackupCode::read(typed).unwrap();
            assert_eq!(read.shown(), code.shown(), "{typed}");
        }
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in [
            "",
            "0123-4567-89ab",
            "0123-4567-89abcd",
            "0123-4567-89abu",
            "0123_4567_89abc",
            "ö123-4567-89abc",
            "254676",
        ] {
            assert!(BackupCode::read(text).is_none(), "{text}");
        }
        assert!(BackupCode::read(&"0123-4567-89abc".repeat(1_000)).is_none());
    }

    #[test]
    fn sixty_five_random_bits_are_in_a_code() {
        let base = BackupCode::new([0; RANDOM_BYTES]).shown();
        for bit in 0..65 {
            let other = BackupCode::new((1_u128 << (127 - bit)).to_be_bytes()).shown();
            assert_ne!(other, base, "{bit}");
        }
        assert_eq!(
            BackupCode::new([0xff; RANDOM_BYTES]).shown(),
            "zzzz-zzzz-zzzzz"
        );
    }

    #[test]
    fn what_is_stored_depends_on_the_key_and_on_what_was_stretched() {
        let stored = |stretched: u8, key: u8| {
            let stretched = Zeroizing::new([stretched; 32]);
            hash(&stretched, &[key; KEY_BYTES]).unwrap()
        };
        assert_eq!(stored(1, 7), stored(1, 7));
        assert_ne!(stored(1, 7), stored(1, 8));
        assert_ne!(stored(1, 7), stored(2, 7));
    }
}
