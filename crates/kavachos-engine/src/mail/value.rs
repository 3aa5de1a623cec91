//! The values of mails: which there are, and what may stand in them.
//!
//! A value may come from whoever typed it into a form with somebody else's address. It is text and nothing else: no control
//! characters, no marks that reorder text, short; and a name that would show as a link is left out, since mail in our name
//! with somebody else's link in it is what such a form would be abused for.

use std::collections::BTreeMap;
use std::time::Duration;

use kavachos_core::time::Timestamp;
use kavachos_core::unseen::{is_reordering, is_unseen};

use super::{Mail, MailValues};

/// Every value that a mail may have.
pub(super) const NAMES: [&str; 10] = [
    "url", "code", "minutes", "name", "ip", "device", "method", "reason", "by", "until",
];
/// What every template has besides: the name of the sender, the public address, when it was queued, the language.
pub(super) const GIVEN: [&str; 4] = ["app", "site", "at", "language"];
/// The longest link, in bytes.
const MAX_URL_BYTES: usize = 2_048;
/// The longest of the other values, in characters.
const MAX_CHARS: usize = 120;
/// The longest that a mail may be worth something, in minutes: a week.
const MAX_MINUTES: u64 = 7 * 24 * 60;

/// The values of a mail as they go into its template.
pub(super) fn checked(mail: &Mail, site: &str) -> Result<BTreeMap<String, String>, String> {
    let missing = |name: &&&str| mail.values.get(**name).is_none_or(String::is_empty);
    if let Some(name) = mail.kind.needs().iter().find(missing) {
        return Err(format!("needs the value `{name}`"));
    }
    let mut values = BTreeMap::new();
    for (name, value) in &mail.values {
        if !NAMES.contains(name) {
            return Err(format!("has the value `{name}`, which no template knows"));
        }
        let fit = match *name {
            "url" => link(value, site)?,
            "name" | "device" | "by" | "reason" if is_linkish(value) => String::new(),
            // Browsers have versions that look like one.
            "name" | "by" | "reason" if has_address(value) => String::new(),
            _ => one_line(value),
        };
        values.insert((*name).to_owned(), fit);
    }
    Ok(values)
}

/// For how long a mail is worth something, if it says so.
pub(super) fn minutes(values: &MailValues) -> Result<Option<Duration>, String> {
    let Some(text) = values.get("minutes") else {
        return Ok(None);
    };
    match text.parse::<u64>() {
        Ok(minutes @ 1..=MAX_MINUTES) => Ok(Some(Duration::from_secs(minutes * 60))),
        _ => Err("has `minutes` that are no number from 1 to 10080".to_owned()),
    }
}

/// A moment as people read it, to the minute.
pub(super) fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    let minute = text.get(..16).unwrap_or(&text);
    format!("{} UTC", minute.replace('T', " "))
}

/// A link below the public address, and nothing in it that is none.
fn link(url: &str, site: &str) -> Result<String, String> {
    let site = site.trim_end_matches('/');
    let is_ours = url
        .strip_prefix(site)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_ours || !is_plain || url.len() > MAX_URL_BYTES {
        return Err("has a link that is not below the public address".to_owned());
    }
    Ok(url.to_owned())
}

/// The text in one line, without what moves or reorders it, cut where it is long.
pub(super) fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text
        .chars()
        .map(plain)
        .filter(|c| !is_reordering(*c))
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_CHARS).collect()
}

/// Whether readers of mail would make a link or an address of it: `a.example`, `https:`, `a@b`.
fn is_linkish(text: &str) -> bool {
    let lower = as_read(text);
    let has_domain = lower.split('.').skip(1).any(|rest| {
        let mut letters = rest.chars().take_while(|c| c.is_alphabetic());
        letters.next().is_some() && letters.next().is_some()
    });
    has_domain || lower.contains("//") || lower.contains('@') || lower.contains("www.")
}

/// Whether there is an IPv4 address in it: `192.0.2.7/login`.
fn has_address(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let is_number = |part: &str| !part.is_empty() && part.len() <= 3;
    as_read(text)
        .split(|c: char| !is_part(c))
        .any(|run| run.split('.').filter(|part| is_number(part)).count() >= 4)
}

/// The text as readers of mail look for links in it: every full stop is one (UTS 46, and compatibility forms), signs of full
/// width are those of ASCII, and what shows nothing is not there.
fn as_read(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{3002}' | '\u{ff61}' | '\u{2024}' => '.',
        '\u{ff01}'..='\u{ff5e}' => {
            let ascii = u32::from(c).checked_sub(0xfee0);
            ascii.and_then(char::from_u32).unwrap_or(c)
        }
        c => c,
    };
    let seen = text.chars().filter(|c| !is_unseen(*c));
    seen.map(plain).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::MailKind;
    use super::*;

    const SITE: &str = "https://auth.example.com";

    fn mail() -> Mail {
        let to = "ada@example.com".parse().unwrap();
        let url = format!("{SITE}/magic-link?token=abc");
        Mail::new(to, MailKind::MagicLink).with("url", url)
    }

    #[test]
    fn a_link_leads_to_the_public_address_and_nowhere_else() {
        assert!(checked(&mail(), SITE).is_ok());
        for url in [
            "https://evil.example/magic-link?token=abc",
            "https://auth.example.com.evil.example/",
            "https://auth.example.com@evil.example/",
            "https://auth.example.com/\r\nBcc: eve@example.com",
            "https://auth.example.com/ x",
            "javascript:alert(1)",
            "",
        ] {
            assert!(checked(&mail().with("url", url), SITE).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_value_is_one_line_and_no_link() {
        let name = |text: &str| checked(&mail().with("name", text), SITE).unwrap()["name"].clone();
        assert_eq!(name("Ada\r\nBcc: eve"), "Ada Bcc: eve");
        assert_eq!(name("Ada\u{202e}\u{0}L"), "Ada L");
        assert_eq!(name(&"x".repeat(500)).len(), MAX_CHARS);
        for text in [
            "your account is locked, visit evil.example",
            "https://evil",
            "www.evil",
            "eve@evil",
            "eve＠evil",
            "evil。com",
            "evil．com",
            "evil｡com",
            "ev\u{200b}il.\u{2060}com",
            "sign in at 203.0.113.7/login",
            "２０３．０．１１３．７",
        ] {
            assert_eq!(name(text), "", "{text}");
        }
        for text in [
            "Ada L. Byron",
            "J. R. R. Tolkien",
            "Zoë",
            "李",
            "Ada 2.0, since 22.11.2026",
        ] {
            assert_eq!(name(text), text);
        }
        for device in [
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
        ] {
            let values = checked(&mail().with("device", device), SITE).unwrap();
            assert_eq!(values["device"], device);
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_a_defect() {
        let to = || "ada@example.com".parse().unwrap();
        assert!(checked(&Mail::new(to(), MailKind::EmailOtp), SITE).is_err());
        assert!(
            checked(
                &Mail::new(to(), MailKind::EmailOtp).with("code", "123456"),
                SITE
            )
            .is_ok()
        );
        assert!(checked(&mail().with("odd", "x"), SITE).is_err());
    }

    #[test]
    fn minutes_are_a_number_within_bounds() {
        let of = |text: &str| minutes(&mail().with("minutes", text).values);
        assert_eq!(of("15"), Ok(Some(Duration::from_secs(900))));
        assert_eq!(minutes(&mail().values), Ok(None));
        for text in ["0", "-1", "soon", "10081", ""] {
            assert!(of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_shown_to_the_minute() {
        let time: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
        assert_eq!(minute(time), "2027-01-15 08:00 UTC");
    }
}
