//! `eq`, `oneOf` and `range`: arguments compared with values.
//!
//! Two values are the same when their canonical JSON (RFC 8785) is: `1`, `1.0` and `1e0` are one number, the order of
//! members does not matter, and text is compared byte for byte, without Unicode normalisation.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Number, Value};

use super::wire;
use crate::invalid::Invalid;
use crate::json::{self, canonical};

/// The longest value in `eq` and `oneOf`, in bytes of its canonical form.
pub const MAX_LITERAL_LEN: usize = 4096;
/// The most values in `oneOf`.
pub const MAX_ONE_OF: usize = 128;
/// The largest integer that is compared: 2^53, beyond which readers of JSON disagree.
const MAX_INTEGER: u64 = 1 << 53;

/// A value that an argument is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Literal(Value);

impl Literal {
    fn new(value: &Value) -> Result<Self, Invalid> {
        let text = canonical(value);
        if text.len() > MAX_LITERAL_LEN {
            return Err(Invalid::new(format!(
                "a value to compare with has at most {MAX_LITERAL_LEN} bytes; use `matches` or `prefix`"
            )));
        }
        // Read back strictly, so that a number has its one form and is one that all readers agree on.
        json::parse(text.as_bytes()).map(Self)
    }

    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    pub(super) fn passes(&self, value: &Value) -> bool {
        same(&self.0, value)
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::new(&value).map_err(de::Error::custom)
    }
}

/// Whether two values have the same canonical form. Goes no deeper than the shallower one.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, l)| right.get(name).is_some_and(|r| same(l, r)))
        }
        _ => left == right,
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    let form = |number: &Number| canonical(&Value::Number(number.clone()));
    left == right || form(left) == form(right)
}

/// The values of a `oneOf`, at least one, in the order of their canonical form and each once.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct OneOf(Vec<Literal>);

impl OneOf {
    pub(super) fn literals(&self) -> &[Literal] {
        &self.0
    }

    pub(super) fn passes(&self, value: &Value) -> bool {
        self.0.iter().any(|literal| literal.passes(value))
    }
}

impl<'de> Deserialize<'de> for OneOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut literals: Vec<Literal> = wire::list(deserializer, MAX_ONE_OF)?;
        literals.sort_by_cached_key(|literal| canonical(&literal.0));
        literals.dedup();
        Ok(Self(literals))
    }
}

/// A number from `min` to `max`, both inside; one of them may be missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Range {
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Number>,
}

impl Range {
    pub(super) fn passes(&self, value: &Value) -> bool {
        let Value::Number(number) = value else {
            return false;
        };
        comparable(number).is_some_and(|number| self.lowest() <= number && number <= self.highest())
    }

    pub(super) fn is_inside(&self, parent: &Self) -> bool {
        parent.lowest() <= self.lowest() && self.highest() <= parent.highest()
    }

    fn lowest(&self) -> f64 {
        bound(self.min.as_ref(), f64::NEG_INFINITY)
    }

    fn highest(&self) -> f64 {
        bound(self.max.as_ref(), f64::INFINITY)
    }
}

fn bound(stated: Option<&Number>, open: f64) -> f64 {
    // INVARIANT: a stated bound was comparable when it was read.
    stated.map_or(open, |number| comparable(number).unwrap_or(f64::NAN))
}

/// The number as one that compares exactly: integers only up to 2^53, where a float holds them all.
fn comparable(number: &Number) -> Option<f64> {
    let magnitude = number
        .as_u64()
        .or_else(|| number.as_i64().map(i64::unsigned_abs));
    match magnitude {
        Some(integer) if integer > MAX_INTEGER => None,
        _ => number.as_f64(),
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            #[serde(default, deserialize_with = "wire::stated")]
            min: Option<Bound>,
            #[serde(default, deserialize_with = "wire::stated")]
            max: Option<Bound>,
        }
        let wire: Wire = wire::object(deserializer, "an object with `min`, `max` or both")?;
        let range = Self {
            min: wire.min.map(|bound| bound.0),
            max: wire.max.map(|bound| bound.0),
        };
        if range.min.is_none() && range.max.is_none() {
            return Err(de::Error::custom("a range needs `min`, `max` or both"));
        }
        if range.lowest() > range.highest() {
            return Err(de::Error::custom(
                "`min` is above `max`, which allows nothing",
            ));
        }
        Ok(range)
    }
}

