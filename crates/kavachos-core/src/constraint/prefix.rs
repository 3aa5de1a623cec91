//! `prefix`: an argument that is a path or a URL and stays below a place.
//!
//! The tool that gets the argument may decode it or not, and resolve its dots before or after. So the argument passes
//! only when all these readings stay below the prefix:
//!
//! - it begins with the prefix, segment by segment: of a path as it is written, of a URL after decoding each segment
//!   once, with scheme and host in lower case and the default port dropped;
//! - what follows never climbs above the prefix, not even on the way to somewhere below it: `/tmp/a/../b` is below
//!   `/tmp`, and `/tmp/../tmp/b` is refused;
//! - decoding it once gives valid text without a backslash, a control character or another escape to decode, and an
//!   encoded slash may only lead further down.
//!
//! Refused as well are empty segments (`//`) except one slash at the end, segments of dots and blanks that some systems
//! cut to `..`, and `..;x`, which some servers read as `..`. The query and the fragment of a URL are not looked at.
//! Text is compared byte for byte: case and Unicode forms matter, except in scheme and host.
//! Links in a file system are the tool's business: no text can tell where they lead.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::origin::{Origin, is_scheme};
use crate::invalid::Invalid;
use crate::time::clip;

/// The longest prefix in bytes.
pub const MAX_PREFIX_LEN: usize = 1024;

/// A place that arguments must stay below, or be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    root: Root,
    /// Decoded, none of them empty or of dots; a slash at the end changes nothing.
    segments: Vec<String>,
}

/// What the segments start from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    /// `docs/a`, from wherever the tool works.
    Relative,
    /// `/srv/a`.
    Absolute,
    /// `https://example.com/a`.
    Url(Origin),
}

impl Prefix {
    pub(super) fn passes(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| self.holds(text))
    }

    /// Whether everything below `child` is below this prefix.
    pub(super) fn covers(&self, child: &Self) -> bool {
        self.root == child.root && child.segments.starts_with(&self.segments)
    }

    fn holds(&self, text: &str) -> bool {
        let Ok((root, path)) = take_apart(text) else {
            return false;
        };
        let mut rest = segments(path).filter(|segment| *segment != ".");
        root == self.root
            && self.segments.iter().all(|expected| {
                rest.next()
                    .is_some_and(|segment| self.root.names(segment, expected))
            })
            && never_climbs(rest)
    }
}

impl Root {
    /// Whether a segment as written is the one that the prefix names.
    fn names(&self, written: &str, expected: &str) -> bool {
        match self {
            Self::Relative | Self::Absolute => written == expected,
            Self::Url(_) => decode(written).is_ok_and(|decoded| decoded == expected),
        }
    }
}

/// Takes a text apart into where it starts and the path from there, nothing decoded.
fn take_apart(text: &str) -> Result<(Root, &str), &'static str> {
    if text.contains(is_never_accepted) {
        return Err("a backslash or a control character is not accepted");
    }
    if let Some((scheme, rest)) = text
        .split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme))
    {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let path = tail.split(['?', '#']).next().unwrap_or_default();
        if path.contains(char::is_whitespace) {
            return Err("a blank in a URL is written `%20`");
        }
        let origin = Origin::parse(scheme, authority)?;
        return Ok((Root::Url(origin), path.strip_prefix('/').unwrap_or(path)));
    }
    Ok(match text.strip_prefix('/') {
        Some(path) => (Root::Absolute, path),
        None => (Root::Relative, text),
    })
}

/// The segments of a path. One slash at the end makes no segment; every other empty one is kept, to be refused.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.strip_suffix('/').unwrap_or(path);
    inner.split('/').skip(usize::from(path.is_empty()))
}

/// Whether a path stays at or below where it starts, at every step and for a reader that decodes as for one that does
/// not.
fn never_climbs<'a>(mut segments: impl Iterator<Item = &'a str>) -> bool {
    let end = segments.try_fold(0_usize, |depth, segment| {
        let decoded = decode(segment).ok()?;
        let lowest = decoded.split('/').try_fold(depth, step)?;
        // To a reader that does not decode, `a%2Fb` is one name: one `..` leads out of it again.
        Some(lowest.min(depth + 1))
    });
    end.is_some()
}

