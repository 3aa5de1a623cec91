//! `POST /api/v1/webhooks/{id}/redeliver`: tell of one record again, or of everything that was given up.

use axum::extract::State as FromState;
use kavachos_core::id::AuditId;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, done};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    audit_id: Option<AuditId>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Webhook>,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    done(&state.engine.redeliver(&actor, id, ask.audit_id).await?)
}
