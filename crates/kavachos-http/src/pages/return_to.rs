//! Where a browser goes after it signed in: to a plain path of this server, never elsewhere.

/// Where one goes who asked for nothing.
pub(super) const HOME: &str = "/account";
/// The longest path that is kept.
const MAX_BYTES: usize = 3_800;

/// The path, if it is a plain one of this server that is a page of an account; else the first page.
///
/// What browsers read otherwise than we do is no plain path: only letters, digits and `/-_.~?=&:,+` may stand in it, so
/// nothing is decoded, no backslash is a slash, and no second slash begins a host.
pub(super) fn safe(path: Option<&str>) -> &str {
    path.filter(|path| is_plain(path)).unwrap_or(HOME)
}

fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~?=&:,+".contains(&byte);
    let (place, _) = path.split_once('?').unwrap_or((path, ""));
    let behind = place.strip_prefix('/').unwrap_or_default();
    let mut segments = behind.split('/');
    path.len() <= MAX_BYTES
        && path.starts_with('/')
        && path.bytes().all(plain)
        && segments.all(|segment| {
            !segment.is_empty() && !segment.starts_with('.') && !segment.contains(':')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lesson C70: what was tried against others, and variations.
    const HOSTILE: [&str; 66] = [
        "",
        " ",
        "evil.com",
        "//evil.com",
        "///evil.com",
        "////evil.com",
        "/\\evil.com",
        "\\/evil.com",
        "\\\\evil.com",
        "/\\/evil.com",
        "\\evil.com",
        "https://evil.com",
        "http://evil.com",
        "HTTPS://evil.com",
        "https:evil.com",
        "https:/evil.com",
        "http:evil.com",
        "https:\\\\evil.com",
        "//evil.com/account",
        "//evil.com\\@localhost",
        "//localhost@evil.com",
        "https://localhost@evil.com",
        "https://localhost.evil.com",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "javascript://%0aalert(1)",
        "/javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "blob:https://evil.com/x",
        "file:///etc/passwd",
        "%09//evil.com",
        "/%09/evil.com",
        "/\t/evil.com",
        "\t//evil.com",
        "/\n/evil.com",
        "/\r\nSet-Cookie: a=b",
        "/%0d%0aSet-Cookie:a=b",
        "/%2f/evil.com",
        "/%2fevil.com",
        "/%5cevil.com",
        "%2f%2fevil.com",
        "/%252fevil.com",
        "/.//evil.com",
        "/..//evil.com",
        "/./\\evil.com",
        "/../evil",
        "/account/../..//evil.com",
        "/account//evil.com",
        "/\u{0}/evil.com",
        "/\u{2f}\u{2f}evil.com",
        "/\u{ff0f}evil.com",
        "/\u{2215}evil.com",
        "\u{202e}/evil.com",
        "/evil\u{3002}com\u{0}",
        "?x=//evil.com",
        "#//evil.com",
        "/#//evil.com",
        "/@evil.com",
        "/account;//evil.com",
        "/account|evil",
        "ftp://evil.com",
        "mailto:a@evil.com",
    ];

    #[test]
    fn a_browser_goes_nowhere_else() {
        for hostile in HOSTILE {
            assert_eq!(safe(Some(hostile)), HOME, "{hostile:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        assert_eq!(safe(Some(&long)), HOME);
        assert_eq!(safe(None), HOME);
    }

    #[test]
    fn a_plain_path_is_kept() {
        for path in [
            "/account",
            "/account/agents/agent_01h455vb4pex5vsknk084sn02q",
            "/account/activity?outcome=denied&since=2026-11-21",
            "/account/activity?since=2026-11-21T10:00:00Z",
            "/device",
        ] {
            assert_eq!(safe(Some(path)), path);
        }
    }
}
