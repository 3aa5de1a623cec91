//! JSON pointers (RFC 6901): which argument a rule is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::invalid::Invalid;
use crate::json::MAX_DEPTH;
use crate::time::clip;

/// The longest pointer in bytes.
pub const MAX_POINTER_LEN: usize = 256;

/// Where an argument stands: `/path`, `/files/0/name`, or the empty pointer for all arguments as one value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    text: String,
    /// The unescaped reference tokens.
    tokens: Vec<String>,
}

impl Pointer {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The value at this place; `None` when there is none.
    pub(super) fn find<'v>(&self, arguments: &'v Value) -> Option<&'v Value> {
        self.tokens
            .iter()
            .try_fold(arguments, |value, token| match value {
                Value::Object(members) => members.get(token),
                Value::Array(items) => items.get(index(token)?),
                _ => None,
            })
    }
}

/// Reads an array index: no sign, no leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = token.len() > 1 && token.starts_with('0');
    token.parse().ok().filter(|_| plain && !leading_zero)
}

/// Replaces `~1` by `/` and `~0` by `~`; `None` for any other use of `~`.
fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = part.split_at_checked(1)?;
        name.push(match escaped {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        name.push_str(rest);
    }
    Some(name)
}

impl FromStr for Pointer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(format!(
                "`{}` is not a JSON pointer like `/path` or `/files/0/name` of at most {MAX_POINTER_LEN} bytes and \
                 {MAX_DEPTH} names; write `~0` for `~` and `~1` for `/` inside a name",
                clip(text)
            ))
        };
        let mut names = text.split('/');
        let before = names.next().unwrap_or_default();
        let tokens: Option<Vec<String>> = names.map(unescape).collect();
        let tokens = tokens.ok_or_else(wrong)?;
        if !before.is_empty() || text.len() > MAX_POINTER_LEN || tokens.len() > MAX_DEPTH {
            return Err(wrong());
        }
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn agrees_with_the_examples_of_rfc_6901() {
        let document = json!({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8
        });
        for (pointer, value) in [
            ("", document.clone()),
            ("/foo", json!(["bar", "baz"])),
            ("/foo/0", json!("bar")),
            ("/", json!(0)),
            ("/a~1b", json!(1)),
            ("/c%d", json!(2)),
            ("/e^f", json!(3)),
            ("/g|h", json!(4)),
            ("/i\\j", json!(5)),
            ("/k\"l", json!(6)),
            ("/ ", json!(7)),
            ("/m~0n", json!(8)),
        ] {
            let pointer: Pointer = pointer.parse().unwrap();
            assert_eq!(pointer.find(&document), Some(&value), "{pointer}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let document = json!({"list": [1, 2], "text": "x", "": {"~1": 1}});
        for pointer in [
            "/none",
            "/list/2",
            "/list/-",
            "/list/00",
            "/list/+1",
            "/list/01",
            "/list/",
            "/text/0",
            "/list/1/0",
            "//~1",
        ] {
            let pointer: Pointer = pointer.parse().unwrap();
            assert_eq!(pointer.find(&document), None, "{pointer}");
        }
        let escaped_twice: Pointer = "//~01".parse().unwrap();
        assert_eq!(escaped_twice.find(&document), Some(&json!(1)));
    }

    #[test]
    fn what_is_not_a_pointer_is_refused() {
        let (long, deep) = (format!("/{}", "a".repeat(256)), "/a".repeat(33));
        for text in ["path", "#/path", "/a~", "/a~2", "/~~1", "a/b", &long, &deep] {
            assert!(text.parse::<Pointer>().is_err(), "{text}");
        }
    }
}
