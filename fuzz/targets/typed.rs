//! What people type: an e-mail address, a name, a password, the code of an app, a backup code, the code that a device shows.
#![no_main]

use kavachos_auth::fuzzing::{password, totp, username};
use kavachos_core::client::UserCode;
use kavachos_core::time::Timestamp;
use kavachos_engine::email_address;
use kavachos_engine::mail::{EmailAddress, Mailbox};
use libfuzzer_sys::fuzz_target;

/// The seed of RFC 6238, and a time at which its code is 254676.
const SEED: [u8; 20] = *b"12345678901234567890";
const NOW: Timestamp = Timestamp::from_micros(150_000_000);
/// The codes of one step early, of this one and of one step late (RFC 4226, appendix D).
const CODES: [(&str, u64); 3] = [("338314", 4), ("254676", 5), ("287922", 6)];

/// An address is ASCII without anything that ends a header or begins another address, and its own form.
fn check_address(text: &str) {
    if let Ok(address) = text.parse::<EmailAddress>() {
        let one = address.as_str();
        assert!(text.eq_ignore_ascii_case(one) && one.len() <= 254);
        assert!(one.bytes().all(|byte| byte.is_ascii_graphic()
            && !b"\"(),:;<>@[\\]".contains(&byte)
            || byte == b'@'));
        assert_eq!(one.matches('@').count(), 1);
        assert_eq!(email_address(text).as_deref(), Ok(one));
        assert!(one.parse::<EmailAddress>().as_ref() == Ok(&address));
        assert!(text.to_ascii_uppercase().parse::<EmailAddress>() == Ok(address));
    }
    // Accounts may be known by more than mail is sent to, but never in another form.
    if let Ok(known) = email_address(text) {
        assert_eq!(email_address(&known).as_ref(), Ok(&known));
    }
    if let Ok(mailbox) = text.parse::<Mailbox>() {
        let name = mailbox.name().unwrap_or_default();
        assert!(
            name.len() <= 100 && !name.contains(|c: char| c.is_control() || "<>\"\\".contains(c))
        );
    }
}

/// A name is a few plain letters, its own form, and the same however its letters are typed.
fn check_name(text: &str) {
    let Some((one, look)) = username::name(text) else {
        assert!(!username::may_be_chosen(text));
        return;
    };
    assert!((3..=32).contains(&one.len()));
    assert!(
        one.bytes().all(|byte| byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || b"._-".contains(&byte))
    );
    assert_eq!(username::name(&one), Some((one.clone(), look.clone())));
    assert_eq!(
        username::name(&one.to_uppercase()),
        Some((one.clone(), look))
    );
    // How it is typed does not let anybody have a name that is reserved.
    assert_eq!(username::may_be_chosen(text), username::may_be_chosen(&one));
    assert!(!username::may_be_chosen("admin") && username::may_be_chosen("ada"));
}

/// A password is its own form, so that it is the same when it is hashed again.
fn check_password(text: &str) {
    if let Some(one) = password::one_form(text) {
        assert!((1..=256).contains(&one.chars().count()));
        assert_eq!(password::one_form(&one), Some(one));
    }
}

fn check_codes(text: &str) {
    let expected = CODES.iter().find(|(code, _)| *code == text);
    assert_eq!(totp::step(SEED, text, NOW), expected.map(|(_, step)| *step));
    if let Some(shown) = totp::backup(text) {
        assert!(shown.len() == 15 && text.len() <= 64);
        assert!(shown.bytes().all(|byte| byte.is_ascii_digit()
            || byte == b'-'
            || byte.is_ascii_lowercase() && !b"ilou".contains(&byte)));
        assert_eq!(totp::backup(&shown).as_ref(), Some(&shown));
        assert_eq!(totp::backup(&shown.to_uppercase()), Some(shown));
    }
}

/// The code of a device is eight of twenty letters, however it is typed, and is stored as what is shown.
fn check_user_code(text: &str) {
    let Ok(code) = UserCode::parse(text) else {
        return;
    };
    let shown = code.reveal();
    assert!(shown.len() == 9 && text.len() <= 64);
    assert_eq!(shown.replace('-', "").as_bytes(), code.as_bytes());
    assert!(code.as_bytes().iter().all(u8::is_ascii_uppercase));
    let letters = text.chars().filter(char::is_ascii_alphabetic);
    let typed: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    assert_eq!(typed.as_bytes(), code.as_bytes());
    assert!(UserCode::parse(&shown).is_ok_and(|again| again == code));
}

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = str::from_utf8(input) {
        check_address(text);
        check_name(text);
        check_password(text);
        check_codes(text);
        check_user_code(text);
    }
});
