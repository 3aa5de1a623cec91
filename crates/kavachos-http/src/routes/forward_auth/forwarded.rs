//! The call at a proxy, read from the headers in which proxies describe it: the one place where a URL becomes a resource.
//!
//! Promises: what two servers could read in two ways is refused, never guessed. That is a separator or a dot that is
//! encoded, an encoding of an encoding, a path parameter, an empty or dot segment, a header that stands twice, and every
//! header by which a client would speak for a proxy. Two URLs that every server reads alike are one resource.

use std::fmt::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use kavachos_core::action::Action;
use kavachos_core::decide::Request;
use kavachos_core::resource::Resource;
use kavachos_core::token::AssertedCall;

/// The only headers that are read: those of Caddy and Traefik, and of the documented configuration of nginx.
const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Headers that make some servers answer another request than the one that was asked about.
const OVERRIDES: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];
/// Where our own headers begin; what stands behind a proxy believes them.
const OURS: &str = "kavach-";
/// The one of ours that a proxy sends.
const PROXY_KEY: &str = "kavach-proxy-key";
/// The longest URL that is read.
const MAX_URI_BYTES: usize = 4_096;

/// Why a call cannot be read.
type Unreadable = String;

/// The request that a proxy describes. Its body is unseen, so there are no arguments, and rules about them fail.
pub(super) fn request(headers: &HeaderMap, ip: Option<IpAddr>) -> Result<Request, Unreadable> {
    refuse_spoofed(headers)?;
    Ok(Request {
        action: action(single(headers, &METHOD)?)?,
        resource: resource(single(headers, &HOST)?, single(headers, &URI)?)?,
        arguments: None,
        ip,
        cost: None,
    })
}

/// The call in the proxy's own words.
pub(super) fn described(headers: &HeaderMap) -> Option<AssertedCall> {
    let text = |name| single(headers, name).ok().map(str::to_owned);
    Some(AssertedCall {
        method: text(&METHOD)?,
        host: text(&HOST)?,
        uri: text(&URI)?,
    })
}

/// The value of a header that must stand once.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Unreadable> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(text)), None) => Ok(text),
        _ => Err(format!("the proxy must send one header `{name}` of ASCII")),
    }
}

/// Some servers read `_` in the name of a header as `-`, so both are looked at alike.
fn refuse_spoofed(headers: &HeaderMap) -> Result<(), Unreadable> {
    for name in headers.keys() {
        let name = name.as_str();
        let read = name.replace('_', "-");
        let ours = read.starts_with(OURS) && name != PROXY_KEY;
        let forwarded = read.starts_with("x-forwarded-") && read != name;
        if ours || forwarded || OVERRIDES.contains(&read.as_str()) {
            return Err("the client sends a header that only a proxy may set".to_owned());
        }
    }
    Ok(())
}

/// A method in capitals, as an action in small letters.
fn action(method: &str) -> Result<Action, Unreadable> {
    let wrong = || "the method is no word in capitals".to_owned();
    let capitals = method
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if !capitals {
        return Err(wrong());
    }
    method.to_ascii_lowercase().parse().map_err(|_| wrong())
}

/// `http:{host}:{segments}`; the query does not count.
fn resource(host: &str, uri: &str) -> Result<Resource, Unreadable> {
    if uri.len() > MAX_URI_BYTES {
        return Err(format!("the URL is longer than {MAX_URI_BYTES} bytes"));
    }
    let path = uri.split_once('?').map_or(uri, |(path, _)| path);
    let path = path
        .strip_prefix('/')
        .ok_or("the URL does not begin with `/`")?;
    let mut text = format!("http:{}", authority(host)?);
    // One slash at the end changes nothing that servers agree upon.
    let path = path.strip_suffix('/').unwrap_or(path);
    if !path.is_empty() {
        for segment in path.split('/') {
            text.push(':');
            text.push_str(&spelled(segment)?);
        }
    }
    text.parse()
        .map_err(|_| "the path has too many segments or is too long".to_owned())
}

/// The host in small letters, with a port that is not the usual one as `%3A8443`.
fn authority(host: &str) -> Result<String, Unreadable> {
    let wrong = || "the host is no name with or without a port".to_owned();
    let host = host.to_ascii_lowercase();
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host.as_str(), None),
    };
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(inner)
    };
    if !name.split('.').all(label) {
        return Err(wrong());
    }
    match port {
        None | Some("80" | "443") => Ok(name.to_owned()),
        Some(port)
            if port
                .parse::<u16>()
                .is_ok_and(|number| number.to_string() == port) =>
        {
            Ok(format!("{name}%3A{port}"))
        }
        Some(_) => Err(wrong()),
    }
}

/// A segment in the one spelling of resources: decoded once, then everything but `A-Z a-z 0-9 . _ -` encoded.
fn spelled(segment: &str) -> Result<String, Unreadable> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            check_raw(byte)?;
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next()), digit(bytes.next()));
        let value = high
            .zip(low)
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let value = value.ok_or("the path holds a `%` that encodes nothing")?;
        check_encoded(value)?;
        decoded.push(value);
    }
    if decoded.is_empty() || decoded == b"." || decoded == b".." {
        return Err("the path holds an empty or a dot segment".to_owned());
    }
    let mut text = String::with_capacity(decoded.len());
    for byte in decoded {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Ok(text)
}

