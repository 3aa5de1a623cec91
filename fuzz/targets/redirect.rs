//! Where browsers are sent back to, and the addresses by which clients are known. Of two lines, whether they are one place.
#![no_main]

use std::net::IpAddr;

use kavachos_core::client::{
    ClientId, MAX_CLIENT_ID_BYTES, MAX_REDIRECT_BYTES, RedirectKind, RedirectUri,
};
use kavachos_core::id::RegisteredClientId;
use libfuzzer_sys::fuzz_target;
use url::{Host, ParseError, Url};

/// What a browser would make of an address; `None` of one that it would not go to.
fn as_a_browser(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    assert!(url.username().is_empty() && url.password().is_none());
    assert_eq!(url.fragment(), None);
    let (scheme, _) = text.split_once(':')?;
    assert_eq!(url.scheme(), scheme);
    Some(url)
}

fn is_this_machine(host: &Host<&str>) -> bool {
    let is_here = |address: IpAddr| {
        let address = address.to_canonical();
        address.is_loopback() || address.is_unspecified()
    };
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => is_here(IpAddr::V4(*address)),
        Host::Ipv6(address) => is_here(IpAddr::V6(*address)),
    }
}

/// A browser goes where we say that it goes, and nowhere else.
fn check_web(uri: &RedirectUri) {
    let text = uri.as_str();
    let Some(url) = as_a_browser(text) else {
        // Of names in other letters browsers know more than we need to.
        assert_eq!(Url::parse(text), Err(ParseError::IdnaError));
        return;
    };
    let host = url.host().expect("a host");
    let is_here = is_this_machine(&host);
    assert_eq!(uri.kind() == RedirectKind::Loopback, is_here, "{text}");
    assert!(url.scheme() == "https" || is_here && url.scheme() == "http");
    let of_scheme = if url.scheme() == "https" { 443 } else { 80 };
    let (name, port) = match uri.place().rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => (name, digits.parse().ok()),
        _ => (uri.place(), Some(of_scheme)),
    };
    assert_eq!(url.port_or_known_default(), port);
    match host {
        Host::Domain(domain) => assert_eq!(domain, name),
        Host::Ipv4(address) => assert_eq!(address.to_string(), name),
        Host::Ipv6(address) => {
            let within = name.trim_start_matches('[').trim_end_matches(']');
            assert_eq!(within.parse(), Ok(address));
        }
    }
    let behind = text.strip_prefix(uri.origin()).expect("an origin");
    let path = behind.split('?').next().unwrap_or_default();
    assert_eq!(url.path(), if path.is_empty() { "/" } else { path });
}

/// What is accepted is written and read the same, and what is added to it is what was added.
fn check(uri: &RedirectUri, text: &str, value: &str) {
    assert!(uri.as_str() == text && text.len() <= MAX_REDIRECT_BYTES);
    assert!(uri.matches(uri));
    // It stands in a header of ours, between blanks and semicolons.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:/[]".contains(&byte);
    assert!(uri.origin().bytes().all(is_plain) && text.starts_with(uri.origin()));
    if uri.kind() == RedirectKind::Private {
        if let Some(url) = as_a_browser(text) {
            assert!(!url.is_special());
        }
    } else {
        check_web(uri);
    }
    if let Some(url) = as_a_browser(&uri.with([("state", value)])) {
        let added = url.query_pairs().last().expect("a parameter");
        assert_eq!(added, ("state".into(), value.into()));
    }
}

/// Two addresses are the same, or on this machine and but for the port.
fn check_pair(one: &RedirectUri, other: &RedirectUri) {
    let matches = one.matches(other);
    assert_eq!(matches, other.matches(one));
    if matches && one != other {
        let portless = |uri: &RedirectUri| {
            assert_eq!(uri.kind(), RedirectKind::Loopback);
            let mut url = Url::parse(uri.as_str()).expect("an address");
            url.set_port(None).expect("it has a host");
            url
        };
        assert_eq!(portless(one), portless(other));
    }
}

fn check_id(text: &str, uri: Option<&RedirectUri>) {
    let Ok(id) = text.parse::<ClientId>() else {
        return;
    };
    assert!(id.as_str() == text && text.len() <= MAX_CLIENT_ID_BYTES);
    assert_eq!(
        id.is_document(),
        text.parse::<RegisteredClientId>().is_err()
    );
    assert_eq!(id.host(), uri.map(RedirectUri::place));
    if let Some(uri) = uri {
        assert!(uri.kind() != RedirectKind::Private);
        let url = as_a_browser(text);
        assert!(url.is_none_or(|url| url.path() != "/" && url.query().is_none()));
    }
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let one = first.parse::<RedirectUri>().ok();
    check_id(first, one.as_ref());
    let Some(one) = one else {
        return;
    };
    check(&one, first, second);
    if let Ok(other) = second.parse() {
        check_pair(&one, &other);
    }
});
