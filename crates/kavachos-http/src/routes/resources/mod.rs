//! `/api/v1/resources`: registered tool servers.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod show;
pub(crate) mod update;

use kavachos_core::invalid::Invalid;
use kavachos_core::json::{self, Object};
use kavachos_core::tool_server::{
    Party, Proof, RegisteredScope, RegisteredScopes, TokenAlgorithm, Verification,
};
use kavachos_engine::PolicyChange;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::body::present;

/// What is said of a tool server, when it is registered and when it is changed.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ToolServerChange")]
pub(crate) struct Members {
    // Only a new one names it, and says so in its own schema.
    #[schemars(skip)]
    audience: Option<Value>,
    /// For display.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// What it has, 1 to 100.
    #[schemars(length(min = 1, max = 100))]
    scopes: Option<Vec<Object<RegisteredScope>>>,
    /// The scopes of a request that names none, separated by blanks.
    #[serde(default, deserialize_with = "present")]
    default_scope: Option<Option<String>>,
    /// Who runs it; `third` unless said.
    party: Option<Party>,
    /// What it checks by itself; `plain` unless said.
    kind: Option<Verification>,
    /// Whether callers prove that a token is theirs; `optional` unless said.
    proof: Option<Proof>,
    /// How tokens are signed; `EdDSA` unless said.
    token_algorithm: Option<TokenAlgorithm>,
    /// Whether no picture of revocations may be older than 2 seconds.
    critical: Option<bool>,
    /// How long it may go on without news of revocations: 10 unless said.
    #[schemars(range(min = 2, max = 60))]
    lease_seconds: Option<u32>,
    /// The longest life of a token: 300 unless said.
    #[schemars(range(min = 1, max = 600))]
    max_ttl_seconds: Option<u32>,
}

impl Members {
    fn scopes(&mut self) -> Result<Option<RegisteredScopes>, Invalid> {
        self.scopes
            .take()
            .map(|scopes| scopes.into_iter().map(|Object(scope)| scope).collect())
            .map(|scopes| RegisteredScopes::new(scopes).map_err(|error| error.within("scopes")))
            .transpose()
    }

    fn policy(self) -> PolicyChange {
        PolicyChange {
            default_scope: self.default_scope,
            party: self.party,
            kind: self.kind,
            proof: self.proof,
            token_algorithm: self.token_algorithm,
            critical: self.critical,
            lease_seconds: self.lease_seconds,
            max_ttl_seconds: self.max_ttl_seconds,
        }
    }
}

fn missing(name: &str) -> Invalid {
    Invalid::at(name, format!("`{name}` is missing"))
}

fn read<T: serde::de::DeserializeOwned>(name: &str, value: &Value) -> Result<T, Invalid> {
    json::read(value).map_err(|error| error.within(name))
}
