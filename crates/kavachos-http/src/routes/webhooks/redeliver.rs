//! `POST /api/v1/webhooks/{id}/redeliver`: tell of one record again, or of everything that was given up.

use axum::extract::State as FromState;
use kavachos_core::id::AuditId;
use kavachos_engine::Redelivery;
use kavachos_engine::actor::Scope;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Redelivering")]
pub(crate) struct Ask {
    /// The record; all that was given up unless said.
    audit_id: Option<AuditId>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "redeliver",
        tag: "Webhooks",
        summary: "Tell of one record again, or of all that was given up",
        text: "",
        callers: &[Caller::Operator(Scope::WebhooksWrite)],
    };
    Operation::post("/api/v1/webhooks/{id}/redeliver", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    body: Body<Ask>,
) -> Reply<Done<Redelivery>> {
    let (ask, actor) = body.with(actor);
    done(&state.engine.redeliver(&actor, id, ask.audit_id).await?)
}
