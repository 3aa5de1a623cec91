//! Regular expressions over arguments: matched in linear time, compiled and bounded when they are written.
//!
//! Promises: a pattern that compiled once compiles again; what it costs to match is bounded by named limits, and a text
//! beyond them does not match.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::wire;
use crate::invalid::Invalid;
use crate::time::clip;

/// The longest pattern in bytes.
pub const MAX_PATTERN_LEN: usize = 512;
/// The most patterns in `allowedArgPatterns`.
pub const MAX_ARG_PATTERNS: usize = 8;
/// The longest text that is matched, and the most text that is searched in one call, in bytes.
pub const MAX_MATCHED_LEN: usize = 16 * 1024;
/// The largest compiled program of one pattern in bytes, a few copies of the Unicode class `\w`.
///
/// It bounds the memory of a pattern, and the steps for each byte of the text to some thousands.
const MAX_PROGRAM: usize = 256 * 1024;
/// The most memory that one search caches in bytes.
const MAX_SEARCH_CACHE: usize = 256 * 1024;
/// The deepest nesting of groups in a pattern.
const MAX_GROUPS: u32 = 32;

/// A compiled pattern, compared and shown as the text it was written as.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// A pattern that is looked for anywhere in a text.
    fn searched(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > MAX_PATTERN_LEN {
            return Err(Invalid::new(format!(
                "a pattern has 1 to {MAX_PATTERN_LEN} bytes"
            )));
        }
        Ok(Self {
            text: text.to_owned(),
            regex: compile(text)?,
        })
    }

    /// A pattern that the whole of a text must match.
    fn whole(text: &str) -> Result<Self, Invalid> {
        // By itself first: `a)|(?:b` would otherwise close our group and escape the anchors.
        Self::searched(text)?;
        Ok(Self {
            text: text.to_owned(),
            regex: compile(&format!(r"\A(?:{text})\z"))?,
        })
    }

    fn is_match(&self, subject: &str) -> bool {
        subject.len() <= MAX_MATCHED_LEN && self.regex.is_match(subject)
    }
}

fn compile(text: &str) -> Result<Regex, Invalid> {
    RegexBuilder::new(text)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_SEARCH_CACHE)
        .nest_limit(MAX_GROUPS)
        .build()
        .map_err(|error| Invalid::new(refusal(text, &error)))
}

fn refusal(text: &str, error: &regex::Error) -> String {
    let shown = clip(text);
    if let regex::Error::CompiledTooBig(_) = error {
        return format!(
            "`{shown}` is too large when compiled; use smaller repetitions, and `[A-Za-z0-9_]` and `[0-9]` for `\\w` \
             and `\\d`, which hold the letters and digits of all scripts"
        );
    }
    // The whole message draws the pattern with a caret below it; its last line says what is wrong.
    let message = error.to_string();
    let reason = message.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    format!("`{shown}` is not a pattern: {reason}")
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// `matches`: a pattern that the whole of one argument must match.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct WholeMatch(Pattern);

impl WholeMatch {
    pub(super) fn new(text: &str) -> Result<Self, Invalid> {
        Pattern::whole(text).map(Self)
    }

    pub(super) fn text(&self) -> &str {
        &self.0.text
    }

    pub(super) fn passes(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| self.0.is_match(text))
    }
}

impl<'de> Deserialize<'de> for WholeMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

/// One pattern of `allowedArgPatterns`.
struct SearchedPattern(Pattern);

impl<'de> Deserialize<'de> for SearchedPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pattern::searched(&text)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// `allowedArgPatterns`: each pattern is found in every string anywhere in the arguments, and there is at least one.
///
/// The strings are the values. The names of an object's members are not: a tool's own parameter names would have to
/// match a pattern that is meant for what the agent puts in. To bind names as well, use `args` with `eq`.
/// All strings together may be at most [`MAX_MATCHED_LEN`] long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArgPatterns(Vec<Pattern>);

impl ArgPatterns {
    pub(super) fn allow(&self, arguments: Option<&Value>) -> bool {
        let Some(strings) = arguments.and_then(strings) else {
            return false;
        };
        !strings.is_empty()
            && strings
                .iter()
                .all(|text| self.0.iter().all(|pattern| pattern.is_match(text)))
    }

