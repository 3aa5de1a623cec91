//! The scheme, host and port of a URL, read so that no two readers can take them for different places.

use std::fmt;
use std::net::Ipv6Addr;

/// Where a URL leads: scheme and host in lower case, the port only when it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads the text before `://` and the text between it and the path. `Err` says what is wrong.
    pub(super) fn parse(scheme: &str, authority: &str) -> Result<Self, &'static str> {
        let scheme = scheme.to_ascii_lowercase();
        if authority.contains('@') {
            return Err("a user name before the host is not accepted");
        }
        let (host, port) = split_port(authority)?;
        let host = read_host(&scheme, host)?;
        let port = port.map(read_port).transpose()?;
        Ok(Self {
            port: port.filter(|port| Some(*port) != default_port(&scheme)),
            scheme,
            host,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Whether a text is a scheme (RFC 3986, 3.1).
pub(super) fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

const fn default_port(scheme: &str) -> Option<u16> {
    match scheme.as_bytes() {
        b"http" | b"ws" => Some(80),
        b"https" | b"wss" => Some(443),
        b"ftp" => Some(21),
        _ => None,
    }
}

/// Splits the port off, leaving the brackets of an IPv6 literal with the host.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    let Some(literal) = authority.strip_prefix('[') else {
        return Ok(match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        });
    };
    let (_, rest) = literal
        .split_once(']')
        .ok_or("an IPv6 host is written `[2001:db8::1]`")?;
    let host = authority.strip_suffix(rest).unwrap_or(authority);
    match (rest, rest.strip_prefix(':')) {
        ("", _) => Ok((host, None)),
        (_, Some(port)) => Ok((host, Some(port))),
        _ => Err("only a port may follow an IPv6 host"),
    }
}

fn read_host(scheme: &str, host: &str) -> Result<String, &'static str> {
    if let Some(literal) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: Ipv6Addr = literal
            .parse()
            .map_err(|_| "the IPv6 host is not an address; a zone id is not accepted")?;
        return Ok(format!("[{address}]"));
    }
    if host.is_empty() && scheme == "file" {
        return Ok(String::new());
    }
    let named = host.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    if named {
        Ok(host.to_ascii_lowercase())
    } else {
        Err(
            "the host is ASCII letters, digits, `-`, `_` and single dots between them; write an international name \
             as `xn--`",
        )
    }
}

fn read_port(text: &str) -> Result<u16, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or("the port is a number from 1 to 65535 without leading zeros")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_form() {
        for (scheme, authority, form) in [
            ("HTTPS", "Example.COM:443", "https://example.com"),
            ("http", "example.com:80", "http://example.com"),
            ("http", "example.com:443", "http://example.com:443"),
            (
                "https",
                "[2001:DB8:0::1]:8443",
                "https://[2001:db8::1]:8443",
            ),
            ("https", "[::1]:443", "https://[::1]"),
            ("custom+x", "Host:21", "custom+x://host:21"),
            ("file", "", "file://"),
            (
                "https",
                "a_b.xn--mnchen-3ya.de",
                "https://a_b.xn--mnchen-3ya.de",
            ),
        ] {
            assert_eq!(Origin::parse(scheme, authority).unwrap().to_string(), form);
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for authority in [
            "",
            "good@evil.com",
            "@evil.com",
            "example.com:",
            "example.com:0",
            "example.com:0443",
            "example.com:+443",
            "example.com:65536",
            "example.com:80:80",
            "example.com.",
            ".example.com",
            "exa..mple.com",
            "ex%61mple.com",
            "m\u{fc}nchen.de",
            "example\u{3002}com",
            "\u{ff45}xample.com",
            "exam ple.com",
            "exam\tple.com",
            "example.com,evil.com",
            "[::1",
            "[::1]x",
            "[::1]]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "::1",
        ] {
            assert!(Origin::parse("https", authority).is_err(), "{authority}");
        }
    }
}
