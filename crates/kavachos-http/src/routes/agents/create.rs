//! `POST /api/v1/agents`: a new agent with its key, which only this answer shows.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_core::constraint::Constraints;
use kavachos_core::id::GrantId;
use kavachos_core::invalid::Invalid;
use kavachos_core::principal::Owner;
use kavachos_core::time::Timestamp;
use kavachos_engine::{AgentKind, External, NewAgent, NewOwner};
use serde::Deserialize;
use serde_json::Value;

use super::permissions;
use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, issued};
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    owner_id: Option<Owner>,
    owner: Option<ExternalOwner>,
    name: String,
    #[serde(rename = "type")]
    kind: AgentKind,
    permissions: Value,
    guards: Option<Constraints>,
    max_depth: Option<u8>,
    parent: Option<GrantId>,
    expires_at: Option<Timestamp>,
    key_ttl_seconds: Option<u64>,
    metadata: Option<Value>,
}

#[derive(Deserialize)]
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

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply {
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
