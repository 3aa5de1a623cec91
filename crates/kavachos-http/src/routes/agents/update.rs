//! `PATCH /api/v1/agents/{id}`: change an agent; narrower permissions count at once.

use axum::extract::State as FromState;
use kavachos_core::constraint::Constraints;
use kavachos_core::time::Timestamp;
use kavachos_engine::AgentChange;
use serde::Deserialize;
use serde_json::Value;

use super::permissions;
use crate::body::{Body, present};
use crate::call::Call;
use crate::reply::{Reply, data};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    name: Option<String>,
    permissions: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    guards: Option<Option<Constraints>>,
    max_depth: Option<u8>,
    #[serde(default, deserialize_with = "present")]
    expires_at: Option<Option<Timestamp>>,
    #[serde(default, deserialize_with = "present")]
    metadata: Option<Option<Value>>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    let change = AgentChange {
        name: ask.name,
        permissions: ask
            .permissions
            .map(|value| permissions("permissions", &value))
            .transpose()?,
        guards: ask
            .guards
            .map(|guards| guards.filter(|guards| !guards.is_empty())),
        max_depth: ask.max_depth,
        expires_at: ask.expires_at,
        metadata: ask.metadata,
    };
    data(&state.engine.change_agent(&actor, id, &change).await?)
}
