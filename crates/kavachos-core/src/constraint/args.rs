//! `args`: rules about named arguments.
//!
//! Every rule must hold. An argument that is missing, or of a type the rule is not about, fails it.
//!
//! When is a child's rule set at least as strict as the parent's? When it repeats every pointer of the parent, and at
//! each of them every rule of the parent is implied by one of the child's. What implies what is this table; a pair that
//! is not in it is refused:
//!
//! | parent's rule | implied by the child's |
//! |---|---|
//! | `eq`, `oneOf`, `prefix`, `range`, `maxLength` | `eq` or `oneOf`, when each value passes the parent's rule |
//! | `prefix` | `prefix` that is the same or longer by whole segments |
//! | `range` | `range` inside |
//! | `maxLength` | `maxLength` that is not larger |
//! | `matches` | `matches` with the same text, byte for byte, beside any others |
//!
//! So a pattern is never reasoned about, not even by trying a value on it: verifiers in other languages have other
//! engines.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::literal::{Literal, OneOf, Range};
use super::pattern::WholeMatch;
use super::pointer::Pointer;
use super::prefix::Prefix;
use super::wire;
use crate::invalid::Invalid;
use crate::time::clip;

/// The most arguments that one constraint has rules about.
pub const MAX_ARG_RULES: usize = 32;
/// The most patterns in all `matches` of one constraint.
pub const MAX_MATCHES: usize = 16;

/// Rules for arguments, by where these stand in the arguments of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArgRules(BTreeMap<Pointer, Rules>);

impl ArgRules {
    /// How many patterns there are.
    pub(super) fn patterns(&self) -> usize {
        let matches = self.0.values().filter_map(|rules| rules.matches.as_ref());
        matches.map(|matches| matches.0.len()).sum()
    }

    pub(super) fn allow(&self, arguments: Option<&Value>) -> bool {
        self.0.iter().all(|(pointer, rules)| {
            arguments
                .and_then(|arguments| pointer.find(arguments))
                .is_some_and(|value| rules.pass(value))
        })
    }

    pub(super) fn narrower_than(&self, parent: &Self) -> Result<(), Invalid> {
        for (pointer, theirs) in &parent.0 {
            let stated = match self.0.get(pointer) {
                Some(ours) => ours.narrower_than(theirs),
                None => Err(Invalid::new(
                    "must be repeated: the parent has rules about it",
                )),
            };
            stated.map_err(|error| error.within(&clip(pointer.as_str())))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ArgRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader).map(Self)
    }
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = BTreeMap<Pointer, Rules>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an object of 1 to {MAX_ARG_RULES} JSON pointers with rules"
        )
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut read = BTreeMap::new();
        let mut patterns = 0;
        while let Some(pointer) = members.next_key::<Pointer>()? {
            if read.len() == MAX_ARG_RULES {
                return Err(de::Error::custom(format!(
                    "more than {MAX_ARG_RULES} pointers; write fewer"
                )));
            }
            let shown = clip(pointer.as_str());
            let rules: Rules = members.next_value()?;
            patterns += rules.matches.as_ref().map_or(0, |matches| matches.0.len());
            if patterns > MAX_MATCHES {
                return Err(de::Error::custom(format!(
                    "more than {MAX_MATCHES} patterns in `matches`; write fewer"
                )));
            }
            if read.insert(pointer, rules).is_some() {
                return Err(de::Error::custom(format!(
                    "the pointer `{shown}` stands twice"
                )));
            }
        }
        if read.is_empty() {
            return Err(de::Error::custom(
                "no rules; name at least one argument or leave the member out",
            ));
        }
        Ok(read)
    }
}

/// The rules for one argument, at least one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    #[serde(skip_serializing_if = "Option::is_none")]
    eq: Option<Literal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_of: Option<OneOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<Range>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<MaxLength>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Matches>,
}

impl Rules {
    fn pass(&self, value: &Value) -> bool {
        holds(self.eq.as_ref(), |rule| rule.passes(value))
            && holds(self.one_of.as_ref(), |rule| rule.passes(value))
            && holds(self.prefix.as_ref(), |rule| rule.passes(value))
            && holds(self.range.as_ref(), |rule| rule.passes(value))
            && holds(self.max_length, |rule| rule.passes(value))
            && holds(self.matches.as_ref(), |rule| rule.pass(value))
    }

