//! A form of a page or a plugin, the mark of a form, and where it says that the browser is to go on to.
#![no_main]

#[path = "../../crates/kavachos-http/src/pages/csrf.rs"]
mod csrf;
#[path = "../../crates/kavachos-http/src/pages/return_to.rs"]
mod return_to;

use kavachos_engine::plugin::form_fields;
use libfuzzer_sys::fuzz_target;
use return_to::{HOME, safe};

const SECRET: &str = "kv_sess_a";
const OTHER: &str = "kv_sess_b";
/// The most fields of a form of a page.
const MAX_FIELDS: usize = 128;

/// A form as a browser would write it.
fn written(fields: &[(String, String)]) -> Vec<u8> {
    let encoded = |text: &str| {
        let bytes = text.bytes();
        bytes.map(|byte| format!("%{byte:02X}")).collect::<String>()
    };
    let pair = |(name, value): &(String, String)| format!("{}={}", encoded(name), encoded(value));
    let pairs: Vec<String> = fields.iter().map(pair).collect();
    pairs.join("&").into_bytes()
}

fn check_fields(body: &[u8]) {
    let Ok(fields) = form_fields(body, MAX_FIELDS) else {
        return;
    };
    assert!(fields.len() <= MAX_FIELDS);
    let mut names: Vec<&String> = fields.iter().map(|(name, _)| name).collect();
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(
        form_fields(&written(&fields), MAX_FIELDS).as_ref(),
        Ok(&fields)
    );
    assert!(form_fields(body, fields.len()).is_ok());
    if let Some(fewer) = fields.len().checked_sub(1) {
        assert!(form_fields(body, fewer).is_err());
    }
}

fuzz_target!(|input: &[u8]| {
    check_fields(input);
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    // Nobody makes the mark, and it is good for one secret alone.
    assert!(!csrf::is_ours(SECRET, text));
    assert!(csrf::is_ours(text, &csrf::mark(text)));
    // HMAC fills a key up with zeros.
    if text.trim_end_matches('\0') != OTHER {
        assert!(!csrf::is_ours(OTHER, &csrf::mark(text)));
    }
    let path = safe(Some(text));
    assert!(path == text || path == HOME);
    assert!(path.starts_with('/') && !path.starts_with("//"));
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\%#\"<>".contains(&byte);
    assert!(path.bytes().all(plain));
    assert_eq!(safe(Some(path)), path);
});
