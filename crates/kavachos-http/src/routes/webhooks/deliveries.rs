//! `GET /api/v1/webhooks/{id}/deliveries`: what a webhook was not told yet, or not at all.

use axum::extract::State as FromState;
use kavachos_engine::Delivery;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listDeliveries",
        tag: "Webhooks",
        summary: "List what a webhook was not told yet, or not at all",
        text: "",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::get("/api/v1/webhooks/{id}/deliveries", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    params: Params,
) -> Reply<List<Delivery>> {
    let (at, written) = params.page()?;
    page(state.engine.deliveries(&actor, id, at).await?, &written)
}
