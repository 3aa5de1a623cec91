//! The server's own cookies, and from where they are taken.
//!
//! Promises: a session in a cookie is a credential only where the browser says that the request comes from a page of this
//! server; to everything else it is as if the cookie were not there. Scripts see none of them, and no other host gets any.

use std::time::Duration;

use http::header::{COOKIE, HeaderName, ORIGIN};
use http::{HeaderMap, Method};
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_engine::Browser;

/// The cookie with a session. Browsers take `__Host-` only over TLS or from this machine, for this host alone.
pub(crate) const SESSION: &str = "__Host-kavach_session";
/// The cookie by which a browser is remembered.
const DEVICE: &str = "__Host-kavach_device";
/// How long that is: as long as browsers keep any cookie.
const DEVICE_LIFE: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// The most cookies that are looked at.
const MAX_COOKIES: usize = 64;
/// What the browser says of where the request comes from (Fetch Metadata Request Headers).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Asks for the session as a cookie in place of a token in the body.
const CARRIER: HeaderName = HeaderName::from_static("kavach-session");

/// Where a new session's token goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Into the body.
    Body,
    /// Into a cookie, and nowhere else.
    Cookie,
}

impl Carrier {
    /// What the caller asks for.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        match headers.get(CARRIER) {
            Some(value) if value == "cookie" => Self::Cookie,
            _ => Self::Body,
        }
    }

    /// The browser that is to keep the session.
    pub(crate) fn browser(self, headers: &HeaderMap) -> Option<Browser> {
        (self == Self::Cookie).then(|| Browser {
            device: device(headers),
        })
    }
}

/// Where a request comes from, as far as the browser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// A page of this server.
    Here,
    /// A page of another one.
    Elsewhere,
    /// No browser that says it.
    Unknown,
}

/// Where a request comes from.
pub(crate) fn comes_from(headers: &HeaderMap, public_url: &str) -> From {
    let only = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(()),
        }
    };
    match (only(&SITE), only(&ORIGIN)) {
        (Err(()), _) | (_, Err(())) => From::Elsewhere,
        (Ok(Some(site)), _) if site == "same-origin" => From::Here,
        // A person typed the address, or opened a bookmark.
        (Ok(Some(site)), Ok(None)) if site == "none" => From::Unknown,
        (Ok(Some(_)), _) => From::Elsewhere,
        (Ok(None), Ok(Some(origin))) if origin == origin_of(public_url) => From::Here,
        (Ok(None), Ok(Some(_))) => From::Elsewhere,
        (Ok(None), Ok(None)) => From::Unknown,
    }
}

/// The origin of a URL: without its path.
pub(crate) fn origin_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url
        .get(authority..)
        .and_then(|rest| rest.find('/'))
        .map_or(url.len(), |at| authority + at);
    url.get(..end).unwrap_or(url)
}

/// The session in a cookie, if the request may use it: one that changes something comes from a page of this server.
pub(crate) fn session<'a>(
    method: &Method,
    headers: &'a HeaderMap,
    public_url: &str,
) -> Option<&'a str> {
    let text = value(headers, SESSION)?;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let may = match comes_from(headers, public_url) {
        From::Here => true,
        From::Unknown => reads,
        // A link from elsewhere opens a page; nothing that it shows can be read from there.
        From::Elsewhere => false,
    };
    may.then_some(text)
}

fn device(headers: &HeaderMap) -> Option<SecretHash> {
    let secret = Secret::parse(value(headers, DEVICE)?).ok()?;
    (secret.kind() == SecretKind::Device).then(|| secret.hash())
}

/// A cookie that is there exactly once.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(COOKIE).iter();
    let pairs = texts
        .filter_map(|text| text.to_str().ok())
        .flat_map(|text| text.split(';'))
        .take(MAX_COOKIES);
    let mut values = pairs.filter_map(|pair| {
        let (known, value) = pair.trim().split_once('=')?;
        (known == name).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Sets the cookie with a session.
pub(crate) fn set_session(token: &Secret, life: Duration) -> String {
    set(SESSION, token.reveal(), life)
}

/// Sets the cookie by which a browser is remembered.
pub(crate) fn set_device(device: &Secret) -> String {
    set(DEVICE, device.reveal(), DEVICE_LIFE)
}

/// Removes the cookie with the session.
pub(crate) fn remove_session() -> String {
    set(SESSION, "", Duration::ZERO)
}

fn set(name: &str, value: &str, life: Duration) -> String {
    let seconds = life.as_secs();
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://auth.example.com";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_session_in_a_cookie_changes_something_only_from_a_page_of_this_server() {
        let cookie = ("cookie", "a=1; __Host-kavach_session=kv_sess_x");
        let allowed = |method: Method, pairs: &[(&'static str, &str)]| {
            let headers = headers(&[&[cookie], pairs].concat());
            session(&method, &headers, HERE) == Some("kv_sess_x")
        };
        let here = ("origin", HERE);
        for pairs in [&[here][..], &[("sec-fetch-site", "same-origin")]] {
            assert!(allowed(Method::POST, pairs), "{pairs:?}");
            assert!(allowed(Method::GET, pairs), "{pairs:?}");
        }
        for pairs in [&[][..], &[("sec-fetch-site", "none")]] {
            assert!(!allowed(Method::POST, pairs), "{pairs:?}");
            assert!(allowed(Method::GET, pairs), "{pairs:?}");
        }
        for pairs in [
            &[("origin", "null")][..],
            &[("origin", "https://auth.example.com.evil.com")],
            &[("origin", "http://auth.example.com")],
            &[("origin", "https://auth.example.com:8443")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), here],
            &[("sec-fetch-site", "none"), here],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[here, here],
        ] {
            assert!(!allowed(Method::POST, pairs), "{pairs:?}");
            assert!(!allowed(Method::GET, pairs), "{pairs:?}");
        }
    }

    #[test]
    fn a_cookie_that_stands_there_twice_is_none() {
        let twice = headers(&[("cookie", "__Host-kavach_session=a; __Host-kavach_session=b")]);
        assert_eq!(session(&Method::GET, &twice, HERE), None);
        let other = headers(&[("cookie", "kavach_session=a; x__Host-kavach_session=b")]);
        assert_eq!(session(&Method::GET, &other, HERE), None);
    }

    #[test]
    fn an_origin_is_an_address_without_its_path() {
        assert_eq!(
            origin_of("https://a.example.com/kavach"),
            "https://a.example.com"
        );
        assert_eq!(origin_of("http://localhost:3000"), "http://localhost:3000");
    }
}
