//! The addresses that may be fetched: one plain form, so that no two readers can disagree about where it goes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use kavachos_core::invalid::Invalid;

/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 2_048;
/// The longest name of a host (RFC 1035, 2.3.4).
const MAX_HOST_BYTES: usize = 253;
/// The longest label of a name.
const MAX_LABEL_BYTES: usize = 63;
/// Below this number ports belong to other protocols.
const FIRST_FREE_PORT: u16 = 1_024;

/// With TLS or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchScheme {
    /// `https`
    Https,
    /// `http`, to this machine alone.
    Http,
}

/// Where a URL goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchHost {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for FetchHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// An `https` URL, or an `http` one to this machine, without user, fragment and odd notations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchUrl {
    scheme: FetchScheme,
    host: FetchHost,
    port: u16,
    target: String,
}

impl FetchUrl {
    /// With TLS or without.
    pub fn scheme(&self) -> FetchScheme {
        self.scheme
    }

    /// Where it goes.
    pub fn host(&self) -> &FetchHost {
        &self.host
    }

    /// The port, also when the text leaves it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether it names this machine.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            FetchHost::Name(name) => name == LOCALHOST,
            FetchHost::Address(address) => address.is_loopback(),
        }
    }

    /// Host and port as the header `Host` has them.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.scheme) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The one name without a dot.
const LOCALHOST: &str = "localhost";

const fn default_port(scheme: FetchScheme) -> u16 {
    match scheme {
        FetchScheme::Https => 443,
        FetchScheme::Http => 80,
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            FetchScheme::Https => "https",
            FetchScheme::Http => "http",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

impl FromStr for FetchUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_characters(text)?;
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (FetchScheme::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (FetchScheme::Http, rest)
        } else {
            return wrong("must begin with `https://`");
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let Some((authority, target)) = rest.split_at_checked(end) else {
            return wrong("has no host");
        };
        if authority.contains('@') {
            return wrong("may not hold a user or a password; take them out");
        }
        let (host, port) = split_port(authority)?;
        let host = read_host(host)?;
        let url = Self {
            scheme,
            host,
            port: port.unwrap_or(default_port(scheme)),
            target: if target.starts_with('/') {
                target.to_owned()
            } else {
                format!("/{target}")
            },
        };
        url.check_scheme()?;
        url.check_port()?;
        Ok(url)
    }
}

impl FetchUrl {
    fn check_scheme(&self) -> Result<(), Invalid> {
        if self.scheme == FetchScheme::Http && !self.is_loopback() {
            return wrong("must begin with `https://`: `http` goes only to this machine");
        }
        Ok(())
    }

    fn check_port(&self) -> Result<(), Invalid> {
        if self.port == default_port(self.scheme) || self.port >= FIRST_FREE_PORT {
            return Ok(());
        }
        wrong("names a port of another protocol; use 443, or one from 1024")
    }
}

/// Visible ASCII without what some readers skip, turn round or take for something else.
fn check_characters(text: &str) -> Result<(), Invalid> {
    if text.len() > MAX_URL_BYTES {
        return Err(Invalid::new(format!(
            "is longer than {MAX_URL_BYTES} bytes"
        )));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(
            "holds spaces, control characters or letters beyond ASCII; percent-encode them, and write the host in its `xn--` form",
        );
    }
    if text.contains(['\\', '"', '<', '>', '^', '`', '{', '|', '}']) {
        return wrong("holds one of `\\ \" < > ^ { | }` or a backtick; percent-encode it");
    }
    if text.contains('#') {
        return wrong("may not hold a fragment; leave out what follows `#`");
    }
    Ok(())
}

fn wrong<T>(message: &str) -> Result<T, Invalid> {
    Err(Invalid::new(message))
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Invalid> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((_, rest)) => {
                let host = authority.len().saturating_sub(rest.len());
                (authority.get(..host).unwrap_or_default(), rest)
            }
            None => return wrong("opens a bracket that it does not close"),
        },
        None => {
            let colon = authority.find(':').unwrap_or(authority.len());
            authority.split_at_checked(colon).unwrap_or((authority, ""))
        }
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').unwrap_or_default();
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    match digits.parse() {
        Ok(port) if plain => Ok((host, Some(port))),
        _ => wrong("names a port that is no number from 1 to 65535"),
    }
}

