//! `/api/v1/resources`: registered tool servers.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod show;
pub(crate) mod update;

use kavachos_core::invalid::Invalid;
use kavachos_core::json;
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
    name: Option<String>,
    scopes: Option<Vec<RegisteredScope>>,
    #[serde(default, deserialize_with = "present")]
    default_scope: Option<Option<String>>,
    party: Option<Party>,
    kind: Option<Verification>,
    proof: Option<Proof>,
    token_algorithm: Option<TokenAlgorithm>,
    critical: Option<bool>,
    lease_seconds: Option<u32>,
    max_ttl_seconds: Option<u32>,
}

impl Members {
    fn scopes(&mut self) -> Result<Option<RegisteredScopes>, Invalid> {
        self.scopes
            .take()
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
