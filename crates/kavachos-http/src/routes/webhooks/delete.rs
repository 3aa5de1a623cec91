//! `DELETE /api/v1/webhooks/{id}`: a webhook and what it was not told yet.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "deleteWebhook",
        tag: "Webhooks",
        summary: "Delete a webhook and what it was not told yet",
        text: "",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::delete("/api/v1/webhooks/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    params: Params,
) -> Reply<Data<Revoked>> {
    params.end()?;
    data(&state.engine.delete_webhook(&actor, id).await?)
}
