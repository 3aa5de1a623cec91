//! Where a browser is sent back to, and when an address that is asked for is one that was registered.
//!
//! Promises: a redirect address has one reading. What browsers take otherwise than we do (blanks, backslashes, control
//! characters, a user before the host) is none. Two addresses are the same if they are the same bytes; of one on this
//! machine the port alone may differ (RFC 8252, section 7.3), since a program listens where there is room.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::json;
use crate::time::clip;

/// The longest redirect address, in bytes.
pub const MAX_REDIRECT_BYTES: usize = 1_024;
/// The longest scheme, in bytes.
const MAX_SCHEME_BYTES: usize = 64;
/// What stands for this machine. The name is one of them: tools register it, and browsers resolve it by themselves.
const THIS_MACHINE: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];
/// Schemes by which a browser or the system does something itself instead of handing the address to a program that registered
/// itself; so do all that begin with `ms-`.
const OF_BROWSERS: [&str; 35] = [
    "about",
    "blob",
    "facetime",
    "feed",
    "geo",
    "itms",
    "itms-apps",
    "itms-services",
    "search",
    "search-ms",
    "shell",
    "ssh",
    "chrome",
    "chrome-extension",
    "content",
    "data",
    "edge",
    "file",
    "filesystem",
    "ftp",
    "http",
    "https",
    "intent",
    "jar",
    "javascript",
    "livescript",
    "mailto",
    "moz-extension",
    "resource",
    "sms",
    "tel",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    /// `https`, of a site.
    Site,
    /// On this machine: whatever program listens there.
    Loopback,
    /// A scheme of a program: whatever program claimed it.
    Private,
}

/// A redirect address as it was registered or asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedirectUri(Box<str>);

impl RedirectUri {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whose address it is.
    pub fn kind(&self) -> RedirectKind {
        match self.0.split_once("://") {
            Some(("https", _)) if !is_this_machine(authority(&self.0)) => RedirectKind::Site,
            Some(("http" | "https", _)) => RedirectKind::Loopback,
            _ => RedirectKind::Private,
        }
    }

    /// The host with its port, or the scheme of a program: what a human is told of where they are sent.
    pub fn place(&self) -> &str {
        match self.kind() {
            RedirectKind::Private => self.0.split(':').next().unwrap_or_default(),
            RedirectKind::Site | RedirectKind::Loopback => authority(&self.0),
        }
    }

    /// The scheme, host and port, or the scheme of a program: what a page names to let a browser go there.
    pub fn origin(&self) -> &str {
        let end = match self.kind() {
            RedirectKind::Private => self.0.find(':').map(|at| at + 1),
            RedirectKind::Site | RedirectKind::Loopback => {
                let begin = self.0.find("://").map_or(0, |at| at + 3);
                Some(begin + authority(&self.0).len())
            }
        };
        end.and_then(|end| self.0.get(..end)).unwrap_or_default()
    }

    /// Whether an address that is asked for is this one.
    pub fn matches(&self, asked: &Self) -> bool {
        match (self.kind(), asked.kind()) {
            (RedirectKind::Loopback, RedirectKind::Loopback) => {
                without_port(&self.0) == without_port(&asked.0)
            }
            _ => self.0 == asked.0,
        }
    }

    /// The address with these parameters added to its query, each encoded.
    pub fn with<'a>(&self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut text = self.0.to_string();
        let mut joint = match self.0.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        for (name, value) in parameters {
            text.push_str(joint);
            encode(name, &mut text);
            text.push('=');
            encode(value, &mut text);
            joint = "&";
        }
        text
    }
}

fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Whether a host, with its port, is the machine whose browser goes there, in whatever way that is written.
fn is_this_machine(authority: &str) -> bool {
    let host = host_and_port(authority).map_or(authority, |(host, _)| host);
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = address.unwrap_or(host).parse::<IpAddr>();
    // Whoever connects to the unspecified address is led to this machine, too.
    let is_here = |address: IpAddr| {
        let address = address.to_canonical();
        address.is_loopback() || address.is_unspecified()
    };
    THIS_MACHINE.contains(&host) || host.ends_with(".localhost") || address.is_ok_and(is_here)
}

/// Scheme and host, and what stands behind the port.
fn without_port(text: &str) -> (&str, &str) {
    let authority = authority(text);
    let begin = text.find("://").map_or(0, |at| at + 3);
    let host = host_and_port(authority).map_or(authority, |(host, _)| host);
    let before = text.get(..begin + host.len()).unwrap_or_default();
    let behind = text.get(begin + authority.len()..).unwrap_or_default();
    (before, behind)
}

/// A host and the digits behind it.
fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let end_of_host = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end_of_host)?;
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some((host, None)),
        Some(port) => Some((host, Some(port))),
    }
}

/// Adds a text as a query has it: unreserved characters as they are, all else by its bytes.
fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                to.push(char::from(byte));
            }
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                let digit =
                    |at: u8| char::from(DIGITS.get(usize::from(at)).copied().unwrap_or(b'0'));
                to.push('%');
                to.push(digit(byte >> 4));
                to.push(digit(byte & 15));
            }
        }
    }
}

