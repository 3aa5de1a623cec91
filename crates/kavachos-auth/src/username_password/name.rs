//! Names to sign in with: one form, few letters, and none that could be taken for another.

use std::fmt;

use kavachos_core::invalid::Invalid;
use unicode_normalization::UnicodeNormalization;

/// The fewest and the most characters.
const MIN_CHARACTERS: usize = 3;
const MAX_CHARACTERS: usize = 32;
/// The longest text that is brought into one form, in bytes. What is longer is no name.
const MAX_TYPED_BYTES: usize = 256;
/// Names that would be taken for whoever runs the service, for a part of it, or for nobody.
const RESERVED: [&str; 62] = [
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "agent",
    "agents",
    "all",
    "anonymous",
    "api",
    "approval",
    "approvals",
    "audit",
    "auth",
    "billing",
    "bot",
    "contact",
    "daemon",
    "everyone",
    "guest",
    "help",
    "helpdesk",
    "here",
    "host",
    "hostmaster",
    "info",
    "kavach",
    "kavachos",
    "localhost",
    "login",
    "logout",
    "mail",
    "mailerdaemon",
    "me",
    "moderator",
    "myself",
    "nobody",
    "noreply",
    "null",
    "official",
    "operator",
    "owner",
    "postmaster",
    "register",
    "root",
    "sales",
    "security",
    "self",
    "service",
    "settings",
    "signin",
    "signup",
    "staff",
    "superuser",
    "support",
    "sysadmin",
    "system",
    "undefined",
    "user",
    "users",
    "webmaster",
    "www",
];

/// A name to sign in with, in the one form in which it is stored, compared and shown: composed, of compatible characters
/// their plain ones, in lower case (NFKC, case folded), and after that nothing but `a-z`, `0-9`, `.`, `_` and `-`. So a
/// name in full-width letters is the plain one, and one in letters of another script that look the same is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Username(String);

impl Username {
    /// Reads a name that somebody signs in with.
    ///
    /// # Errors
    /// There can be no such name.
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let wrong = |message: String| Err(Invalid::at("username", message));
        if text.len() > MAX_TYPED_BYTES {
            return wrong(format!("must have at most {MAX_CHARACTERS} characters"));
        }
        // What is lower case can be composed anew, so the form is taken again.
        let folded: String = text.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        if !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&folded.chars().count()) {
            let message = format!("must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters");
            return wrong(message);
        }
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let known = |byte: u8| letter(byte) || is_mark(byte);
        let ends = [folded.bytes().next(), folded.bytes().next_back()];
        let ends_well = ends.into_iter().flatten().all(letter);
        if !folded.bytes().all(known) || !ends_well || has_marks_side_by_side(&folded) {
            let message = "must be of a-z, 0-9, and single `.`, `_` or `-` between them";
            return wrong(message.to_owned());
        }
        Ok(Self(folded))
    }

    /// Reads a name that somebody chooses.
    ///
    /// # Errors
    /// There can be no such name, or nobody may have it.
    pub(super) fn choose(text: &str) -> Result<Self, Invalid> {
        let name = Self::parse(text)?;
        let bare = name.bare();
        if RESERVED
            .iter()
            .any(|reserved| at_a_glance(reserved) == bare)
        {
            let message = "would be taken for whoever runs this service; choose another";
            return Err(Invalid::at("username", message));
        }
        Ok(name)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the name looks like: two names that look alike come to the same.
    pub(super) fn look(&self) -> String {
        let marks = self.0.replace(['-', '.'], "_");
        let digits = marks.replace('0', "o").replace('1', "l");
        digits.replace("rn", "m").replace("vv", "w")
    }

    /// What is left when it is read carelessly: no marks, and letters that are drawn alike are one.
    fn bare(&self) -> String {
        at_a_glance(&self.0)
    }
}

