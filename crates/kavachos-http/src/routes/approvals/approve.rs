//! `POST /api/v1/approvals/{id}/approve`: yes to exactly the call with this digest, once.

use axum::extract::State as FromState;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, done};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    /// The digest of the document that was read.
    digest: String,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Approval>,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    done(&state.engine.approve(&actor, id, &ask.digest).await?)
}
