//! Actions: what is done to a resource, and which of them a permission allows.
//!
//! Promises: an action has one spelling and is compared byte for byte; a list of actions is never empty, so nothing
//! can be granted by leaving something out.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::SeqAccess;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::invalid::Invalid;
use crate::json;
use crate::time::clip;

/// The longest name of an action in bytes.
pub const MAX_ACTION_BYTES: usize = 64;
/// The most actions that one permission may name.
pub const MAX_ACTIONS: usize = 100;

const ANY: &str = "*";

/// The name of an action such as `read` or `tools.call`: 1 to 64 of `A-Z a-z 0-9 . _ -`, case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(Box<str>);

impl Action {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Action {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=MAX_ACTION_BYTES).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new(format!(
                "`{}` is not an action like `read`: 1 to {MAX_ACTION_BYTES} of A-Z, a-z, 0-9, `.`, `_`, `-`",
                clip(text)
            )))
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

/// The actions of a permission: `["*"]`, or the names, of which there is at least one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actions(Names);

/// INVARIANT: names are joined by [`JOINT`], sorted, without repetition, and at least one. One text and not a list of
/// them, in place where it is short, because a permission is mostly read when it is in no cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Names {
    Any,
    /// At most [`SHORT`] bytes, and zeros after them.
    Short(u8, [u8; SHORT]),
    /// More bytes than that.
    Long(Box<str>),
}

/// What is in place in the size that [`Names`] has with a pointer in it.
const SHORT: usize = 22;

impl Names {
    fn joined(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(slots)) => {
                slots.copy_from_slice(text.as_bytes());
                Self::Short(length, bytes)
            }
            _ => Self::Long(text.into()),
        }
    }

    /// The joined names; `None` stands for all there are.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Any => None,
            Self::Short(length, bytes) => {
                Some(bytes.get(..usize::from(*length)).unwrap_or_default())
            }
            Self::Long(text) => Some(text.as_bytes()),
        }
    }

    /// The names, each by itself; `None` stands for all there are.
    fn each(&self) -> Option<impl Iterator<Item = &str>> {
        // INVARIANT: each was a text, so the fallback, which names nothing, is never taken.
        let text = |name| str::from_utf8(name).unwrap_or_default();
        Some(self.bytes()?.split(|byte| *byte == JOINT).map(text))
    }
}

impl Ord for Actions {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.bytes().cmp(&other.0.bytes())
    }
}
impl PartialOrd for Actions {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

const JOINT: u8 = b',';

impl Actions {
    /// Every action, now and in future.
    pub const fn any() -> Self {
        Self(Names::Any)
    }

    /// Exactly these actions; their order and repetitions mean nothing.
    ///
    /// # Errors
    /// When there are none, or more than [`MAX_ACTIONS`].
    pub fn only(mut names: Vec<Action>) -> Result<Self, Invalid> {
        if names.is_empty() {
            return Err(Invalid::new(
                "an empty list allows nothing; name an action or write `*` alone",
            ));
        }
        if names.len() > MAX_ACTIONS {
            return Err(too_many());
        }
        names.sort_unstable();
        names.dedup();
        let texts: Vec<&str> = names.iter().map(Action::as_str).collect();
        Ok(Self(Names::joined(&texts.join(","))))
    }

    /// Reads the texts of a JSON list.
    fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, Invalid> {
        let mut names = Vec::new();
        let mut any = false;
        for (index, text) in texts.into_iter().enumerate() {
            if index == MAX_ACTIONS {
                return Err(too_many());
            }
            if text == ANY {
                any = true;
            } else {
                let name = text.parse();
                names.push(name.map_err(|error: Invalid| error.within(&format!("[{index}]")))?);
            }
        }
        match (any, names.is_empty()) {
            (true, true) => Ok(Self::any()),
            (true, false) => Err(Invalid::new(
                "`*` beside names says two things; write `*` alone or only the names",
            )),
            (false, _) => Self::only(names),
        }
    }

    /// Whether this action is among them.
    pub fn contains(&self, action: &Action) -> bool {
        self.has(action.as_str())
    }

