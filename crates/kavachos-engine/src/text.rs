//! Texts that people give to things: bounded, and without characters that would fool a terminal or a page.

use kavachos_core::invalid::Invalid;
use kavachos_core::json;
use kavachos_core::time::Timestamp;
use kavachos_core::unseen::is_reordering;
use serde_json::Value;

use crate::mail::EmailAddress;

/// The longest name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 200;
/// The longest reason, in bytes.
pub(crate) const MAX_REASON_BYTES: usize = 200;
/// The longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3).
const MAX_EMAIL_BYTES: usize = 254;
/// The longest name by which records are filtered, in bytes.
const MAX_WORD_BYTES: usize = 64;
/// The longest metadata as JSON text, in bytes.
const MAX_METADATA_BYTES: usize = 2_048;

/// Checks a name or a reason: not empty, not too long, no control characters, no marks that reorder text.
pub(crate) fn plain(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid::at(field, "may not be empty"));
    }
    if text.len() > max {
        return Err(Invalid::at(field, format!("is longer than {max} bytes")));
    }
    if text.chars().any(|c| c.is_control() || is_reordering(c)) {
        return Err(Invalid::at(
            field,
            "holds control characters or marks that reorder text; leave them out",
        ));
    }
    Ok(())
}

/// Checks a name by which records are filtered: a code, a kind, an action.
pub(crate) fn word(field: &str, text: Option<&String>) -> Result<(), Invalid> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text {
        Some(text)
            if text.is_empty() || text.len() > MAX_WORD_BYTES || !text.bytes().all(known) =>
        {
            let message = format!("must be 1 to {MAX_WORD_BYTES} of A-Z, a-z, 0-9, `.`, `_`, `-`");
            Err(Invalid::at(field, message))
        }
        _ => Ok(()),
    }
}

/// The address of a new account, in the form of [`email`]: one that mail can go to. Accounts that were moved here may have
/// others.
pub(crate) fn new_email(text: &str) -> Result<String, Invalid> {
    text.parse::<EmailAddress>().map(String::from)
}

/// The form in which an e-mail address is stored and compared.
///
/// # Errors
/// It is none, or one that is not taken here.
pub fn email(text: &str) -> Result<String, Invalid> {
    // Lower case can be longer, and what is stored must be an address itself.
    let text = text.to_lowercase();
    plain("email", &text, MAX_EMAIL_BYTES)?;
    let wrong = || Invalid::at("email", "this is no e-mail address like `ada@example.com`");
    let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    let odd = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';' | '"' | '@');
    if local.is_empty() || domain.is_empty() || text.replacen('@', "", 1).contains(odd) {
        return Err(wrong());
    }
    Ok(text)
}

/// Checks the end of something new: one that has passed is a mistake, not a wish.
pub(crate) fn future(end: Option<Timestamp>, now: Timestamp) -> Result<(), Invalid> {
    match end {
        Some(end) if end <= now => Err(Invalid::at(
            "expiresAt",
            "has passed; name a later time, or leave it out",
        )),
        _ => Ok(()),
    }
}

/// Checks an object of the caller's own.
pub(crate) fn metadata(value: &Value) -> Result<(), Invalid> {
    if !value.is_object() {
        return Err(Invalid::at("metadata", "must be a JSON object"));
    }
    // In the form in which it is recorded: there a number can be longer than it was written.
    if json::canonical(value).len() > MAX_METADATA_BYTES {
        return Err(Invalid::at(
            "metadata",
            format!("is longer than {MAX_METADATA_BYTES} bytes"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_fool_a_reader_are_refused() {
        for text in [
            "",
            "  ",
            "a\u{0}b",
            "a\nb",
            "\u{1b}[31mred",
            "user\u{202e}txt.exe",
            &"x".repeat(201),
        ] {
            assert!(plain("name", text, MAX_NAME_BYTES).is_err(), "{text:?}");
        }
        for text in ["github-reader", "Zoë’s 📮 agent", "读者"] {
            assert!(plain("name", text, MAX_NAME_BYTES).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_email_address_is_checked_and_lowered() {
        assert_eq!(email("Ada@Example.COM").as_deref(), Ok("ada@example.com"));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a b@example.com",
            "ada@@example.com",
            "a@b@c",
            "<ada@example.com>",
        ] {
            assert!(email(text).is_err(), "{text}");
        }
        // Two bytes each, of which lower case makes three.
        let grows = |letters| format!("{}@example.com", "\u{23a}".repeat(letters));
        assert!(email(&grows(121)).is_err());
        let lowered = email(&grows(80)).unwrap();
        assert_eq!(email(&lowered).as_deref(), Ok(lowered.as_str()));
    }
}
