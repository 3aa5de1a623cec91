//! Strict JSON: one reading of every text, and one text for every value.
//!
//! [`parse`] accepts I-JSON (RFC 7493): no duplicate member names, no lone surrogates, no integers beyond 2^53, a
//! bounded depth, nothing after the value. [`canonical`] writes RFC 8785, the form that is hashed.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::{Serialize, Serializer};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::invalid::Invalid;
use crate::time::clip;

/// The deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 32;

/// The largest integer that every JSON reader reads exactly: 2^53.
const MAX_INTEGER: u64 = 1 << 53;

/// Reads one JSON value.
///
/// # Errors
/// Names what is wrong: the syntax error with line and column, the duplicate member, the depth, the number.
pub fn parse(bytes: &[u8]) -> Result<Value, Invalid> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let refuse = |error: serde_json::Error| Invalid::new(format!("the JSON is not valid: {error}"));
    let value = Strict { depth: 0 }
        .deserialize(&mut reader)
        .map_err(refuse)?;
    reader.end().map_err(refuse)?;
    Ok(value)
}

/// Whether [`parse`] would read an object that has this value as a member.
///
/// # Errors
/// Names the number or the depth. A value cannot hold what else is refused.
pub fn check_member(value: &Value) -> Result<(), Invalid> {
    check(value, Strict { depth: 1 }).map_err(|error| Invalid::new(error.to_string()))
}

fn check(value: &Value, at: Strict) -> Result<(), serde_json::Error> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => at.deserialize(number).map(drop),
        Value::Array(items) => {
            let inner = at.deeper()?;
            items.iter().try_for_each(|item| check(item, inner))
        }
        Value::Object(members) => {
            let inner = at.deeper()?;
            members.values().try_for_each(|item| check(item, inner))
        }
    }
}

/// A value inside of something typed, read as [`parse`] reads: no duplicate members, no other numbers, no deeper.
pub(crate) struct Exact(pub(crate) Value);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Strict { depth: 0 }.deserialize(deserializer).map(Exact)
    }
}

/// A struct that is read from an object and from nothing else: by itself a derived reader would also take the members
/// from a list, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectReader(PhantomData))
    }
}

struct ObjectReader<T>(PhantomData<fn() -> T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectReader<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Reads a member that may be left out but is not `null`, which could be read as one thing by one and as another by
/// another.
pub(crate) fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads what a text stands for, without a copy of the text.
pub(crate) fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    deserializer.deserialize_str(Text(PhantomData))
}

struct Text<T>(PhantomData<fn() -> T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Reads a value into a type, and says which member is at fault when it does not fit.
///
/// # Errors
/// The field is the path of the member: `context.ip`, `requests[3].action`.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Invalid> {
    // Keeping track of the place costs more than reading does, so it is looked for only when it is needed.
    T::deserialize(value).or_else(|_| read_tracked(value))
}

fn read_tracked<T: DeserializeOwned>(value: &Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = without_value(error.inner().to_string());
        let path = match error.path().to_string() {
            whole if whole == "." => String::new(),
            path => path,
        };
        // Of a missing member serde gives only the object that it should be in.
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split_once('`'));
        match missing {
            Some((name, _)) => Invalid::at(name, message.as_str()).within(&path),
            None => Invalid::at(path, message),
        }
    })
}

/// The same message without the text or number that stands where something else belongs: that may be a password or a code.
fn without_value(message: String) -> String {
    const BEFORE: &str = "invalid type: ";
    const AFTER: &str = ", expected ";
    const TOLD: [&str; 3] = ["string", "integer", "floating point"];
    let rest = message.strip_prefix(BEFORE).unwrap_or_default();
    let kind = TOLD.into_iter().find(|kind| rest.starts_with(*kind));
    match kind.zip(rest.rsplit_once(AFTER)) {
        Some((kind, (_, expected))) => format!("{BEFORE}{kind}{AFTER}{expected}"),
        None => message,
    }
}

/// Writes a value in its canonical form (RFC 8785).
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

/// The canonical form in plain ASCII: every other character stands as its `\u` escapes.
///
/// It reads back as the same value, and no character in it can reorder, hide or look like others.
pub fn ascii(value: &Value) -> String {
    let canonical = canonical(value);
    let mut out = String::with_capacity(canonical.len());
    for c in canonical.chars() {
        // Outside of texts canonical JSON has no such characters.
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            // RFC 8785 3.2.3 sorts by UTF-16 code units, which differs from UTF-8 order beyond the basic plane.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
            out.push('{');
            for (index, (name, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write_canonical(item, out);
            }
            out.push('}');
        }
    }
}

fn write_number(number: &Number, out: &mut String) {
    if number.is_i64() || number.is_u64() {
        out.push_str(&number.to_string());
    } else {
        // JSON numbers are finite, so this is ECMAScript's Number::toString as RFC 8785 3.2.2.3 asks.
        out.push_str(ryu_js::Buffer::new().format(number.as_f64().unwrap_or(0.0)));
    }
}

fn write_string(text: &str, out: &mut String) {
    // serde_json escapes exactly what RFC 8785 3.2.2.2 asks: the short forms, then \u00xx in lower case.
    out.push_str(&Value::from(text).to_string());
}