    /// The table at the top of this module.
    fn narrower_than(&self, parent: &Self) -> Result<(), Invalid> {
        let eq = holds(parent.eq.as_ref(), |theirs| {
            self.only_values(|value| theirs.passes(value))
        });
        let one_of = holds(parent.one_of.as_ref(), |theirs| {
            self.only_values(|value| theirs.passes(value))
        });
        let prefix = holds(parent.prefix.as_ref(), |theirs| {
            self.only_values(|value| theirs.passes(value))
                || self.prefix.as_ref().is_some_and(|ours| theirs.covers(ours))
        });
        let range = holds(parent.range.as_ref(), |theirs| {
            self.only_values(|value| theirs.passes(value))
                || self
                    .range
                    .as_ref()
                    .is_some_and(|ours| ours.is_inside(theirs))
        });
        let max_length = holds(parent.max_length, |theirs| {
            self.only_values(|value| theirs.passes(value))
                || self.max_length.is_some_and(|ours| ours <= theirs)
        });
        let matches = holds(parent.matches.as_ref(), |theirs| {
            self.matches
                .as_ref()
                .is_some_and(|ours| ours.repeat(theirs))
        });
        let implied = [
            ("eq", eq),
            ("oneOf", one_of),
            ("prefix", prefix),
            ("range", range),
            ("maxLength", max_length),
            ("matches", matches),
        ];
        match implied.into_iter().find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((rule, _)) => Err(Invalid::at(
                rule,
                "must be repeated or narrowed: the parent has this rule here",
            )),
        }
    }

    /// Whether `eq` or `oneOf` leaves only values for which this is true.
    fn only_values(&self, passes: impl Fn(&Value) -> bool) -> bool {
        let each = |literals: &[Literal]| literals.iter().all(|literal| passes(literal.value()));
        self.eq
            .as_ref()
            .is_some_and(|literal| passes(literal.value()))
            || self.one_of.as_ref().is_some_and(|set| each(set.literals()))
    }
}

/// Whether a rule that may not be stated holds.
fn holds<T>(rule: Option<T>, test: impl FnOnce(T) -> bool) -> bool {
    rule.is_none_or(test)
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Wire {
            #[serde(default, deserialize_with = "wire::stated")]
            eq: Option<Literal>,
            #[serde(default, deserialize_with = "wire::stated")]
            one_of: Option<OneOf>,
            #[serde(default, deserialize_with = "wire::stated")]
            prefix: Option<Prefix>,
            #[serde(default, deserialize_with = "wire::stated")]
            range: Option<Range>,
            #[serde(default, deserialize_with = "wire::stated")]
            max_length: Option<MaxLength>,
            #[serde(default, deserialize_with = "wire::stated")]
            matches: Option<Matches>,
        }
        let wire: Wire = wire::object(deserializer, "an object of rules")?;
        let rules = Self {
            eq: wire.eq,
            one_of: wire.one_of,
            prefix: wire.prefix,
            range: wire.range,
            max_length: wire.max_length,
            matches: wire.matches,
        };
        if rules == Self::NONE {
            return Err(de::Error::custom(
                "state at least one of `eq`, `oneOf`, `prefix`, `range`, `maxLength`, `matches`",
            ));
        }
        Ok(rules)
    }
}

impl Rules {
    const NONE: Self = Self {
        eq: None,
        one_of: None,
        prefix: None,
        range: None,
        max_length: None,
        matches: None,
    };
}

/// The most Unicode scalar values a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct MaxLength(u32);

impl MaxLength {
    fn passes(self, value: &Value) -> bool {
        // A length beyond what this machine can count to is one that no text here reaches.
        let limit = usize::try_from(self.0).unwrap_or(usize::MAX);
        value
            .as_str()
            .is_some_and(|text| text.chars().nth(limit).is_none())
    }
}

/// Patterns that the whole value matches, sorted and each once; a single one stands without a list.
#[derive(Debug, Clone, PartialEq)]
struct Matches(Vec<WholeMatch>);

impl Matches {
    fn pass(&self, value: &Value) -> bool {
        self.0.iter().all(|pattern| pattern.passes(value))
    }

    fn repeat(&self, parent: &Self) -> bool {
        parent.0.iter().all(|pattern| self.0.contains(pattern))
    }
}

impl Serialize for Matches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Matches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MatchesReader)
    }
}

struct MatchesReader;

