//! `POST /api/v1/webhooks`: an address to be told of records; its secret is in this answer alone.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_engine::NewWebhook;
use serde::Deserialize;

use super::{denials, kinds, with_secret};
use crate::body::Body;
use crate::call::Call;
use crate::reply::Reply;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    url: String,
    name: Option<String>,
    kinds: Vec<String>,
    #[serde(default)]
    denials: bool,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    let new = NewWebhook {
        url: ask.url,
        name: ask.name,
        kinds: kinds(ask.kinds)?,
        denials: denials(ask.denials),
    };
    let made = state.engine.create_webhook(&actor, &new).await?;
    with_secret(StatusCode::CREATED, &made.webhook, made.secret.as_ref())
}