/// Reads a value while counting its depth and refusing what I-JSON refuses.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH {
            Ok(Self {
                depth: self.depth + 1,
            })
        } else {
            Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_INTEGER {
            Err(E::custom(too_large(value)))
        } else {
            Ok(value.into())
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_INTEGER {
            Err(E::custom(too_large(value)))
        } else {
            Ok(value.into())
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        // An integer written as 1.0 or 1e3 is the same I-JSON number as 1 or 1000, so it gets the same value.
        if exact {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an integer within 2^53 is exact in both types"
            )]
            return Ok(Value::from(value as i64));
        }
        // Below this the canonical form has all digits, and is then such an integer.
        if value.fract() == 0.0 && value.abs() < 1e21 {
            return Err(E::custom(too_large(value)));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(place) => place.insert(access.next_value_seed(inner)?),
                Entry::Occupied(first) => {
                    return Err(de::Error::custom(format!(
                        "the member `{}` stands twice",
                        clip(first.key())
                    )));
                }
            };
        }
        Ok(Value::Object(members))
    }
}

fn too_large(value: impl fmt::Display) -> String {
    format!(
        "the integer {value} is beyond 2^53, where readers of JSON stop agreeing; send it as text"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_the_place_of_something_else_is_not_repeated() {
        let message = |value: Value| {
            let wrong = read::<Vec<bool>>(&serde_json::json!([true, value])).unwrap_err();
            assert_eq!(wrong.field(), "[1]");
            wrong.message().to_owned()
        };
        for text in ["hidden", "hidden\", expected nothing", ""] {
            let told = message(text.into());
            assert_eq!(told, "invalid type: string, expected a boolean");
        }
        let told = message(793_040.into());
        assert_eq!(told, "invalid type: integer, expected a boolean");
        let told = message(793.5.into());
        assert_eq!(told, "invalid type: floating point, expected a boolean");
        // The twin: of what else is wrong all is told.
        assert!(message(Value::Null).starts_with("invalid type: null"));
    }

    #[test]
    fn the_plain_form_is_ascii_and_reads_back_as_the_same_value() {
        let value = serde_json::json!({"ключ": ["\u{7f}", "𝄞", "\u{202e}", "a\n\"b\\"], "b": 1.5});
        let text = ascii(&value);
        assert!(
            text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{text}"
        );
        assert!(text.contains("\\ud834\\udd1e"), "{text}");
        assert_eq!(parse(text.as_bytes()), Ok(value));
    }

    #[test]
    fn canonical_form_follows_the_example_of_rfc_8785() {
        let text = r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        assert_eq!(
            canonical(&parse(text.as_bytes()).unwrap()),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
    }

    #[test]
    fn members_are_sorted_by_utf_16_code_units() {
        let text = "{\"\u{20ac}\":1,\"\\r\":2,\"\u{fb33}\":3,\"1\":4,\"\u{1f600}\":5,\"\u{80}\":6,\"\u{f6}\":7}";
        let canonical = canonical(&parse(text.as_bytes()).unwrap());
        let order: Vec<char> = canonical
            .chars()
            .filter(|c| c.is_ascii_digit() && *c != '1')
            .collect();
        assert_eq!(order, ['2', '4', '6', '7', '5', '3']);
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_its_place() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read into")]
        struct Inner {
            number: u8,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read into")]
        struct Outer {
            list: Vec<Inner>,
        }
        let field = |text: &str| {
            read::<Outer>(&parse(text.as_bytes()).unwrap())
                .unwrap_err()
                .field()
                .to_owned()
        };
        assert_eq!(
            field(r#"{"list":[{"number":1},{"number":300}]}"#),
            "list[1].number"
        );
        assert_eq!(
            field(r#"{"list":[{"number":1,"other":2}]}"#),
            "list[0].other"
        );
        assert_eq!(field(r#"{"list":[{}]}"#), "list[0].number");
        assert_eq!(field("{}"), "list");
    }

    #[test]
    fn one_number_has_one_form() {
        for (text, canonical_form) in [
            ("1.0", "1"),
            ("1e3", "1000"),
            ("-0.0", "0"),
            ("-0", "0"),
            ("0.10", "0.1"),
        ] {
            assert_eq!(
                canonical(&parse(text.as_bytes()).unwrap()),
                canonical_form,
                "{text}"
            );
        }
    }

    #[test]
    fn a_member_is_checked_as_it_would_be_read() {
        let nested =
            |depth: usize| (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let members = [
            Value::from(MAX_INTEGER),
            Value::from(MAX_INTEGER + 1),
            Value::from(-9_007_199_254_740_993_i64),
            Value::from(1.5),
            serde_json::json!({"a": [1, {"b": 9_007_199_254_740_993_u64}]}),
            nested(MAX_DEPTH - 1),
            nested(MAX_DEPTH),
            serde_json::json!({"a": nested(MAX_DEPTH - 2)}),
            serde_json::json!({"a": nested(MAX_DEPTH - 1)}),
        ];
        let fits = members.map(|member| {
            let text = serde_json::json!({"member": member}).to_string();
            let read = parse(text.as_bytes()).map(drop).is_ok();
            assert_eq!(check_member(&member).is_ok(), read, "{text}");
            read
        });
        assert_eq!(
            fits,
            [true, false, false, true, false, true, false, true, false]
        );
    }

    #[test]
    fn ambiguous_texts_are_refused() {
        let deep = format!("{}1{}", "[".repeat(33), "]".repeat(33));
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"\u0062":2}}"#,
            r#""\ud800""#,
            "9007199254740993",
            "-9007199254740993",
            "14831390109907538526.0",
            "-1e20",
            "1e999",
            "{} {}",
            "",
            "nul",
            "\"\u{1}\"",
            &deep,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(format!("{}1{}", "[".repeat(32), "]".repeat(32)).as_bytes()).is_ok());
    }
}
