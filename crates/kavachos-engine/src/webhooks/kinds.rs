//! Which kinds of records a webhook is told of.

use kavachos_core::invalid::Invalid;
use serde::{Deserialize, Serialize};

/// How many patterns one webhook has.
const MAX_PATTERNS: usize = 64;
/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 64;

/// Patterns of kinds: `agent.revoked` one kind, `agent.*` all that begin with `agent.`, `*` every kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Kinds(Vec<String>);

impl Kinds {
    /// Reads a list of patterns.
    ///
    /// # Errors
    /// The list is empty or too long, or one of them is no pattern.
    pub fn parse(patterns: Vec<String>) -> Result<Self, Invalid> {
        if patterns.is_empty() || patterns.len() > MAX_PATTERNS {
            return Err(Invalid::new(format!(
                "give 1 to {MAX_PATTERNS} kinds like `agent.revoked`, `agent.*` or `*`"
            )));
        }
        if let Some(at) = patterns.iter().position(|pattern| !is_pattern(pattern)) {
            return Err(Invalid::at(
                format!("[{at}]"),
                "is no kind like `agent.revoked`, `agent.*` or `*`",
            ));
        }
        Ok(Self(patterns))
    }

    /// Whether a kind is among them.
    pub fn has(&self, kind: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => kind.starts_with(beginning),
                None => kind == pattern,
            })
    }
}

fn is_pattern(text: &str) -> bool {
    let word = |word: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !word.is_empty() && word.bytes().all(plain)
    };
    let named = text.strip_suffix(".*").unwrap_or(text);
    text == "*" || (text.len() <= MAX_PATTERN_BYTES && named.split('.').all(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(patterns: &[&str]) -> Result<Kinds, Invalid> {
        Kinds::parse(patterns.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn a_pattern_is_a_kind_or_its_beginning() {
        let some = kinds(&["agent.*", "user.banned"]).unwrap();
        for (kind, is_told) in [
            ("agent.created", true),
            ("agent", false),
            ("agents.created", false),
            ("user.banned", true),
            ("user.banned.twice", false),
            ("decision", false),
        ] {
            assert_eq!(some.has(kind), is_told, "{kind}");
        }
        assert!(kinds(&["*"]).is_ok_and(|all| all.has("decision")));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_place() {
        for wrong in [
            "",
            ".",
            "agent.",
            ".*",
            "*.created",
            "agent*",
            "a b",
            "a.**",
            "agent.*.x",
            &"x".repeat(65),
        ] {
            let error = kinds(&["decision", wrong]).unwrap_err();
            assert_eq!(error.field(), "[1]", "{wrong}");
        }
        assert!(kinds(&[]).is_err() && kinds(&["*"; 65]).is_err());
    }
}