impl FromStr for RedirectUri {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| Invalid::new(format!("`{}` {why}", clip(text)));
        if text.len() > MAX_REDIRECT_BYTES {
            return Err(wrong("is longer than 1024 bytes"));
        }
        if !text.bytes().all(is_of_uri) || !has_whole_escapes(text) {
            return Err(wrong(
                "is no address: it holds characters that stand there encoded alone",
            ));
        }
        if text.contains('#') {
            return Err(wrong("has a fragment; leave it out"));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(wrong("has no scheme; write the whole address"));
        };
        if !is_scheme(scheme) {
            return Err(wrong(
                "has no scheme in lower case; write the whole address",
            ));
        }
        match scheme {
            "https" | "http" => check_web(scheme, rest).map_err(wrong)?,
            _ if OF_BROWSERS.contains(&scheme) || scheme.starts_with("ms-") => {
                return Err(wrong("has a scheme that is no program's own"));
            }
            _ if rest.trim_matches('/').is_empty() => {
                return Err(wrong("says nothing behind its scheme"));
            }
            _ if rest.contains('@') => return Err(wrong("holds an `@`; leave it out")),
            _ => {}
        }
        Ok(Self(text.into()))
    }
}

/// The characters of RFC 3986 and no others: none of them is read in two ways.
fn is_of_uri(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// Whether behind each `%` stand two digits.
fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|behind| {
        let digits = behind.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_SCHEME_BYTES
        && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

fn check_web(scheme: &str, rest: &str) -> Result<(), &'static str> {
    let rest = rest.strip_prefix("//").ok_or("has no host")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("names a user before its host; leave it out");
    }
    let (host, port) = host_and_port(authority).ok_or("has no host")?;
    if !is_host(host) {
        return Err("has no host in lower case, like `app.example.com`");
    }
    if port.is_some_and(|port| !is_port(port)) {
        return Err("has a port that is none");
    }
    if scheme == "http" && !THIS_MACHINE.contains(&host) {
        return Err(
            "is not encrypted: `http` is for this machine alone (`127.0.0.1`, `[::1]`, `localhost`)",
        );
    }
    let path = rest.get(authority.len()..).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    // A browser would go to another place than the one that was registered.
    if path.split('/').any(is_dots) {
        return Err("has a segment that is `.` or `..`; write where it leads");
    }
    Ok(())
}

fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
        && text.parse::<u16>().is_ok()
}

