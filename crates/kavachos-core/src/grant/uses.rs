//! What tokens of a grant may be used for, beside being shown to the tool server that they are for. Nothing, unless it
//! was said when the grant was written.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::invalid::Invalid;
use crate::tool_server::Audience;

/// The most tool servers that one grant names in `exchangeBy`.
pub const MAX_EXCHANGERS: usize = 16;

/// What else tokens of a grant may be used for. Operators and humans say so, never an agent, and a grant never lets
/// more than the one it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenUses {
    /// The tool servers that may exchange a token that was shown to them for one for the next tool server.
    pub exchange_by: Exchangers,
    /// Whether what comes from a token that is bound to a key may be a bearer token, where its tool server asks for no
    /// proof.
    pub bearer: bool,
    /// Whether agents may hand tokens of it on by themselves, in chains that they sign.
    pub offline: bool,
}

/// Tool servers by their audiences: at most [`MAX_EXCHANGERS`], each once, in the order of their texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Exchangers(Vec<Audience>);

impl Exchangers {
    /// Checks a list of audiences.
    ///
    /// # Errors
    /// There are too many, or one stands twice.
    pub fn new(mut audiences: Vec<Audience>) -> Result<Self, Invalid> {
        if audiences.len() > MAX_EXCHANGERS {
            let message = format!("a grant names at most {MAX_EXCHANGERS} tool servers here");
            return Err(Invalid::new(message));
        }
        audiences.sort_unstable();
        let twice = |pair: &[Audience]| matches!(pair, [left, right] if left == right);
        if audiences.windows(2).any(twice) {
            return Err(Invalid::new("a tool server stands twice; name each once"));
        }
        Ok(Self(audiences))
    }

    /// The audiences.
    pub fn as_slice(&self) -> &[Audience] {
        &self.0
    }

    /// Whether this tool server is named.
    pub fn has(&self, audience: &Audience) -> bool {
        self.0.binary_search(audience).is_ok()
    }
}

impl<'de> Deserialize<'de> for Exchangers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl TokenUses {
    /// Whether it lets nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What both of two grants let.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Self {
        let exchangers = self.exchange_by.0.iter();
        let shared = exchangers.filter(|audience| other.exchange_by.has(audience));
        Self {
            exchange_by: Exchangers(shared.cloned().collect()),
            bearer: self.bearer && other.bearer,
            offline: self.offline && other.offline,
        }
    }

    /// Checks that it lets no more than another.
    ///
    /// # Errors
    /// The field says what the other does not let.
    pub fn check_within(&self, parent: &Self) -> Result<(), Invalid> {
        let message = "the grant that this one comes from does not let it";
        let exchangers = self.exchange_by.0.iter();
        if !exchangers
            .into_iter()
            .all(|one| parent.exchange_by.has(one))
        {
            return Err(Invalid::at("exchangeBy", message));
        }
        if self.bearer && !parent.bearer {
            return Err(Invalid::at("bearer", message));
        }
        if self.offline && !parent.offline {
            return Err(Invalid::at("offline", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchangers(names: &[&str]) -> Exchangers {
        let audiences = names.iter().map(|name| name.parse().unwrap());
        Exchangers::new(audiences.collect()).unwrap()
    }

    fn uses(names: &[&str], bearer: bool, offline: bool) -> TokenUses {
        TokenUses {
            exchange_by: exchangers(names),
            bearer,
            offline,
        }
    }

    const A: &str = "https://a.example.com";
    const B: &str = "https://b.example.com";

    #[test]
    fn what_a_grant_lets_is_inside_what_its_parent_lets() {
        let parent = uses(&[A, B], true, true);
        for child in [
            parent.clone(),
            uses(&[B], false, true),
            TokenUses::default(),
        ] {
            assert_eq!(child.check_within(&parent), Ok(()));
        }
        let less = [
            (uses(&[A], true, true), "exchangeBy"),
            (uses(&[A, B], false, true), "bearer"),
            (uses(&[A, B], true, false), "offline"),
        ];
        for (less, field) in less {
            let refused = parent.check_within(&less).unwrap_err();
            assert_eq!(refused.field(), field);
            assert_eq!(parent.shared_with(&less), less);
            assert_eq!(less.shared_with(&parent), less);
        }
    }

    #[test]
    fn a_list_of_exchangers_is_bounded_and_names_each_once() {
        let named: Exchangers = serde_json::from_str(&format!("[\"{B}\",\"{A}\"]")).unwrap();
        assert_eq!(named, exchangers(&[A, B]));
        assert!(serde_json::from_str::<Exchangers>(&format!("[\"{A}\",\"{A}\"]")).is_err());
        assert!(serde_json::from_str::<Exchangers>("[\"nowhere\"]").is_err());
        let many = |count: usize| (0..count).map(|n| format!("https://{n}.example.com").parse());
        let many = |count: usize| Exchangers::new(many(count).collect::<Result<_, _>>().unwrap());
        assert!(many(MAX_EXCHANGERS).is_ok() && many(MAX_EXCHANGERS + 1).is_err());
    }
}