    fn has(&self, action: &str) -> bool {
        let names = self.0.bytes();
        names.is_none_or(|names| {
            (names.split(|byte| *byte == JOINT)).any(|name| name == action.as_bytes())
        })
    }

    /// Whether every action of `child` is among these.
    pub fn covers(&self, child: &Self) -> bool {
        match (self.0.bytes(), child.0.each()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(mut names)) => names.all(|name| self.has(name)),
        }
    }

    /// The names in order; `*` alone stands for every action.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let any = self.0.bytes().is_none().then_some(ANY);
        any.into_iter().chain(self.0.each().into_iter().flatten())
    }
}

fn too_many() -> Invalid {
    Invalid::new(format!(
        "a permission may name at most {MAX_ACTIONS} actions; split it or write `*`"
    ))
}

impl Serialize for Actions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for name in self.names() {
            list.serialize_element(name)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reader)
    }
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Actions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of actions, or `[\"*\"]`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Actions, A::Error> {
        let mut texts: Vec<String> = Vec::new();
        while let Some(text) = items.next_element()? {
            if texts.len() == MAX_ACTIONS {
                return Err(de::Error::custom(too_many()));
            }
            texts.push(text);
        }
        Actions::parse(texts.iter().map(String::as_str)).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn actions(value: &Value) -> Result<Actions, serde_json::Error> {
        Actions::deserialize(value)
    }

    #[test]
    fn a_list_is_sorted_without_repetition() {
        let read = actions(&json!(["write", "read", "write"])).unwrap();
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            json!(["read", "write"])
        );
        assert_eq!(read, actions(&json!(["read", "write"])).unwrap());
        let any = actions(&json!(["*"])).unwrap();
        assert_eq!(any, Actions::any());
        assert_eq!(serde_json::to_value(any).unwrap(), json!(["*"]));
    }

    #[test]
    fn what_says_nothing_or_two_things_is_refused() {
        let many: Vec<String> = (0..=MAX_ACTIONS).map(|n| format!("a{n}")).collect();
        for value in [
            json!([]),
            json!("*"),
            json!("read"),
            json!(null),
            json!(["*", "read"]),
            json!(["read", "*"]),
            json!([""]),
            json!(["re ad"]),
            json!(["re*"]),
            json!(["r\u{e9}ad"]),
            json!(["a".repeat(65)]),
            json!([1]),
            json!(many),
        ] {
            assert!(actions(&value).is_err(), "{value}");
        }
        assert!(actions(&json!(["a".repeat(64)])).is_ok());
        assert!(Actions::only(Vec::new()).is_err());
    }

    #[test]
    fn short_and_long_lists_are_read_and_ordered_alike() {
        let one = |length: usize| Actions::only(vec!["a".repeat(length).parse().unwrap()]).unwrap();
        for length in [1, SHORT - 1, SHORT, SHORT + 1, MAX_ACTION_BYTES] {
            let name = "a".repeat(length);
            assert_eq!(one(length).names().collect::<Vec<_>>(), [name.as_str()]);
            assert!(one(length).contains(&name.parse().unwrap()));
            assert!(one(length) < actions(&json!(["b"])).unwrap());
            assert!(Actions::any() < one(length));
        }
        assert!(one(SHORT) < one(SHORT + 1));
    }

    #[test]
    fn covering_is_inclusion() {
        let any = Actions::any();
        let both = actions(&json!(["read", "write"])).unwrap();
        let read = actions(&json!(["read"])).unwrap();
        for (parent, child, covered) in [
            (&any, &any, true),
            (&any, &both, true),
            (&both, &any, false),
            (&both, &read, true),
            (&read, &both, false),
            (&read, &read, true),
        ] {
            assert_eq!(parent.covers(child), covered, "{parent:?} {child:?}");
        }
        let write: Action = "write".parse().unwrap();
        assert!(any.contains(&write) && both.contains(&write) && !read.contains(&write));
        assert!(!both.contains(&"Write".parse().unwrap()));
    }
}
