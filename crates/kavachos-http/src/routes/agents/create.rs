//! `POST /api/v1/agents`: a new agent with its key, which only this answer shows.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_core::constraint::Constraints;
use kavachos_core::id::GrantId;
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Owner;
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Agent, AgentKind, External, NewAgent, NewOwner};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::permissions;
use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewAgent")]
pub(crate) struct Ask {
    owner_id: Option<Owner>,
    owner: Option<ExternalOwner>,
    name: String,
    #[serde(rename = "type")]
    kind: AgentKind,
    #[schemars(with = "PermissionSet")]
    permissions: Value,
    guards: Option<Constraints>,
    max_depth: Option<u8>,
    parent: Option<GrantId>,
    expires_at: Option<Timestamp>,
    key_ttl_seconds: Option<u64>,
    #[schemars(with = "Option<Map<String, Value>>")]
    metadata: Option<Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExternalOwner {
    provider: String,
    external_id: String,
}

impl ExternalOwner {
    pub(crate) fn read(self) -> External {
        External {
            provider: self.provider,
            external_id: self.external_id,
        }
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createAgent",
        tag: "Agents",
        summary: "Create an agent",
        text: "It gets a key, which only this answer shows, and a root grant of these permissions. Give either `ownerId` or `owner`. An agent may create agents owned by itself, within what it may do.",
        callers: &[Caller::Operator(Scope::AgentsWrite), Caller::Agent],
    };
    Operation::post("/api/v1/agents", ABOUT, handle).refusing(&[
        Refusal::NotNarrower,
        Refusal::NotFound,
        Refusal::Conflict,
        Refusal::AgentLimitExceeded,
        Refusal::GrantLimitExceeded,
        Refusal::DepthExceeded,
    ])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<WithToken<Agent>> {
    let (ask, actor) = body.with(actor);
    let new = ask.read()?;
    issued(&state.engine.create_agent(&actor, &new).await?)
}

impl Ask {
    fn read(self) -> Result<NewAgent, Invalid> {
        let owner = match (self.owner_id, self.owner) {
            (Some(Owner::User(id)), None) => NewOwner::User(id),
            (Some(Owner::Agent(id)), None) => NewOwner::Agent(id),
            (None, Some(external)) => NewOwner::External(external.read()),
            _ => {
                return Err(Invalid::at(
                    "ownerId",
                    "give either `ownerId` or `owner`: one of them, not both",
                ));
            }
        };
        Ok(NewAgent {
            owner,
            name: self.name,
            kind: self.kind,
            permissions: permissions("permissions", &self.permissions)?,
            guards: self.guards.filter(|guards| !guards.is_empty()),
            max_depth: self.max_depth,
            parent: self.parent,
            expires_at: self.expires_at,
            key_ttl: self.key_ttl_seconds.map(Duration::from_secs),
            metadata: self.metadata,
        })
    }
}
