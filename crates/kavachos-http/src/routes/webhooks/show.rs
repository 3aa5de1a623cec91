//! `GET /api/v1/webhooks/{id}`: one webhook, without its secret.

use axum::extract::State as FromState;
use kavachos_engine::Webhook;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getWebhook",
        tag: "Webhooks",
        summary: "Read a webhook",
        text: "Without its secret.",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::get("/api/v1/webhooks/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    params: Params,
) -> Reply<Data<Webhook>> {
    params.end()?;
    data(&state.engine.webhook(&actor, id).await?)
}