fn read_host(text: &str) -> Result<FetchHost, Invalid> {
    if let Some(inner) = text.strip_prefix('[') {
        let address: Option<Ipv6Addr> =
            inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
        return match address {
            Some(address) => Ok(FetchHost::Address(address.into())),
            None => wrong("holds brackets without an IPv6 address; a zone is none of it"),
        };
    }
    let name = text.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    // Many readers take such names for addresses: decimal, octal and hexadecimal, in one to four parts.
    if last.bytes().all(|byte| byte.is_ascii_digit()) && !last.is_empty() || last.starts_with("0x")
    {
        return match name.parse::<Ipv4Addr>() {
            Ok(address) => Ok(FetchHost::Address(address.into())),
            Err(_) => wrong("holds an address in another form than `192.0.2.1`"),
        };
    }
    check_name(&name)?;
    Ok(FetchHost::Name(name))
}

fn check_name(name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return wrong("has no host");
    }
    if name.ends_with('.') {
        return wrong("holds a host that ends with a dot; leave it out");
    }
    let letters = |label: &str| {
        label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let plain = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && letters(label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > MAX_HOST_BYTES || !name.split('.').all(plain) {
        return wrong("holds a host that is no name like `hooks.example.com`");
    }
    if !name.contains('.') && name != LOCALHOST {
        return wrong("holds a name without a dot, which only a local network knows");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<FetchUrl, Invalid> {
        text.parse()
    }

    #[test]
    fn plain_addresses_are_read_and_written_back() {
        for (text, written) in [
            ("https://Hooks.Example.com", "https://hooks.example.com/"),
            (
                "https://hooks.example.com:443/in?a=b",
                "https://hooks.example.com/in?a=b",
            ),
            (
                "https://hooks.example.com:8443?a",
                "https://hooks.example.com:8443/?a",
            ),
            ("https://8.8.8.8/x", "https://8.8.8.8/x"),
            (
                "https://[2606:4700:0::1111]:4430/",
                "https://[2606:4700::1111]:4430/",
            ),
            ("http://localhost:4000/hook", "http://localhost:4000/hook"),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000/"),
            ("http://[::1]:4000/", "http://[::1]:4000/"),
        ] {
            assert_eq!(
                parsed(text).map(|url| url.to_string()).as_deref(),
                Ok(written)
            );
        }
    }

    #[test]
    fn addresses_that_two_readers_could_take_for_two_are_refused() {
        for text in [
            "",
            "hooks.example.com",
            "//hooks.example.com/",
            "HTTPS://hooks.example.com/",
            "ftp://hooks.example.com/",
            "file:///etc/passwd",
            "gopher://hooks.example.com/",
            "http://hooks.example.com/",
            "http://10.0.0.1/",
            "https://",
            "https:///x",
            "https://?x",
            "https://user@hooks.example.com/",
            "https://user:pass@hooks.example.com/",
            "https://hooks.example.com@127.0.0.1/",
            "https://hooks.example.com./",
            "https://127.0.0.1./",
            "https://.hooks.example.com/",
            "https://hooks..example.com/",
            "https://-a.example.com/",
            "https://a_b.example.com/",
            "https://a%2eexample.com/",
            "https://intranet/",
            "https://hooks.example.com/#x",
            "https://hooks.example.com\\@127.0.0.1/",
            "https://hooks.example.com/a b",
            "https://hooks.example.com/\r\nX: y",
            "https://hooks.example.com\t/",
            "https://exämple.com/",
            "https://１２７.0.0.1/",
            "https://hooks.example.com:/",
            "https://hooks.example.com:0/",
            "https://hooks.example.com:0443/",
            "https://hooks.example.com:+443/",
            "https://hooks.example.com:65536/",
            "https://hooks.example.com:443:443/",
            "https://hooks.example.com:25/",
            "https://hooks.example.com:22/",
            "https://[::1/",
            "https://[::1]x/",
            "https://[fe80::1%25eth0]/",
            "https://[127.0.0.1]/",
            "https://::1/",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
        let long = format!("https://hooks.example.com/{}", "x".repeat(MAX_URL_BYTES));
        assert!(parsed(&long).is_err());
        let long = format!("https://{}.example.com/", "x".repeat(64));
        assert!(parsed(&long).is_err());
    }

    #[test]
    fn an_ipv4_address_has_one_notation() {
        for text in [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.0x1",
            "1.2.3.4.5",
            "256.0.0.1",
            "00.0.0.0",
            "0x",
            "1.2.3.0xff",
        ] {
            assert!(parsed(&format!("https://{text}/")).is_err(), "{text}");
        }
        assert!(parsed("https://127.0.0.1/").is_ok_and(|url| url.is_loopback()));
        assert!(parsed("https://1.2.3.4/").is_ok_and(|url| !url.is_loopback()));
    }
}