/// A name in lower case without a dot at its end, an address of IPv4 with its four numbers, or one of IPv6 in brackets.
fn is_host(host: &str) -> bool {
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    // `127.1` and `0x7f.1` are 127.0.0.1 to a browser (WHATWG URL, section 3.5), and names to whoever resolves them.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hex)
    {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let is_label = |label: &str| {
        let in_label =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(in_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RedirectUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RedirectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<RedirectUri> {
        text.parse().ok()
    }

    fn same(registered: &str, asked: &str) -> bool {
        let registered = read(registered).unwrap();
        read(asked).is_some_and(|asked| registered.matches(&asked))
    }

    #[test]
    fn sites_this_machine_and_programs_have_redirect_addresses() {
        for (text, kind, place, origin) in [
            (
                "https://app.example.com/cb",
                RedirectKind::Site,
                "app.example.com",
                "https://app.example.com",
            ),
            (
                "https://app.example.com:8443/cb?a=b",
                RedirectKind::Site,
                "app.example.com:8443",
                "https://app.example.com:8443",
            ),
            (
                "https://app.example.com",
                RedirectKind::Site,
                "app.example.com",
                "https://app.example.com",
            ),
            (
                "http://127.0.0.1/cb",
                RedirectKind::Loopback,
                "127.0.0.1",
                "http://127.0.0.1",
            ),
            (
                "http://[::1]:51004/cb",
                RedirectKind::Loopback,
                "[::1]:51004",
                "http://[::1]:51004",
            ),
            (
                "http://localhost:3334/oauth/callback",
                RedirectKind::Loopback,
                "localhost:3334",
                "http://localhost:3334",
            ),
            (
                "cursor://anysphere.cursor-mcp/oauth/callback",
                RedirectKind::Private,
                "cursor",
                "cursor:",
            ),
            (
                "com.example.app:/cb",
                RedirectKind::Private,
                "com.example.app",
                "com.example.app:",
            ),
        ] {
            let uri = read(text).expect(text);
            assert_eq!(
                (uri.kind(), uri.place(), uri.origin()),
                (kind, place, origin),
                "{text}"
            );
            assert!(uri.matches(&uri));
        }
    }

    #[test]
    fn this_machine_is_no_site_however_it_is_written() {
        for text in [
            "https://localhost:8443/cb",
            "https://127.9.9.9/cb",
            "https://[::ffff:127.0.0.1]/cb",
            "https://[0:0:0:0:0:0:0:1]/cb",
            "https://app.localhost/cb",
            "https://0.0.0.0/cb",
            "https://[::]/cb",
        ] {
            assert_eq!(
                read(text).expect(text).kind(),
                RedirectKind::Loopback,
                "{text}"
            );
        }
    }

    /// Lessons A F22, C 6.
    #[test]
    fn what_a_browser_would_run_or_read_otherwise_is_none() {
        for text in [
            "",
            "/cb",
            "//app.example.com/cb",
            "javascript:alert(1)",
            "javascript://localhost/%0aalert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://app.example.com/x",
            "intent://x#Intent;end",
            "ms-msdt:/id",
            "ms-officecmd:x",
            "search-ms:query=x",
            "itms-services://?action=x",
            "http://app.example.com/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost.evil.example/cb",
            "http://127.1/cb",
            "http://0.0.0.0/cb",
            "https://user@app.example.com/cb",
            "https://app.example.com@evil.example/cb",
            "https://app.example.com/cb#x",
            "https://app.example.com/cb#",
            "https://app.example.com./cb",
            "https://APP.example.com/cb",
            "HTTPS://app.example.com/cb",
            "https://app.example.com:/cb",
            "https://app.example.com:0/cb",
            "https://app.example.com:99999/cb",
            "https://app.example.com:80a/cb",
            "https://app.example.com\\@evil.example/cb",
            "https://app.example.com/a/../cb",
            "https://app.example.com/a/%2e%2E/cb",
            "https://app.example.com/./cb",
            "https://app.example.com/cb\n",
            "https://app.example.com/c b",
            "https://app.example.com/c\tb",
            "https://app.example.com/%zz",
            "https://app.example.com/%2",
            "https://bücher.example/cb",
            "https:app.example.com/cb",
            "https:/app.example.com/cb",
            "https:///cb",
            "https://[::1/cb",
            "https://[x]/cb",
            "https://*.example.com/cb",
            "https://127.1/cb",
            "https://2130706433/cb",
            "https://0x7f.1/cb",
            "https://127.0.0.01/cb",
            "https://app.example.0x/cb",
            "https://app.example.1/cb",
            "com.example.app:",
            "com.example.app://",
            "com.example.app://x@y",
            "1app:/cb",
        ] {
            assert!(read(text).is_none(), "{text:?}");
        }
        let long = format!("https://app.example.com/{}", "a".repeat(MAX_REDIRECT_BYTES));
        assert!(read(&long).is_none());
    }

    #[test]
    fn an_address_is_the_registered_one_byte_for_byte() {
        let site = "https://app.example.com/cb";
        assert!(same(site, site));
        for asked in [
            "https://app.example.com/cb/",
            "https://app.example.com/cbx",
            "https://app.example.com/c",
            "https://app.example.com/CB",
            "https://app.example.com/%63b",
            "https://app.example.com/cb?x=y",
            "https://app.example.com:443/cb",
            "https://app.example.com.evil.example/cb",
            "https://evil.example/app.example.com/cb",
            "com.example.app:/cb",
            "http://localhost/cb",
        ] {
            assert!(!same(site, asked), "{asked}");
        }
    }

    #[test]
    fn of_this_machine_the_port_alone_may_differ() {
        for (registered, asked) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:51004/cb"),
            ("http://[::1]/cb", "http://[::1]:51004/cb"),
            (
                "http://localhost:3334/cb?a=b",
                "http://localhost:3335/cb?a=b",
            ),
            ("http://localhost", "http://localhost:3335"),
        ] {
            assert!(same(registered, asked), "{asked}");
            assert!(same(asked, registered), "{asked}");
        }
        for (registered, asked) in [
            ("http://127.0.0.1/cb", "http://localhost:51004/cb"),
            ("http://127.0.0.1/cb", "http://[::1]:51004/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/other"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
            ("http://localhost/cb", "http://localhost:1/cb?a=b"),
            (
                "https://app.example.com/cb",
                "https://app.example.com:8443/cb",
            ),
        ] {
            assert!(!same(registered, asked), "{asked}");
        }
    }

    #[test]
    fn parameters_are_added_encoded() {
        let with = |text: &str| {
            read(text)
                .unwrap()
                .with([("code", "a b"), ("iss", "https://x")])
        };
        let added = "code=a%20b&iss=https%3A%2F%2Fx";
        assert_eq!(
            with("https://a.example/cb"),
            format!("https://a.example/cb?{added}")
        );
        assert_eq!(
            with("https://a.example/cb?x=y"),
            format!("https://a.example/cb?x=y&{added}")
        );
        assert_eq!(
            with("https://a.example/cb?"),
            format!("https://a.example/cb?{added}")
        );
        assert_eq!(with("com.example:/cb"), format!("com.example:/cb?{added}"));
        let hostile = read("https://a.example/cb").unwrap();
        assert_eq!(
            hostile.with([("state", "x&code=y#\r\nz")]),
            "https://a.example/cb?state=x%26code%3Dy%23%0D%0Az"
        );
    }
}
