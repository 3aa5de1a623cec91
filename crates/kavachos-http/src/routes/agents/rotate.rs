//! `POST /api/v1/agents/{id}/rotate`: a new key; the old one is dead at once.

use std::time::Duration;

use axum::extract::State as FromState;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, issued};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    key_ttl_seconds: Option<u64>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Agent>,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    let ttl = ask.key_ttl_seconds.map(Duration::from_secs);
    issued(&state.engine.rotate_agent(&actor, id, ttl).await?)
}
