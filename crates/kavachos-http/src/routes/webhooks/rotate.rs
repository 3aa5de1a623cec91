//! `POST /api/v1/webhooks/{id}/rotate`: a new secret; for a while messages are signed with the old one too.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_engine::actor::Scope;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{WithSecret, with_secret};
use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::Reply;
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WebhookRotation")]
pub(crate) struct Ask {
    /// How long messages are signed with the old secret too: a day unless said, at most a week.
    #[schemars(range(max = 604_800))]
    overlap_seconds: Option<u64>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "rotateWebhook",
        tag: "Webhooks",
        summary: "Give a webhook a new secret",
        text: "For a while messages are signed with the old one too.",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::post("/api/v1/webhooks/{id}/rotate", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    body: Body<Ask>,
) -> Reply<WithSecret<200>> {
    let (ask, actor) = body.with(actor);
    let overlap = ask.overlap_seconds.map(Duration::from_secs);
    let rotated = state.engine.rotate_webhook(&actor, id, overlap).await?;
    with_secret(&rotated.webhook, rotated.secret.as_ref())
}