    /// How many patterns there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn narrower_than(&self, parent: &Self) -> Result<(), Invalid> {
        match parent.0.iter().find(|pattern| !self.0.contains(pattern)) {
            None => Ok(()),
            Some(missing) => Err(Invalid::new(format!(
                "must repeat the parent's pattern `{}`",
                clip(&missing.text)
            ))),
        }
    }
}

/// How much text of a value one pattern may read, in bytes.
pub(crate) fn searched_bytes(value: &Value) -> usize {
    strings(value).map_or(MAX_MATCHED_LEN, |strings| {
        strings.into_iter().map(str::len).sum()
    })
}

/// Every string in a value, or `None` when they are too long together.
fn strings(value: &Value) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut length = 0_usize;
    // The list of what is still to be read stands in for the call stack, so no depth can exhaust it.
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => {
                length = length.saturating_add(text.len());
                if length > MAX_MATCHED_LEN {
                    return None;
                }
                found.push(text.as_str());
            }
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    Some(found)
}

impl<'de> Deserialize<'de> for ArgPatterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read: Vec<SearchedPattern> = wire::list(deserializer, MAX_ARG_PATTERNS)?;
        let mut patterns: Vec<Pattern> = read.into_iter().map(|pattern| pattern.0).collect();
        patterns.sort_by(|left, right| left.text.cmp(&right.text));
        patterns.dedup();
        Ok(Self(patterns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patterns(texts: &[&str]) -> ArgPatterns {
        ArgPatterns::deserialize(&json!(texts)).unwrap()
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_refused_with_the_reason() {
        for (text, reason) in [
            ("(", "unclosed group"),
            ("a{2,1}", "invalid repetition"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("(?:(?:(?:a{99}){99}){99})", "too large"),
            ("a)|(?:b", "unopened group"),
            ("(?x)a #", "unclosed group"),
        ] {
            let error = WholeMatch::new(text).unwrap_err();
            assert!(error.message().contains(reason), "{text}: {error}");
        }
        assert!(Pattern::searched("").is_err());
        assert!(Pattern::searched(&"a".repeat(MAX_PATTERN_LEN + 1)).is_err());
        assert!(Pattern::searched(&"(".repeat(400)).is_err());
        for value in [
            json!([]),
            json!("a"),
            json!([1]),
            json!(["("]),
            json!(vec!["a"; MAX_ARG_PATTERNS + 1]),
        ] {
            assert!(ArgPatterns::deserialize(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn everyday_patterns_fit_the_limits() {
        for text in [
            r"^\/tmp\/",
            r"^[\w.+-]+@[\w-]+\.[\w.]+$",
            r"^[A-Za-z0-9.+-]{1,64}@example\.com$",
            r"^(?i)select\s",
            r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
            r"^\d{4}-\d{2}-\d{2}$",
            r"^[A-Za-z0-9_-]{1,128}$",
            r"^\p{L}+$",
            r"^[^\x00-\x1f]{0,200}$",
        ] {
            Pattern::searched(text).unwrap();
            WholeMatch::new(text).unwrap();
        }
    }

    #[test]
    fn the_whole_value_must_match() {
        for (pattern, value, passes) in [
            ("a|b", json!("a"), true),
            ("a|b", json!("ab"), false),
            ("a|b", json!("xb"), false),
            ("(?m)^a$", json!("a"), true),
            ("(?m)^a$", json!("a\nb"), false),
            ("a", json!("a\n"), false),
            ("a.b", json!("a\nb"), false),
            ("[0-9]+", json!(42), false),
            ("true", json!(true), false),
            ("a", json!(["a"]), false),
            ("a", json!(null), false),
        ] {
            let rule = WholeMatch::new(pattern).unwrap();
            assert_eq!(rule.passes(&value), passes, "{pattern} {value}");
        }
        // The twin: searched, the same texts pass.
        assert!(Pattern::searched("a|b").unwrap().is_match("xb"));
    }

    #[test]
    fn a_pathological_pattern_just_answers() {
        let text = "a".repeat(10_000) + "!";
        for pattern in ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(x+x+)+y"] {
            assert!(!patterns(&[pattern]).allow(Some(&json!(text))), "{pattern}");
            assert!(!WholeMatch::new(pattern).unwrap().passes(&json!(text)));
        }
        assert!(patterns(&["^(a+)+!$"]).allow(Some(&json!(text))));
    }

    #[test]
    fn every_string_anywhere_is_searched_for_every_pattern() {
        let tmp = patterns(&["^/tmp/"]);
        for (arguments, allowed) in [
            (json!({"path": "/tmp/a"}), true),
            (json!({"path": "/etc/passwd"}), false),
            (json!({"path": ["/etc/passwd"]}), false),
            (json!({"path": ["/tmp/a", "/etc/passwd"]}), false),
            (
                json!({"a": {"b": [{"c": "/etc/passwd"}]}, "path": "/tmp/a"}),
                false,
            ),
            (
                json!({"a": {"b": [{"c": "/tmp/b"}]}, "path": "/tmp/a"}),
                true,
            ),
            (json!({"path": 7}), false),
            (json!({"path": null, "deep": true}), false),
            (json!({}), false),
            (json!([]), false),
            (json!("/tmp/a"), true),
            (json!({"/etc/passwd": "/tmp/a"}), true),
            (json!({"/tmp/a": 1}), false),
            (json!({"path": "/tmp/a", "size": 7}), true),
            (json!({"path": ""}), false),
        ] {
            assert_eq!(tmp.allow(Some(&arguments)), allowed, "{arguments}");
        }
        assert!(!tmp.allow(None));
        let both = patterns(&["^/tmp/", r"\.txt$"]);
        assert!(both.allow(Some(&json!(["/tmp/a.txt"]))));
        assert!(!both.allow(Some(&json!(["/tmp/a.bin"]))));
        // The twin: without the pattern that stopped it, the same call passes.
        assert!(tmp.allow(Some(&json!(["/tmp/a.bin"]))));
    }

    #[test]
    fn more_text_than_is_searched_does_not_match() {
        let any = patterns(&["a"]);
        let half = "a".repeat(MAX_MATCHED_LEN / 2);
        assert!(any.allow(Some(&json!([half, half]))));
        assert!(!any.allow(Some(&json!([half, half, "a"]))));
        let whole = WholeMatch::new("a*").unwrap();
        assert!(whole.passes(&json!("a".repeat(MAX_MATCHED_LEN))));
        assert!(!whole.passes(&json!("a".repeat(MAX_MATCHED_LEN + 1))));
    }

    #[test]
    fn one_list_has_one_form() {
        let stored = serde_json::to_value(patterns(&["b", "a", "b"])).unwrap();
        assert_eq!(stored, json!(["a", "b"]));
    }

    fn lists() -> impl Strategy<Value = Vec<&'static str>> {
        prop::sample::subsequence(vec!["^a", "b", "c$", "[ab]", "^.{2,3}$"], 1..=5)
    }

    proptest! {
        #[test]
        fn what_narrower_patterns_allow_their_parents_allow(
            child in lists(),
            parent in lists(),
            texts in prop::collection::vec("[abc]{0,4}", 0..3),
        ) {
            let (child, parent) = (patterns(&child), patterns(&parent));
            let arguments = json!(texts);
            if child.narrower_than(&parent).is_ok() && child.allow(Some(&arguments)) {
                prop_assert!(parent.allow(Some(&arguments)));
            }
        }

        #[test]
        fn no_pattern_escapes_its_anchors(
            pattern in r"[ab|()?*x#\n ]{1,12}",
            text in "[ab#x]{0,4}",
        ) {
            // None of these patterns can match a `!`, so nothing with one passes, unless an anchor was lost.
            let Ok(rule) = WholeMatch::new(&pattern) else { return Ok(()) };
            prop_assert!(!rule.passes(&json!(format!("{text}!"))), "{}", pattern);
            prop_assert!(!rule.passes(&json!(format!("!{text}"))), "{}", pattern);
        }
    }
}
