//! `POST /api/v1/webhooks/{id}/rotate`: a new secret; for a while messages are signed with the old one too.

use std::time::Duration;

use axum::extract::State as FromState;
use http::StatusCode;
use serde::Deserialize;

use super::with_secret;
use crate::body::Body;
use crate::call::Call;
use crate::reply::Reply;
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    overlap_seconds: Option<u64>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    let overlap = ask.overlap_seconds.map(Duration::from_secs);
    let rotated = state.engine.rotate_webhook(&actor, id, overlap).await?;
    with_secret(StatusCode::OK, &rotated.webhook, rotated.secret.as_ref())
}
