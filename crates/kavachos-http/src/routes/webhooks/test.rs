//! `POST /api/v1/webhooks/{id}/test`: a message of its own, sent at once, and what came of it.

use axum::extract::State as FromState;
use kavachos_engine::Tested;
use kavachos_engine::actor::Scope;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "testWebhook",
        tag: "Webhooks",
        summary: "Send a message at once, and tell what came of it",
        text: "",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::post("/api/v1/webhooks/{id}/test", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    body: Body<Nothing>,
) -> Reply<Done<Tested>> {
    let (Nothing {}, actor) = body.with(actor);
    done(&state.engine.test_webhook(&actor, id).await?)
}