/// How deep a path is after one more name; `None` when it climbed out or when readers disagree about the name.
fn step(depth: usize, name: &str) -> Option<usize> {
    match name {
        "." => Some(depth),
        ".." => depth.checked_sub(1),
        _ if is_ambiguous(name) => None,
        _ => Some(depth + 1),
    }
}

/// Whether some system takes this name for an empty one, `.` or `..`: `...`, `.. `, `..;x`, or nothing at all.
fn is_ambiguous(name: &str) -> bool {
    let before_parameters = name.split(';').next().unwrap_or_default();
    before_parameters.trim_end_matches(['.', ' ']).is_empty()
}

/// Decodes the percent escapes of a segment once (RFC 3986, 2.1). `Err` says what is wrong.
fn decode(segment: &str) -> Result<String, &'static str> {
    const MALFORMED: &str = "every `%` must be followed by two hexadecimal digits";
    let mut pieces = segment.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (byte, rest) = escape(piece).ok_or(MALFORMED)?;
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let text = String::from_utf8(bytes).map_err(|_| "the escapes are not UTF-8")?;
    if text.contains(is_never_accepted) {
        return Err("a backslash or a control character is not accepted, escaped or not");
    }
    if text.split('%').skip(1).any(|piece| escape(piece).is_some()) {
        return Err("an escape that is still one after decoding is not accepted");
    }
    Ok(text)
}

/// The byte that two hexadecimal digits behind a `%` stand for, and the text behind them.
fn escape(after_percent: &str) -> Option<(u8, &str)> {
    let (digits, rest) = after_percent.split_at_checked(2)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    Some((byte, rest))
}

/// A backslash is a slash to some readers; tabs and line ends vanish for some; NUL ends the text for some.
fn is_never_accepted(character: char) -> bool {
    character == '\\' || character.is_control()
}

impl FromStr for Prefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |why: &str| {
            Invalid::new(format!(
                "`{}` is not a prefix like `/srv/data` or `https://example.com/api`: {why}",
                clip(text)
            ))
        };
        if text.is_empty() || text.len() > MAX_PREFIX_LEN {
            return Err(refuse(&format!("it has 1 to {MAX_PREFIX_LEN} bytes")));
        }
        let (root, path) = take_apart(text).map_err(refuse)?;
        let segments: Result<Vec<String>, &str> = segments(path)
            .map(|segment| read_segment(&root, segment))
            .collect();
        let segments = segments.map_err(refuse)?;
        match (&root, segments.first()) {
            (Root::Url(_), _) if text.contains(['?', '#']) => {
                Err(refuse("leave out the query and the fragment"))
            }
            (Root::Relative, Some(first)) if first.contains(':') => {
                Err(refuse("a URL has `://` behind its scheme"))
            }
            _ => Ok(Self { root, segments }),
        }
    }
}

/// Reads one segment of a prefix, which must have only one reading.
fn read_segment(root: &Root, written: &str) -> Result<String, &'static str> {
    let segment = match root {
        Root::Url(_) => decode(written)?,
        Root::Relative | Root::Absolute if written.contains('%') => {
            return Err("write the characters of a path as they are, without `%`");
        }
        Root::Relative | Root::Absolute => written.to_owned(),
    };
    if segment.contains('/') {
        return Err("an encoded slash is not accepted");
    }
    match step(0, &segment) {
        Some(1) => Ok(segment),
        _ => Err("leave out segments that are empty or only dots"),
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments: Vec<String> = match &self.root {
            Root::Url(_) => self.segments.iter().map(|name| encode(name)).collect(),
            Root::Relative | Root::Absolute => self.segments.clone(),
        };
        match &self.root {
            Root::Relative => {}
            Root::Absolute => f.write_str("/")?,
            Root::Url(origin) => write!(f, "{origin}/")?,
        }
        f.write_str(&segments.join("/"))
    }
}

