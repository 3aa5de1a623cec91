//! The header `Cookie`, a line of the input each.
#![no_main]

#[expect(dead_code, reason = "what sets cookies is not fuzzed")]
#[path = "../../crates/kavachos-http/src/cookie.rs"]
mod cookie;

use cookie::{Carrier, SESSION, session, value};
use http::header::{COOKIE, HeaderValue, ORIGIN};
use http::{HeaderMap, Method};
use kavachos_engine::plugin::visible_cookies;
use libfuzzer_sys::fuzz_target;

const HERE: &str = "https://auth.example.com";
const ELSEWHERE: &str = "https://auth.example.com.evil.example";
/// The most cookies that a plugin is shown.
const MAX_FIELDS: usize = 64;

fn from(headers: &HeaderMap, origin: &'static str) -> HeaderMap {
    let mut headers = headers.clone();
    headers.insert(ORIGIN, HeaderValue::from_static(origin));
    headers
}

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    let texts = || {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
    };
    let visible = visible_cookies(texts());
    assert!(visible.len() <= MAX_FIELDS);
    for (name, value) in &visible {
        assert!(name.starts_with("__Host-") && !name.starts_with("__Host-kavach"));
        assert!(!format!("{name}{value}").contains([';', '\r', '\n']));
    }
    // Written down again they read the same.
    let again: Vec<String> = visible
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        visible_cookies([again.join("; ").as_str()].into_iter()),
        visible
    );
    let _ = Carrier::Cookie.browser(&headers);
    let Some(token) = value(&headers, SESSION) else {
        assert_eq!(session(&Method::GET, &from(&headers, HERE), HERE), None);
        return;
    };
    // Nobody else's page may use it, and nobody changes anything who does not say whose page it is.
    assert_eq!(
        session(&Method::POST, &from(&headers, HERE), HERE),
        Some(token)
    );
    assert_eq!(session(&Method::POST, &headers, HERE), None);
    for method in [Method::GET, Method::POST] {
        assert_eq!(session(&method, &from(&headers, ELSEWHERE), HERE), None);
    }
    // Of two there is none, whichever comes first.
    let twice = HeaderValue::from_static("__Host-kavach_session=another");
    let mut before = HeaderMap::new();
    before.append(COOKIE, twice);
    before.extend(
        headers
            .get_all(COOKIE)
            .iter()
            .map(|value| (COOKIE, value.clone())),
    );
    let found = value(&before, SESSION);
    assert!(found.is_none() || found == Some("another"));
});
