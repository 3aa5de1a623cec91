//! The code that a device shows and a human types elsewhere (RFC 8628, section 6.1).
//!
//! Promises: it is read however it was typed; it is short, so that whoever takes it counts guesses, and it is stored under a key.

use crate::invalid::Invalid;

/// What it is made of: no vowels, so that it is no word, and nothing that is taken for something else.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How many letters it has: 20^8 is 25,600,000,000.
const LENGTH: usize = 8;
/// How many stand together.
const GROUP: usize = 4;
/// The longest text that is read.
const MAX_TYPED_BYTES: usize = 64;

/// Eight letters. It has no `Debug` and no `Display`: it is a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode([u8; LENGTH]);

impl UserCode {
    /// Makes a code from random bits.
    pub fn new(random: [u8; 8]) -> Self {
        // 2^64 is so much more than 20^8 that no code is seen to be likelier than another.
        let mut rest = u64::from_be_bytes(random);
        Self(std::array::from_fn(|_| {
            let letter = usize::try_from(rest % 20).unwrap_or_default();
            rest /= 20;
            LETTERS.get(letter).copied().unwrap_or(b'B')
        }))
    }

    /// Reads what somebody typed: in letters of any size, with or without what stands between them.
    ///
    /// # Errors
    /// It is no such code.
    pub fn parse(typed: &str) -> Result<Self, Invalid> {
        const WRONG: &str = "is eight letters, like WDJB-MJHT: type it as the device shows it now";
        if typed.len() > MAX_TYPED_BYTES {
            return Err(Invalid::new(WRONG));
        }
        let between = |c: &char| !c.is_whitespace() && !"-–—_.·".contains(*c);
        let letters: Option<Vec<u8>> = typed
            .chars()
            .filter(between)
            .map(|c| {
                let byte = u8::try_from(c.to_ascii_uppercase()).ok()?;
                LETTERS.contains(&byte).then_some(byte)
            })
            .collect();
        let letters = letters.and_then(|letters| letters.try_into().ok());
        letters.map(Self).ok_or_else(|| Invalid::new(WRONG))
    }

    /// As it is shown.
    pub fn reveal(&self) -> String {
        let mut text = String::with_capacity(LENGTH + 1);
        for (at, letter) in self.0.iter().enumerate() {
            if at == GROUP {
                text.push('-');
            }
            text.push(char::from(*letter));
        }
        text
    }

    /// The letters alone, of which is made what is stored.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &str) -> Option<String> {
        UserCode::parse(typed).ok().map(|code| code.reveal())
    }

    #[test]
    fn a_code_is_read_as_it_is_shown_and_as_people_type_it() {
        for random in [0, 1, 19, 20, u64::MAX, 0x0123_4567_89ab_cdef] {
            let code = UserCode::new(random.to_be_bytes());
            let shown = code.reveal();
            assert_eq!(shown.len(), 9, "{shown}");
            assert_eq!(read(&shown), Some(shown.clone()));
        }
        for typed in [
            "WDJB-MJHT",
            "wdjbmjht",
            " WDJB MJHT ",
            "w-d-j-b-m-j-h-t",
            "WDJB–MJHT",
            "wdjb.mjht",
        ] {
            assert_eq!(read(typed).as_deref(), Some("WDJB-MJHT"), "{typed}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = "B".repeat(MAX_TYPED_BYTES + 1);
        for typed in [
            "",
            "WDJB-MJH",
            "WDJB-MJHTB",
            "WDJB-MJHA",
            "WDJB-MJH7",
            "ＷDJB-MJHT",
            "WDJB/MJHT",
            &long,
        ] {
            assert!(read(typed).is_none(), "{typed}");
        }
    }

    #[test]
    fn every_letter_stands_everywhere() {
        for letter in 0_u64..20 {
            let repeated = (0..8).fold(0, |number, _| number * 20 + letter);
            let code = UserCode::new(u64::to_be_bytes(repeated));
            let expected = char::from(LETTERS[usize::try_from(letter).unwrap()]);
            assert!(
                code.reveal()
                    .replace('-', "")
                    .chars()
                    .all(|c| c == expected)
            );
        }
    }
}
