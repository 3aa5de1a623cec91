//! Arguments that several commands share, and how their texts are read.

use std::io::Read;

use clap::Args;
use kavachos_core::json;
use serde_json::{Map, Value, json};

use crate::client::Query;
use crate::failure::Failure;

/// The largest JSON that is read from standard input.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// What somebody may do.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Permissions {
    /// Actions and a resource, as in 'read,list mcp:github:*'; may be given several times
    #[arg(long = "allow", value_name = "ACTIONS RESOURCE", value_parser = allow)]
    allow: Vec<Value>,
    /// A permission as JSON, for one with constraints; may be given several times
    #[arg(long = "permission", value_name = "JSON", value_parser = json_value)]
    permission: Vec<Value>,
}

impl Permissions {
    /// All of them; `None` when none was given.
    pub(crate) fn list(&self) -> Option<Value> {
        let all: Vec<Value> = self.allow.iter().chain(&self.permission).cloned().collect();
        (!all.is_empty()).then_some(Value::Array(all))
    }

    /// All of them; one must be given.
    pub(crate) fn required(&self) -> Result<Value, Failure> {
        self.list().ok_or_else(|| {
            Failure::Usage("say what may be done, with `--allow` or `--permission`".to_owned())
        })
    }
}

/// What tokens of a grant may be used for beside being shown.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Uses {
    /// A tool server that may exchange its tokens for those of the next one, or `none`; may be given several times
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    exchange_by: Vec<String>,
    /// Whether what comes from a bound token may be unbound, where its tool server asks for no proof
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    bearer: Option<bool>,
    /// Whether agents may hand its tokens on by themselves
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    offline: Option<bool>,
}

impl Uses {
    /// The members of those that are given.
    pub(crate) fn members(self) -> Members {
        let exchangers = match self.exchange_by.as_slice() {
            [] => None,
            [none] if none == "none" => Some(Vec::new()),
            _ => Some(self.exchange_by),
        };
        Members::default()
            .with("exchangeBy", exchangers)
            .with("bearer", self.bearer)
            .with("offline", self.offline)
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Args)]
pub(crate) struct Page {
    /// How many at the most, 1 to 1000
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Where the page before this one ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Page {
    /// The parameters of the page, with these others.
    pub(crate) fn on(&self, query: Query) -> Query {
        query
            .with("limit", self.limit)
            .with("cursor", self.cursor.as_ref())
    }
}

/// An object of the members that are given.
#[derive(Debug, Default)]
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// Adds a member if it is given.
    pub(crate) fn with(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Adds other members.
    pub(crate) fn with_all(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The object.
    pub(crate) fn object(self) -> Value {
        Value::Object(self.0)
    }

    /// The object; something must be in it.
    pub(crate) fn change(self) -> Result<Value, Failure> {
        if self.0.is_empty() {
            return Err(Failure::Usage(
                "say what to change; `--help` lists what can be".to_owned(),
            ));
        }
        Ok(self.object())
    }
}

/// `read,list mcp:github:*`: actions, a blank, a resource. What they may be, the server says.
pub(crate) fn allow(text: &str) -> Result<Value, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [actions, resource] => {
            Ok(json!({ "resource": resource, "actions": actions.split(',').collect::<Vec<_>>() }))
        }
        _ => {
            Err("write actions, a blank and a resource, as in 'read,list mcp:github:*'".to_owned())
        }
    }
}

/// JSON, or `-` for JSON on standard input.
pub(crate) fn json_value(text: &str) -> Result<Value, String> {
    if text == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin()
            .take(MAX_INPUT_BYTES)
            .read_to_end(&mut bytes);
        read.map_err(|error| format!("standard input cannot be read: {error}"))?;
        return json::parse(&bytes).map_err(|error| error.to_string());
    }
    json::parse(text.as_bytes()).map_err(|error| error.to_string())
}

/// JSON, or `none` to take away what is there.
pub(crate) fn json_or_none(text: &str) -> Result<Value, String> {
    if text == "none" {
        Ok(Value::Null)
    } else {
        json_value(text)
    }
}

/// A text, or `none` to take away what is there.
pub(crate) fn text_or_none(text: &str) -> Result<Value, String> {
    Ok(if text == "none" {
        Value::Null
    } else {
        text.into()
    })
}

/// `provider:id`, as an object.
pub(crate) fn external(text: &str) -> Result<Value, String> {
    match text.split_once(':') {
        Some((provider, id)) if !provider.is_empty() && !id.is_empty() => {
            Ok(json!({ "provider": provider, "externalId": id }))
        }
        _ => Err("write the provider and its id for the human, as in 'demo:ada'".to_owned()),
    }
}

/// `90`, `90s`, `15m`, `12h` or `7d`, in seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "write a length of time like `90s`, `15m`, `12h` or `7d`".to_owned();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.strip_prefix(digits) {
        Some("" | "s") => 1,
        Some("m") => 60,
        Some("h") => 60 * 60,
        Some("d") => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

/// `250 usd_cent`: how much, a blank, and of what.
pub(crate) fn cost(text: &str) -> Result<Value, String> {
    let wrong = || "write an amount and a unit, as in '250 cents'".to_owned();
    let (amount, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let amount: u64 = amount.parse().map_err(|_| wrong())?;
    Ok(json!({ "amount": amount, "unit": unit.trim() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_units() {
        for (text, expected) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("7d", 604_800),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "m",
            "-1s",
            "1.5h",
            "1w",
            "1 h",
            "99999999999999999999",
            "18446744073709551615d",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn permissions_are_actions_and_a_resource() {
        assert_eq!(
            allow("read,list  mcp:github:*"),
            Ok(json!({ "resource": "mcp:github:*", "actions": ["read", "list"] }))
        );
        for text in ["", "read", "read a b"] {
            assert!(allow(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_outside_identity_may_hold_colons() {
        assert_eq!(
            external("oidc:https://x"),
            Ok(json!({ "provider": "oidc", "externalId": "https://x" }))
        );
        assert!(
            external("ada").is_err() && external(":ada").is_err() && external("demo:").is_err()
        );
    }
}
