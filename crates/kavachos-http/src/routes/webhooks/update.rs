//! `PATCH /api/v1/webhooks/{id}`: change a webhook, pause it, or let it go on.

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Webhook, WebhookChange, WebhookState};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{denials, kinds};
use crate::body::{Body, present};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WebhookChange")]
pub(crate) struct Ask {
    /// `https`, on port 443 or one from 1024.
    url: Option<String>,
    /// For display; `null` for none.
    #[schemars(length(min = 1, max = 200))]
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    /// Kinds of records like `agent.revoked`, `agent.*` or `*`.
    #[schemars(length(min = 1, max = 64))]
    kinds: Option<Vec<String>>,
    /// Whether refusals are told too.
    denials: Option<bool>,
    /// `active` or `paused`.
    status: Option<String>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "updateWebhook",
        tag: "Webhooks",
        summary: "Change a webhook, pause it, or let it go on",
        text: "What happens while it is paused is told later.",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::patch("/api/v1/webhooks/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    body: Body<Ask>,
) -> Reply<Data<Webhook>> {
    let (ask, actor) = body.with(actor);
    let change = WebhookChange {
        url: ask.url,
        name: ask.name,
        kinds: ask.kinds.map(kinds).transpose()?,
        denials: ask.denials.map(denials),
        state: ask.status.map(|text| status(&text)).transpose()?,
    };
    data(&state.engine.change_webhook(&actor, id, &change).await?)
}

fn status(text: &str) -> Result<WebhookState, Invalid> {
    match text {
        "active" => Ok(WebhookState::Active),
        "paused" => Ok(WebhookState::Paused),
        _ => Err(Invalid::at("status", "must be `active` or `paused`")),
    }
}