impl<'de> de::Visitor<'de> for MatchesReader {
    type Value = Matches;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a pattern or a list of 1 to {MAX_MATCHES} patterns")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Matches, E> {
        let only = WholeMatch::new(text).map_err(E::custom)?;
        Ok(Matches(vec![only]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Matches, A::Error> {
        let mut patterns = wire::List::<WholeMatch>(MAX_MATCHES, PhantomData).visit_seq(items)?;
        patterns.sort_by(|left, right| left.text().cmp(right.text()));
        patterns.dedup();
        Ok(Matches(patterns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rules(value: &Value) -> ArgRules {
        ArgRules::deserialize(value).unwrap()
    }

    #[test]
    fn each_rule_stops_what_it_is_about_and_its_absence_does_not() {
        for (rule, passing, failing) in [
            (json!({"eq": 1}), json!(1.0), json!(2)),
            (json!({"eq": null}), json!(null), json!(0)),
            (
                json!({"eq": {"a": [1]}}),
                json!({"a": [1]}),
                json!({"a": [1], "b": 2}),
            ),
            (json!({"oneOf": ["a", "b"]}), json!("b"), json!("c")),
            (
                json!({"prefix": "/tmp"}),
                json!("/tmp/a"),
                json!("/tmp/../etc/passwd"),
            ),
            (
                json!({"prefix": "https://h/a"}),
                json!("https://h/a/b"),
                json!("https://h@evil/a/b"),
            ),
            (json!({"range": {"min": 1, "max": 3}}), json!(3), json!(3.5)),
            (
                json!({"maxLength": 2}),
                json!("\u{1f600}\u{e9}"),
                json!("abc"),
            ),
            (json!({"maxLength": 0}), json!(""), json!("a")),
            (json!({"matches": "[a-z]+"}), json!("abc"), json!("abc;rm")),
            (
                json!({"matches": ["[a-z]+", ".*c"]}),
                json!("abc"),
                json!("abd"),
            ),
            (
                json!({"maxLength": 3, "matches": "a*"}),
                json!("aaa"),
                json!("aaaa"),
            ),
        ] {
            let stated = rules(&json!({"/x": rule}));
            assert!(
                stated.allow(Some(&json!({"x": passing}))),
                "{rule} {passing}"
            );
            assert!(
                !stated.allow(Some(&json!({"x": failing}))),
                "{rule} {failing}"
            );
            // The twin: a rule about another argument that holds lets the same value pass.
            let elsewhere = rules(&json!({"/y": {"eq": 1}}));
            assert!(elsewhere.allow(Some(&json!({"x": failing, "y": 1}))));
        }
    }

    #[test]
    fn a_missing_argument_or_one_of_another_type_fails_every_rule() {
        let wrong_types = [
            json!(true),
            json!([]),
            json!({}),
            json!(["/tmp/a"]),
            json!({"x": "/tmp/a"}),
        ];
        for (rule, also_wrong) in [
            (json!({"eq": "a"}), json!(1)),
            (json!({"oneOf": ["a", 1]}), json!("1")),
            (json!({"prefix": "/"}), json!(1)),
            (json!({"range": {"min": 0}}), json!("5")),
            (json!({"maxLength": 100}), json!(5)),
            (json!({"matches": "(?s).*"}), json!(5)),
        ] {
            let stated = rules(&json!({"/x": rule}));
            for value in wrong_types.iter().chain([&also_wrong, &json!(null)]) {
                assert!(!stated.allow(Some(&json!({"x": value}))), "{rule} {value}");
            }
            assert!(!stated.allow(Some(&json!({}))), "{rule}");
            assert!(!stated.allow(Some(&json!({"y": {"x": "a"}}))), "{rule}");
            assert!(!stated.allow(None), "{rule}");
        }
    }

    #[test]
    fn every_pointer_must_hold() {
        let both = rules(&json!({"/to/0": {"eq": "ada"}, "/text": {"maxLength": 5}}));
        assert!(both.allow(Some(&json!({"to": ["ada"], "text": "hello"}))));
        assert!(!both.allow(Some(&json!({"to": ["bob"], "text": "hello"}))));
        assert!(!both.allow(Some(&json!({"to": ["ada"], "text": "hello!"}))));
        assert!(!both.allow(Some(&json!({"to": "ada", "text": "hello"}))));
        let whole = rules(&json!({"": {"eq": {"a": 1}}}));
        assert!(
            whole.allow(Some(&json!({"a": 1}))) && !whole.allow(Some(&json!({"a": 1, "b": 2})))
        );
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let distinct: Vec<String> = (0..MAX_MATCHES).map(|n| "a".repeat(n + 1)).collect();
        assert!(ArgRules::deserialize(&json!({"/x": {"matches": distinct}})).is_ok());
        let many: BTreeMap<String, Value> = (0..33)
            .map(|n| (format!("/{n}"), json!({"eq": n})))
            .collect();
        for value in [
            json!({}),
            json!([]),
            json!({"x": {"eq": 1}}),
            json!({"/x": {}}),
            json!({"/x": 1}),
            json!({"/x": {"equals": 1}}),
            json!({"/x": {"prefix": null}}),
            json!({"/x": {"prefix": "a//b"}}),
            json!({"/x": {"range": {}}}),
            json!({"/x": {"maxLength": -1}}),
            json!({"/x": {"maxLength": "1"}}),
            json!({"/x": {"matches": "("}}),
            json!({"/x": {"matches": []}}),
            json!({"/x": {"matches": vec!["a"; MAX_MATCHES + 1]}}),
            json!({"/x": {"matches": distinct}, "/y": {"matches": "b"}}),
            json!({"/x": {"matches": 1}}),
            json!({"/x": {"oneOf": []}}),
            json!(many),
        ] {
            assert!(ArgRules::deserialize(&value).is_err(), "{value}");
        }
        let twice = r#"{"/x": {"eq": 1}, "/x": {"eq": 2}}"#;
        assert!(serde_json::from_str::<ArgRules>(twice).is_err());
    }

    #[test]
    fn one_set_of_rules_has_one_form() {
        let written = json!({"/b": {"matches": ["x", "x"]}, "/a": {"matches": ["b", "a"], "prefix": "/tmp/", "eq": 1.0}});
        let stored = r#"{"/a":{"eq":1,"prefix":"/tmp","matches":["a","b"]},"/b":{"matches":"x"}}"#;
        assert_eq!(serde_json::to_string(&rules(&written)).unwrap(), stored);
        assert_eq!(
            serde_json::from_str::<ArgRules>(stored).unwrap(),
            rules(&written)
        );
    }

    /// Whether one rule set for an argument is narrower than another.
    fn narrower(child: &Value, parent: &Value) -> bool {
        let at_x = |set: &Value| rules(&json!({"/x": set}));
        at_x(child).narrower_than(&at_x(parent)).is_ok()
    }

    #[test]
    fn the_table_of_narrower_rules() {
        for (child, parent, expected) in [
            (json!({"eq": 1}), json!({"eq": 1.0}), true),
            (json!({"eq": 1}), json!({"eq": 2}), false),
            (json!({"oneOf": [1]}), json!({"eq": 1}), true),
            (json!({"oneOf": [1, 2]}), json!({"eq": 1}), false),
            (json!({"eq": "a"}), json!({"oneOf": ["a", "b"]}), true),
            (json!({"eq": "c"}), json!({"oneOf": ["a", "b"]}), false),
            (json!({"oneOf": ["b"]}), json!({"oneOf": ["a", "b"]}), true),
            (
                json!({"oneOf": ["b", "c"]}),
                json!({"oneOf": ["a", "b"]}),
                false,
            ),
            (json!({"prefix": "/tmp/a"}), json!({"prefix": "/tmp"}), true),
            (json!({"prefix": "/tm"}), json!({"prefix": "/tmp"}), false),
            (json!({"eq": "/tmp/a"}), json!({"prefix": "/tmp"}), true),
            (json!({"eq": "/tmp/../a"}), json!({"prefix": "/tmp"}), false),
            (
                json!({"oneOf": ["/tmp/a", 5]}),
                json!({"prefix": "/tmp"}),
                false,
            ),
            (
                json!({"range": {"min": 2, "max": 3}}),
                json!({"range": {"min": 1}}),
                true,
            ),
            (
                json!({"range": {"max": 3}}),
                json!({"range": {"min": 1}}),
                false,
            ),
            (json!({"eq": 7}), json!({"range": {"min": 1}}), true),
            (json!({"eq": "7"}), json!({"range": {"min": 1}}), false),
            (json!({"maxLength": 4}), json!({"maxLength": 5}), true),
            (json!({"maxLength": 6}), json!({"maxLength": 5}), false),
            (json!({"eq": "abc"}), json!({"maxLength": 5}), true),
            (json!({"eq": "abcdef"}), json!({"maxLength": 5}), false),
            (json!({"matches": "a"}), json!({"matches": "a"}), true),
            (
                json!({"matches": ["a", "b"]}),
                json!({"matches": "a"}),
                true,
            ),
            (json!({"matches": "(?:a)"}), json!({"matches": "a"}), false),
            (
                json!({"matches": "a"}),
                json!({"matches": ["a", "b"]}),
                false,
            ),
        ] {
            assert_eq!(narrower(&child, &parent), expected, "{child} {parent}");
        }
    }

    #[test]
    fn a_pair_that_is_not_in_the_table_is_refused() {
        for (child, parent) in [
            // True of this value in our engine, but another engine need not agree.
            (json!({"eq": "a"}), json!({"matches": "a"})),
            (json!({"range": {"min": 1, "max": 1}}), json!({"eq": 1})),
            (json!({"matches": "a"}), json!({"eq": "a"})),
            (json!({"prefix": "/a"}), json!({"maxLength": 5})),
            (json!({"maxLength": 0}), json!({"eq": ""})),
        ] {
            assert!(!narrower(&child, &parent), "{child} {parent}");
            // The twin: with the parent's rule repeated beside its own, the child is narrower.
            let mut repeated = child.clone();
            for (name, rule) in parent.as_object().unwrap() {
                repeated[name] = rule.clone();
            }
            assert!(narrower(&repeated, &parent), "{repeated} {parent}");
        }
    }

    #[test]
    fn every_pointer_of_the_parent_is_repeated() {
        let parent = rules(&json!({"/x": {"eq": 1}}));
        let added = rules(&json!({"/x": {"eq": 1}, "/y": {"eq": 2}}));
        let other = rules(&json!({"/y": {"eq": 2}}));
        assert!(added.narrower_than(&parent).is_ok());
        assert_eq!(other.narrower_than(&parent).unwrap_err().field(), "/x");
        let wrong = rules(&json!({"/x": {"eq": 2}}));
        assert_eq!(wrong.narrower_than(&parent).unwrap_err().field(), "/x.eq");
    }

    fn values() -> impl Strategy<Value = Value> {
        prop::sample::select(vec![
            json!(0),
            json!(1),
            json!(2),
            json!(2.5),
            json!(""),
            json!("a"),
            json!("ab"),
            json!("/a"),
            json!("/a/b"),
            json!("/a/../b"),
            json!(null),
            json!([1]),
            json!({"a": 1}),
            json!("2"),
        ])
    }

    fn rule() -> impl Strategy<Value = (&'static str, Value)> {
        prop_oneof![
            values().prop_map(|value| ("eq", value)),
            prop::collection::vec(values(), 1..4).prop_map(|values| ("oneOf", json!(values))),
            prop::sample::select(vec!["/", "/a", "/a/b", "a"])
                .prop_map(|prefix| ("prefix", json!(prefix))),
            (0..3, 0..3).prop_map(|(min, more)| ("range", json!({"min": min, "max": min + more}))),
            (0..4).prop_map(|length| ("maxLength", json!(length))),
            prop::sample::subsequence(vec!["a*", "/.*", ".{0,2}"], 1..=3)
                .prop_map(|patterns| ("matches", json!(patterns))),
        ]
    }

    fn rule_sets() -> impl Strategy<Value = ArgRules> {
        let one = prop::collection::vec(rule(), 1..4)
            .prop_map(|rules| json!(rules.into_iter().collect::<BTreeMap<_, _>>()));
        prop::collection::vec((prop::sample::select(vec!["/x", "/y"]), one), 1..3)
            .prop_map(|sets| rules(&json!(sets.into_iter().collect::<BTreeMap<_, _>>())))
    }

    /// The parent's rules with some replaced by the child's: related by construction, narrower or not.
    fn merged(child: &ArgRules, parent: &ArgRules) -> ArgRules {
        let mut both = serde_json::to_value(parent).unwrap();
        let child = serde_json::to_value(child).unwrap();
        for (pointer, rules) in child.as_object().unwrap() {
            let target = &mut both[pointer];
            for (name, rule) in rules.as_object().unwrap() {
                target[name] = rule.clone();
            }
        }
        rules(&both)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_narrower_rules_allow_their_parents_allow(
            child in rule_sets(),
            parent in rule_sets(),
            related in any::<bool>(),
            x in values(),
            y in values(),
        ) {
            let child = if related { merged(&child, &parent) } else { child };
            let arguments = json!({"x": x, "y": y});
            if child.narrower_than(&parent).is_ok() && child.allow(Some(&arguments)) {
                prop_assert!(parent.allow(Some(&arguments)));
            }
            prop_assert!(child.narrower_than(&child).is_ok());
        }
    }
}
