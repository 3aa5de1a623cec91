//! `GET /api/v1/webhooks`: webhooks, newest first.

use axum::extract::State as FromState;
use kavachos_engine::Webhook;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listWebhooks",
        tag: "Webhooks",
        summary: "List webhooks, newest first",
        text: "",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::get("/api/v1/webhooks", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<List<Webhook>> {
    let (at, written) = params.page()?;
    page(state.engine.webhooks(&actor, at).await?, &written)
}
