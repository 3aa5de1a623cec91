//! Which passwords may be chosen: long ones, and no composition rules (NIST SP 800-63B-4, 3.1.1.2).

use kavachos_core::invalid::Invalid;

use super::secret::Password;

/// The least characters where a password is all that is asked for.
const ALONE: usize = 15;
/// The least characters where a second factor is asked for besides, and in development.
const BESIDE: usize = 8;
/// How many characters must be left of a password once the words that everybody would try are taken out.
const MIN_OWN: usize = 8;
/// The shortest word that is taken out. Shorter ones stand in too many others.
const MIN_WORD: usize = 4;
/// The most words that one check takes out.
const MAX_WORDS: usize = 64;
/// Words that stand first in every list of stolen passwords, in lower case. That list itself is asked by
/// [`Breached`](super::Breached); these hold where it cannot be.
const COMMON: [&str; 14] = [
    "password",
    "passwort",
    "kennwort",
    "contraseña",
    "motdepasse",
    "letmein",
    "iloveyou",
    "qwertyuiop",
    "qwerty",
    "azerty",
    "abcdefgh",
    "1234567890",
    "12345678",
    "kavach",
];

/// What else is asked for when somebody signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Alone,
    /// A second factor.
    WithSecondFactor,
}

/// Which passwords may be chosen. At most 256 characters hold always, because a longer one is no [`Password`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    alone: usize,
    words: Vec<String>,
}

impl Policy {
    /// 15 characters, or 8 where a second factor is asked for.
    pub const fn new() -> Self {
        Self {
            alone: ALONE,
            words: Vec::new(),
        }
    }

    /// 8 characters in any case: for development, where everything else holds too.
    pub const fn development() -> Self {
        Self {
            alone: BESIDE,
            words: Vec::new(),
        }
    }

    /// With a word that everybody would try here, such as the name of the service.
    #[must_use]
    pub fn knowing(mut self, word: &str) -> Self {
        self.words.push(word.to_lowercase());
        self
    }

    /// Whether somebody may choose this password. Words that others know of them, such as the name they sign in with, count
    /// for nothing in it.
    ///
    /// # Errors
    /// Says what it lacks, of the member `password`, and repeats none of it.
    pub fn check(
        &self,
        password: &Password,
        standing: Standing,
        known: &[&str],
    ) -> Result<(), Invalid> {
        let least = match standing {
            Standing::Alone => self.alone,
            Standing::WithSecondFactor => BESIDE,
        };
        if password.characters() < least {
            let message = format!("must have at least {least} characters; a sentence does well");
            return Err(Invalid::at("password", message));
        }
        if self.own_characters(password, known) < MIN_OWN {
            let message = "holds little but words that everybody would try: a common password, your name, or the name of \
                           this service; choose others";
            return Err(Invalid::at("password", message));
        }
        Ok(())
    }

    /// How many characters are left without the words that everybody would try.
    fn own_characters(&self, password: &Password, known: &[&str]) -> usize {
        let mut left = zeroize::Zeroizing::new(password.as_str().to_lowercase());
        let known = known.iter().map(|word| word.to_lowercase());
        let common = COMMON.iter().map(|word| (*word).to_owned());
        let mut words: Vec<String> = known.chain(self.words.iter().cloned()).collect();
        words.truncate(MAX_WORDS);
        words.extend(common);
        words.retain(|word| word.chars().count() >= MIN_WORD);
        // The longest first, so that none is left in pieces by one that is a part of it.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        for word in &words {
            left = zeroize::Zeroizing::new(left.replace(word.as_str(), ""));
        }
        left.chars().count()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, standing: Standing, known: &[&str]) -> Result<(), Invalid> {
        let password = Password::parse(text).unwrap();
        let policy = Policy::new().knowing("Acme Robots");
        policy.check(&password, standing, known)
    }

    #[test]
    fn fifteen_characters_alone_and_eight_beside_a_second_factor() {
        for (length, alone, beside) in [
            (7, false, false),
            (8, false, true),
            (14, false, true),
            (15, true, true),
            (256, true, true),
        ] {
            for letters in ["vogelbeere", "über😀ñ日本"] {
                let text: String = letters.chars().cycle().take(length).collect();
                let is = |standing| check(&text, standing, &[]).is_ok();
                assert_eq!(is(Standing::Alone), alone, "{text}");
                assert_eq!(is(Standing::WithSecondFactor), beside, "{text}");
            }
        }
        let eight = Password::parse("vogelbee").unwrap();
        let policy = Policy::development();
        assert!(policy.check(&eight, Standing::Alone, &[]).is_ok());
    }

    #[test]
    fn no_kind_of_character_is_asked_for() {
        for text in [
            "lauter kleine buchstaben",
            "314159265358979",
            "                 ",
            "日本語の長いパスワードです。ね",
        ] {
            assert!(check(text, Standing::Alone, &[]).is_ok(), "{text}");
        }
    }

    #[test]
    fn words_that_everybody_would_try_count_for_nothing() {
        let known = ["alice.smith", "al"];
        for text in [
            "passwordpassword",
            "Password1234567890",
            "123456789012345",
            "alice.smith2026",
            "ALICE.SMITHalice.smith",
            "Acme Robots 2026",
            "kavachKAVACHkavach",
        ] {
            assert!(check(text, Standing::Alone, &known).is_err(), "{text}");
        }
        // The same words in something of one's own.
        for text in [
            "alice.smith rows to the island",
            "the password of the robots",
            "also calm and normal",
        ] {
            assert!(check(text, Standing::Alone, &known).is_ok(), "{text}");
        }
        // Nobody else's name is in the way.
        assert!(check("alice.smith2026", Standing::Alone, &[]).is_ok());
    }
}