/// Encodes what may not stand in a path segment (RFC 3986, 3.3).
fn encode(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn assert_holds(prefix: &str, inside: &[&str], outside: &[&str]) {
        let read = self::prefix(prefix);
        for text in inside {
            assert!(read.holds(text), "{prefix} should hold {text:?}");
        }
        for text in outside {
            assert!(!read.holds(text), "{prefix} should not hold {text:?}");
        }
    }

    #[test]
    fn a_path_passes_at_a_segment_boundary_only() {
        assert_holds(
            "/tmp/work",
            &[
                "/tmp/work",
                "/tmp/work/",
                "/tmp/work/a",
                "/tmp/work/a/b.txt",
                "/tmp/work/a b/\u{fc}",
                "/tmp/work/a%20b",
                "/tmp/work/100%25",
                "/tmp/./work/./a",
                "/tmp/work/.hidden",
                "/tmp/work/a..b",
                "/tmp/work/a?b#c",
            ],
            &[
                "",
                "/",
                "/tmp",
                "/tmp/workshop",
                "/tmp/work.bak/a",
                "/tmp/Work/a",
                "tmp/work/a",
                "/etc/passwd",
                " /tmp/work/a",
                "file:///tmp/work/a",
                "https://example.com/tmp/work",
            ],
        );
        assert_holds(
            "/",
            &["/", "/a", "/a/b/../c"],
            &["", "a", "//", "//a", "/..", "/a/../.."],
        );
        assert_holds(
            "docs/",
            &["docs", "./docs/a"],
            &["/docs", "../docs", "docs:x", "doc"],
        );
    }

    #[test]
    fn a_path_never_climbs_out_in_any_reading() {
        assert_holds(
            "/tmp/work",
            &[
                "/tmp/work/a/../b",
                "/tmp/work/a/b/../../c",
                "/tmp/work/a/%2e%2e/b",
                "/tmp/work/a/..",
                "/tmp/work/a%2fb",
            ],
            &[
                "/tmp/work/..",
                "/tmp/work/../x",
                "/tmp/work/../work/a",
                "/tmp/work/a/../../x",
                "/tmp/work/a/../../work/b",
                "/x/../tmp/work/a",
                "/../tmp/work/a",
                "/tmp/work/%2e%2e/x",
                "/tmp/work/%2E./x",
                "/tmp/work/.%2e/x",
                "/tmp/work/..%2fx",
                "/tmp/work/a%2f..%2f..%2fx",
                // To a reader that does not decode, `a%2fb` is one name.
                "/tmp/work/a%2fb/../../x",
                "/tmp/work%2fa",
                "/tmp%2fwork/a",
                "/%74mp/work/a",
                "/a?/../tmp/work/a",
            ],
        );
        // The twin: below the root nothing of this climbs, so the same tricks pass.
        assert!(prefix("/").holds("/tmp/work/../x") && prefix("/").holds("/tmp/work/%2e%2e/x"));
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        assert_holds(
            "/tmp",
            &["/tmp/a"],
            &[
                "/tmp/..\\x",
                "/tmp\\..\\x",
                "/tmp/%5c..%5cx",
                "/tmp/a\0.txt",
                "/tmp/a%00.txt",
                "/tmp/.\t./x",
                "/tmp/a\n",
                "/tmp/%0a",
                "/tmp/%252e%252e/x",
                "/tmp/%25252e",
                "/tmp/a%2",
                "/tmp/a%",
                "/tmp/%zz",
                "/tmp/%u002e%u002e/x",
                "/tmp/%+1",
                "/tmp/%c0%ae%c0%ae/x",
                "/tmp/%ff",
                "/tmp//a",
                "//tmp/a",
                "/tmp/a//",
                "/tmp/a//../b",
                "/tmp/a%2f",
                "/tmp/.../x",
                "/tmp/.. /x",
                "/tmp/. ./x",
                "/tmp/ /x",
                "/tmp/..;/x",
                "/tmp/..;a=b/x",
                "/tmp/%2e%2e;/x",
                "/tmp/;/x",
                "/tmp/\u{85}",
            ],
        );
    }

    #[test]
    fn a_url_is_compared_by_its_parts() {
        assert_holds(
            "https://Example.com:443/api/",
            &[
                "https://example.com/api",
                "https://example.com/api/",
                "HTTPS://EXAMPLE.com/api/v1",
                "https://example.com:443/api/v1",
                "https://example.com/api/a/../b",
                "https://example.com/%61pi/v1",
                "https://example.com/api/group%2Fname",
                "https://example.com/api?file=/etc/passwd",
                "https://example.com/api#top",
                "https://example.com/api/x?next=../../admin",
            ],
            &[
                "https://example.com",
                "https://example.com/",
                "https://example.com/apis",
                "https://example.com/API",
                "https://example.com?/api",
                "https://example.com#/api",
                "http://example.com/api",
                "https://example.com:8443/api",
                "https://example.com:/api",
                "https://example.com.evil.com/api",
                "https://example.com./api",
                "https://evil.com/https://example.com/api",
                "https://example.com@evil.com/api",
                "https://evil.com@example.com/api",
                "https://evil.com\\@example.com/api",
                "https://example.com\\.evil.com/api",
                "https://example.com%2eevil.com/api",
                "https://example.com%00/api",
                "https://ex\u{430}mple.com/api",
                "https://example\u{3002}com/api",
                "https:/example.com/api",
                "https:example.com/api",
                "https:///example.com/api",
                "//example.com/api",
                "/api",
                " https://example.com/api",
                "https://exam\nple.com/api",
                "https://example.com /api",
            ],
        );
    }

    #[test]
    fn hosts_ports_and_escapes_of_a_prefix_are_read_like_those_of_an_argument() {
        assert_holds(
            "https://example.com",
            &[
                "https://example.com",
                "https://example.com/",
                "https://example.com?x",
            ],
            &[
                "https://example.com.evil.com",
                "https://example.community",
                "https://example.com//",
                "https://example.com//x",
            ],
        );
        assert_holds(
            "http://[2001:db8:0::1]:8080/a%20b",
            &["http://[2001:DB8::1]:8080/a%20b/c"],
            &[
                "http://[2001:db8::1]/a%20b",
                "http://[2001:db8::2]:8080/a%20b",
                "http://[2001:db8::1]:8080/a b",
            ],
        );
        assert_holds(
            "file:///srv",
            &["file:///srv/a"],
            &["file://srv/a", "file://host/srv", "/srv/a"],
        );
    }

    #[test]
    fn the_path_of_a_url_never_climbs_out() {
        assert_holds(
            "https://example.com/api",
            &["https://example.com/api/v1"],
            &[
                "https://example.com/api /x",
                "https://example.com/api/..%2fadmin",
                "https://example.com/api/%2e%2e/admin",
                "https://example.com/api/../admin",
                "https://example.com/api/..;/admin",
                "https://example.com/api/..?x=/api",
                "https://example.com/x/../api/v1",
                "https://example.com//api/v1",
                "https://example.com/api//v1",
                "https://example.com/api%2fv1",
                "javascript://example.com/api",
            ],
        );
        // The twin: below the root of the host the same paths climb nowhere.
        assert_holds(
            "https://example.com",
            &[
                "https://example.com/api/../admin",
                "https://example.com/api/%2e%2e/admin",
            ],
            &["https://example.com/api/../../admin"],
        );
    }

    #[test]
    fn a_prefix_with_more_than_one_reading_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_PREFIX_LEN));
        for text in [
            "",
            ".",
            "..",
            "./docs",
            "../docs",
            "/tmp/../etc",
            "/tmp/./a",
            "//tmp",
            "/tmp//a",
            "/tmp//",
            "/a%20b",
            "/tmp\\a",
            "/tmp/a\0",
            "/tmp/...",
            "/tmp/a/..;",
            "C:\\work",
            "https:/example.com",
            "https:example.com",
            "https://",
            "https://user@example.com",
            "https://example.com/a?b",
            "https://example.com#a",
            "https://example.com/a%2fb",
            "https://example.com/%2e%2e",
            "https://example.com/a%252f",
            "https://example.com/a b",
            "https://example.com/%",
            "https://m\u{fc}nchen.de",
            "https://example.com.",
            &long,
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_prefix_has_one_form() {
        for (written, form) in [
            ("/tmp/", "/tmp"),
            ("/", "/"),
            ("docs", "docs"),
            ("HTTPS://Example.com:443", "https://example.com/"),
            (
                "https://example.com/%61%20b/%C3%BC/",
                "https://example.com/a%20b/%C3%BC",
            ),
        ] {
            assert_eq!(prefix(written).to_string(), form);
            assert_eq!(prefix(form), prefix(written));
        }
    }

    #[test]
    fn a_narrower_prefix_is_longer_by_whole_segments() {
        for (child, parent, narrower) in [
            ("/tmp/a", "/tmp", true),
            ("/tmp/", "/tmp", true),
            ("/tmpx", "/tmp", false),
            ("/", "/tmp", false),
            ("tmp/a", "/tmp", false),
            ("/tmp", "/", true),
            ("https://example.com/a", "https://EXAMPLE.com:443/", true),
            ("https://example.com:444/a", "https://example.com/", false),
            ("http://example.com/a", "https://example.com/", false),
            ("/tmp", "file:///", false),
        ] {
            assert_eq!(
                prefix(parent).covers(&prefix(child)),
                narrower,
                "{child} {parent}"
            );
        }
    }

    fn names() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a", "b", "a", "b", ".", "..", "%2e", "%2e%2e", "..%2f", "a%2fb", "%61", "a%2f..", "",
            "...", "..;", "?", "%25",
        ])
    }

    fn texts() -> impl Strategy<Value = String> {
        let roots = prop::sample::select(vec!["/", "", "https://h/", "https://H:443/"]);
        (roots, prop::collection::vec(names(), 0..6))
            .prop_map(|(root, names)| root.to_owned() + &names.join("/"))
    }

    /// Where a reader ends that resolves dots, and either decodes first or not at all.
    fn resolved(path: &str, decodes: bool) -> Option<Vec<String>> {
        let text = if decodes {
            decode(path).ok()?
        } else {
            path.to_owned()
        };
        let mut place = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    place.pop()?;
                }
                name => place.push(name.to_owned()),
            }
        }
        Some(place)
    }

    proptest! {
        #[test]
        fn what_passes_is_below_the_prefix_for_a_reader_that_decodes_and_for_one_that_does_not(
            place in prop::collection::vec("[ab]", 0..3),
            text in texts(),
        ) {
            let prefix = prefix(&format!("/{}", place.join("/")));
            if prefix.holds(&text) {
                for decodes in [true, false] {
                    prop_assert!(resolved(&text, decodes).unwrap().starts_with(&place), "{}", text);
                    let before_query = text.split('?').next().unwrap();
                    prop_assert!(resolved(before_query, decodes).unwrap().starts_with(&place), "{}", text);
                }
            }
        }

        #[test]
        fn what_is_below_a_narrower_prefix_is_below_its_parent(
            child in prop::collection::vec("[ab]", 0..3),
            parent in prop::collection::vec("[ab]", 0..2),
            root in prop::sample::select(vec!["/", "https://h/"]),
            text in texts(),
        ) {
            let child = prefix(&format!("{root}{}", child.join("/")));
            let parent = prefix(&format!("{root}{}", parent.join("/")));
            if parent.covers(&child) && child.holds(&text) {
                prop_assert!(parent.holds(&text));
            }
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in any::<String>(), tail in "[/.%2eEfF;:@?#\\\\\\[\\]a]{0,12}") {
            let _ = prefix("/").holds(&text);
            for text in [format!("/{tail}"), format!("https://{tail}"), tail] {
                let _ = prefix("https://a").holds(&text);
                if let Ok(read) = text.parse::<Prefix>() {
                    prop_assert_eq!(prefix(&read.to_string()), read);
                }
            }
        }
    }
}
