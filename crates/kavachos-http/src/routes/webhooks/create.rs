//! `POST /api/v1/webhooks`: an address to be told of records; its secret is in this answer alone.

use axum::extract::State as FromState;
use kavachos_engine::NewWebhook;
use kavachos_engine::actor::Scope;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{WithSecret, denials, kinds, with_secret};
use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::Reply;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewWebhook")]
pub(crate) struct Ask {
    /// `https`, on port 443 or one from 1024.
    url: String,
    /// For display.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// Kinds of records like `agent.revoked`, `agent.*` or `*`.
    #[schemars(length(min = 1, max = 64))]
    kinds: Vec<String>,
    /// Whether refusals are told too.
    #[serde(default)]
    denials: bool,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createWebhook",
        tag: "Webhooks",
        summary: "Have records told to an address",
        text: "Only this answer shows the secret that messages are signed with.",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::post("/api/v1/webhooks", ABOUT, handle)
        .refusing(&[Refusal::Conflict, Refusal::WebhookLimitExceeded])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<WithSecret<201>> {
    let (ask, actor) = body.with(actor);
    let new = NewWebhook {
        url: ask.url,
        name: ask.name,
        kinds: kinds(ask.kinds)?,
        denials: denials(ask.denials),
    };
    let made = state.engine.create_webhook(&actor, &new).await?;
    with_secret(&made.webhook, made.secret.as_ref())
}