/// What may stand in a path as it is: printable ASCII, but no backslash and no `;`, which some servers read as
/// separators, and no fragment.
fn check_raw(byte: u8) -> Result<(), Unreadable> {
    match byte {
        b'\\' | b';' | b'#' => {
            Err("the path holds a character that servers read differently".to_owned())
        }
        byte if byte.is_ascii_graphic() => Ok(()),
        _ => Err("the path holds a character that must be encoded".to_owned()),
    }
}

/// What may stand in a path encoded: no separator, no dot, no `%`, no path parameter, and nothing that ends a text.
fn check_encoded(byte: u8) -> Result<(), Unreadable> {
    match byte {
        b'/' | b'\\' | b'.' | b'%' | b';' | b'#' | b'?' => {
            Err("the path encodes a character that servers read differently".to_owned())
        }
        byte if byte.is_ascii_control() => Err("the path encodes a control character".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(host: &str, uri: &str) -> Option<String> {
        resource(host, uri)
            .ok()
            .map(|resource| resource.as_str().to_owned())
    }

    #[test]
    fn a_url_is_one_resource_however_it_is_spelled() {
        for (host, uri, expected) in [
            ("api.example.com", "/", "http:api.example.com"),
            ("API.example.com:443", "/a/b", "http:api.example.com:a:b"),
            (
                "api.example.com:8443",
                "/a",
                "http:api.example.com%3A8443:a",
            ),
            ("localhost", "/a/", "http:localhost:a"),
            ("a", "/a?x=/../b;c", "http:a:a"),
            ("a", "/%61dmin", "http:a:admin"),
            ("a", "/a:b", "http:a:a%3Ab"),
            ("a", "/a%3ab", "http:a:a%3Ab"),
            ("a", "/~me/*", "http:a:%7Eme:%2A"),
            ("a", "/%c3%a9", "http:a:%C3%A9"),
            ("a", "/a%20b", "http:a:a%20b"),
            ("a", "/...", "http:a:..."),
        ] {
            assert_eq!(read(host, uri).as_deref(), Some(expected), "{host}{uri}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for uri in [
            "",
            "a",
            "http://a/b",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/public/..%2fadmin",
            "/public/..%2Fadmin",
            "/public%2fadmin",
            "/a%5cb",
            "/a%5Cb",
            "/a\\b",
            "/%2e%2e/admin",
            "/%2e",
            "/.%2e/admin",
            "/a%252fb",
            "/a%25",
            "/%25%32%66",
            "/..;/admin",
            "/a;x=1",
            "/a%3bx",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/a#b",
            "/a%23b",
            "/a%3Fb",
            "/a b",
            "/\u{e9}",
            "/a\u{0}",
        ] {
            assert_eq!(read("a", uri), None, "{uri:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_URI_BYTES));
        assert_eq!(read("a", &long), None);
        assert_eq!(read("a", &"/a".repeat(15)), None);
        assert!(read("a", &"/a".repeat(14)).is_some());
    }

    #[test]
    fn a_host_is_a_name_with_or_without_a_port() {
        for host in [
            "", ".", "a.", ".a", "a..b", "a b", "a/b", "a@b", "[::1]", "a:", "a:b", "a:080",
            "a:65536", "a:1:2", "\u{e9}", "a%2fb", "*", "a,b",
        ] {
            assert_eq!(read(host, "/"), None, "{host:?}");
        }
    }

    #[test]
    fn a_method_is_a_word_in_capitals() {
        assert_eq!(action("GET").unwrap().as_str(), "get");
        assert_eq!(action("M-SEARCH").unwrap().as_str(), "m-search");
        for method in ["", "get", "Get", "GET ", "GET,POST", "G*T", "*"] {
            assert!(action(method).is_err(), "{method:?}");
        }
    }

    #[test]
    fn headers_of_ours_are_never_a_clients() {
        let with = |name: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("x-forwarded-method", "GET"),
                ("x-forwarded-host", "a"),
                ("x-forwarded-uri", "/"),
                ("kavach-proxy-key", "k"),
                (name, "x"),
            ] {
                headers.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                );
            }
            request(&headers, None).is_ok()
        };
        for name in [
            "kavach-agent",
            "kavach_agent",
            "kavach-user",
            "kavach-anything",
            "kavach_proxy_key",
            "x_forwarded_uri",
            "x-forwarded_host",
            "x-forwarded-uri",
            "x-forwarded-method",
            "x-original-url",
            "x-http-method-override",
        ] {
            assert!(!with(name), "{name}");
        }
        // The twin: others are nobody's business.
        for name in [
            "accept",
            "x-kavach-agent",
            "cookie",
            "x-forwarded-for",
            "x-forwarded-proto",
        ] {
            assert!(with(name), "{name}");
        }
    }
}