fn at_a_glance(text: &str) -> String {
    let drawn = text.chars().filter(char::is_ascii_alphanumeric);
    let alike = drawn.map(|letter| match letter {
        '0' => 'o',
        '1' | 'i' => 'l',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        other => other,
    });
    let alike: String = alike.collect();
    alike.replace("rn", "m").replace("vv", "w")
}

const fn is_mark(byte: u8) -> bool {
    matches!(byte, b'.' | b'_' | b'-')
}

fn has_marks_side_by_side(text: &str) -> bool {
    let next = text.bytes().skip(1);
    text.bytes()
        .zip(next)
        .any(|(one, next)| is_mark(one) && is_mark(next))
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Option<String> {
        Username::parse(text).ok().map(|name| name.0)
    }

    #[test]
    fn a_name_has_one_form_however_it_is_typed() {
        for text in ["ada.k", "ADA.K", "ａｄａ．ｋ", "Ada.\u{212a}", "𝐚𝐝𝐚.𝐤"] {
            assert_eq!(one(text).as_deref(), Some("ada.k"), "{text}");
        }
        assert_eq!(one("ſam").as_deref(), Some("sam"));
    }

    #[test]
    fn letters_that_only_look_the_same_make_no_name() {
        for text in [
            "аda",
            "pаypal",
            "admın",
            "İda",
            "a\u{301}da",
            "ada\u{200b}",
            "ada\u{200d}k",
            "\u{202e}ada",
            "ada\0",
            "ada\r\nbcc",
            "αdα",
            "a da",
            "ada@example.com",
            "a/da",
            "日本語",
        ] {
            assert_eq!(one(text), None, "{text:?}");
        }
    }

    #[test]
    fn length_and_marks_are_bounded() {
        for text in ["ada", "a-b", "a.b_c-d", &"a".repeat(32), "007"] {
            assert_eq!(one(text).as_deref(), Some(text));
        }
        for text in [
            "",
            "ab",
            &"a".repeat(33),
            "a..b",
            "a._b",
            ".ada",
            "ada-",
            "---",
            // One character that becomes eighteen.
            "\u{fdfa}",
            &"\u{fdfa}".repeat(80),
            &"a".repeat(1 << 20),
        ] {
            assert_eq!(one(text), None, "{text:.40}");
        }
    }

    #[test]
    fn nobody_is_taken_for_whoever_runs_the_service() {
        for text in [
            "admin",
            "Admin",
            "ａｄｍｉｎ",
            "adm1n",
            "a.d.m.i.n",
            "4dmin",
            "r00t",
            "supp0rt",
            "no-reply",
            "kavach_os",
            "adrnin",
            "vvvvvv",
        ] {
            let is_reserved = Username::choose(text).is_err();
            assert!(is_reserved, "{text}");
        }
        // The twin: they are names, which nobody chooses.
        assert!(Username::parse("adm1n").is_ok());
        for text in ["adminka", "ada", "rooth", "usher"] {
            assert!(Username::choose(text).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_of_few_letters_and_its_own_form(text in "\\PC{0,40}") {
            if let Ok(name) = Username::parse(&text) {
                let known = |byte: u8| byte.is_ascii_alphanumeric() || is_mark(byte);
                prop_assert!(name.as_str().bytes().all(known));
                let again = Username::parse(name.as_str());
                prop_assert_eq!(again.as_ref().ok(), Some(&name));
                prop_assert_eq!(Username::parse(&text.to_uppercase()).ok(), Some(name));
            }
        }
    }

    #[test]
    fn names_that_look_alike_are_known_as_such() {
        let look = |text| Username::parse(text).unwrap().look();
        for (one, other) in [
            ("paypal", "paypa1"),
            ("google", "g00gle"),
            ("modern", "modem"),
            ("a.b", "a_b"),
            ("vvilly", "willy"),
        ] {
            assert_eq!(look(one), look(other), "{one} {other}");
        }
        for (one, other) in [("kai", "kal"), ("ada", "adam"), ("a.bc", "abc")] {
            assert_ne!(look(one), look(other), "{one} {other}");
        }
    }
}
