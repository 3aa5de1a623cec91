//! A password in clear text, in the one form in which it is hashed.

use std::fmt;

use kavachos_core::invalid::Invalid;
use serde::de::{Deserialize, Deserializer, Visitor};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The most characters, which are Unicode scalar values, counted in the form that is hashed.
const MAX_CHARACTERS: usize = 256;
/// The most bytes as it was typed; 256 characters that are typed apart, letters and marks, fit.
const MAX_BYTES: usize = 4_096;
/// The longest character in UTF-8.
const MAX_CHARACTER_BYTES: usize = 4;

/// A password, in the form of the profile `OpaqueString` (RFC 8265, 4.2.2): spaces of all kinds are the one of ASCII, and
/// what can be typed composed or apart is composed (NFC). So it is the same from every keyboard. Nothing is cut off, and
/// nothing is forbidden, also no control character, though the profile would.
///
/// It has no `Debug`, `Display` or `Serialize`, and its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Reads a password. How long it must be is the [`Policy`](super::Policy)'s to say.
    ///
    /// # Errors
    /// It is empty or too long; none of it is repeated.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("must not be empty"));
        }
        let too_long = || {
            let message = format!("must have at most {MAX_CHARACTERS} characters");
            Invalid::new(message)
        };
        if text.len() > MAX_BYTES {
            return Err(too_long());
        }
        // It never grows, which would leave a copy behind.
        let most = (MAX_CHARACTERS + 1) * MAX_CHARACTER_BYTES;
        let mut one = Zeroizing::new(String::with_capacity(most));
        let composed = text.chars().map(plain_space).nfc();
        one.extend(composed.take(MAX_CHARACTERS + 1));
        if one.chars().count() > MAX_CHARACTERS {
            return Err(too_long());
        }
        Ok(Self(one))
    }

    /// How many characters it has: Unicode scalar values, as NIST SP 800-63B-4, 3.1.1.2 counts them.
    pub fn characters(&self) -> usize {
        self.0.chars().count()
    }

    /// What is hashed.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The other spaces (general category Zs) are taken for the one of ASCII.
const fn plain_space(character: char) -> char {
    match character {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            ' '
        }
        other => other,
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a string, a reader of JSON would quote a number itself.
        deserializer.deserialize_any(Reader)
    }
}

/// Reads a text and nothing else. What stands there instead may be a password too, so no message repeats it.
struct Reader;

impl Reader {
    fn wrong<T, E: serde::de::Error>() -> Result<T, E> {
        Err(E::custom("must be a string"))
    }
}

impl Visitor<'_> for Reader {
    type Value = Password;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Password, E> {
        Password::parse(text).map_err(E::custom)
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Password, E> {
        self.visit_str(&Zeroizing::new(text))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Password, E> {
        Self::wrong()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Password, E> {
        Self::wrong()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Password, E> {
        Self::wrong()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Password, E> {
        Self::wrong()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        Password::parse(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn composed_and_decomposed_are_one_password() {
        assert_eq!(
            one("Zürich ñandú"),
            one("Zu\u{308}rich n\u{303}andu\u{301}")
        );
        // Hangul, and marks in another order.
        assert_eq!(one("각"), one("\u{1100}\u{1161}\u{11a8}"));
        assert_eq!(one("a\u{323}\u{307}"), one("a\u{307}\u{323}"));
        assert_eq!(one("a\u{a0}b\u{3000}c\u{2009}d"), "a b c d");
    }

    #[test]
    fn nothing_else_is_the_same() {
        for (left, right) in [
            ("Password", "password"),
            ("ﬁn", "fin"),
            ("①", "1"),
            ("Ａ", "A"),
            ("a ", "a"),
            ("a\0b", "a"),
            ("a\0b", "ab"),
            ("a\u{200b}b", "ab"),
        ] {
            assert_ne!(one(left), one(right), "{left:?} and {right:?}");
        }
    }

    #[test]
    fn characters_are_counted_and_too_many_are_refused() {
        for character in ["a", "ü", "u\u{308}", "😀", "\0"] {
            let most = character.repeat(MAX_CHARACTERS);
            assert_eq!(Password::parse(&most).unwrap().characters(), 256);
            let more = character.repeat(MAX_CHARACTERS + 1);
            assert!(Password::parse(&more).is_err(), "{character}");
        }
        assert!(Password::parse("").is_err());
        assert!(Password::parse(&"x".repeat(1 << 20)).is_err());
        // A letter under ever more marks does not take long either.
        assert!(Password::parse(&"\u{301}".repeat(1 << 19)).is_err());
    }

    #[test]
    fn no_message_repeats_what_was_sent() {
        for sent in [
            "73951",
            "-73951",
            "739.51",
            "true",
            "[\"73951\"]",
            "{\"73951\":1}",
            "null",
        ] {
            let error = serde_json::from_str::<Password>(sent).err().unwrap();
            let told = error.to_string();
            assert!(!told.contains("739") && !told.contains("true"), "{told}");
        }
        let long = serde_json::to_string(&"73951".repeat(100)).unwrap();
        let error = serde_json::from_str::<Password>(&long).err().unwrap();
        assert!(error.to_string().contains("at most 256 characters"));
        assert!(serde_json::from_str::<Password>("\"73951\"").is_ok());
    }
}