/// One end of a range, in the one form that its number has.
struct Bound(Number);

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        match Literal::new(&Value::Number(number)) {
            Ok(Literal(Value::Number(number))) => Ok(Self(number)),
            Ok(_) => Err(de::Error::custom("a bound is a number")),
            Err(error) => Err(de::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_the_same_when_their_canonical_forms_are() {
        for (literal, argument, equal) in [
            ("1", "1.0", true),
            ("1000", "1e3", true),
            ("0", "-0.0", true),
            ("0.1", "0.10", true),
            ("1", "2", false),
            ("1", "\"1\"", false),
            ("1", "true", false),
            ("0", "null", false),
            ("null", "null", true),
            ("\"a\"", "\"\\u0061\"", true),
            ("\"a\"", "\"A\"", false),
            ("\"\\u00e9\"", "\"e\\u0301\"", false),
            ("[1,2]", "[1.0,2]", true),
            ("[1,2]", "[2,1]", false),
            ("[1,2]", "[1]", false),
            ("[1]", "[1,2]", false),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
        ] {
            let literal: Literal = serde_json::from_str(literal).unwrap();
            // Both as our strict reader gives it and as any other does.
            let strict = json::parse(argument.as_bytes()).unwrap();
            let plain: Value = serde_json::from_str(argument).unwrap();
            assert_eq!(literal.passes(&strict), equal, "{literal:?} {argument}");
            assert_eq!(literal.passes(&plain), equal, "{literal:?} {argument}");
        }
    }

    #[test]
    fn a_value_that_readers_disagree_on_is_refused() {
        for text in ["9007199254740993", "18446744073709551615"] {
            assert!(serde_json::from_str::<Literal>(text).is_err(), "{text}");
            assert!(serde_json::from_str::<Bound>(text).is_err(), "{text}");
        }
        let long = json!("a".repeat(MAX_LITERAL_LEN));
        assert!(Literal::deserialize(&long).is_err());
        for value in [json!([]), json!("a"), json!(vec![0; MAX_ONE_OF + 1])] {
            assert!(OneOf::deserialize(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn one_set_has_one_form() {
        let set: OneOf = serde_json::from_str(r#"["b", 1.0, "a", 1]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["a","b",1]"#);
    }

    #[test]
    fn a_range_holds_its_ends_and_nothing_but_numbers() {
        let range: Range = serde_json::from_str(r#"{"min": 1, "max": 10.0}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&range).unwrap(),
            r#"{"min":1,"max":10}"#
        );
        for (value, inside) in [
            (json!(1), true),
            (json!(10), true),
            (json!(9.999), true),
            (json!(10.001), false),
            (json!(0), false),
            (json!(-5), false),
            (json!("5"), false),
            (json!([5]), false),
            (json!(null), false),
        ] {
            assert_eq!(range.passes(&value), inside, "{value}");
        }
        let huge: Range = serde_json::from_str(r#"{"max": 9007199254740992}"#).unwrap();
        assert!(huge.passes(&json!(9_007_199_254_740_992_u64)));
        assert!(!huge.passes(&json!(9_007_199_254_740_993_u64)));
        assert!(!huge.passes(&json!(u64::MAX)));
        let negative: Range = serde_json::from_str(r#"{"min": -9007199254740992}"#).unwrap();
        assert!(!negative.passes(&json!(i64::MIN)));
        assert!(!negative.passes(&json!(u64::MAX)));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for value in [
            json!({}),
            json!({"min": 2, "max": 1}),
            json!({"min": "1"}),
            json!({"min": null}),
            json!({"min": 1, "step": 1}),
            json!([1, 2]),
        ] {
            assert!(Range::deserialize(&value).is_err(), "{value}");
        }
    }
}
