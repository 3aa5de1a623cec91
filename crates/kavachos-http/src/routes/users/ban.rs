//! `POST /api/v1/users/{id}/ban`: stop a human and all below until the ban ends or they are unbanned.

use axum::extract::State as FromState;
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Ban, Revoked};
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
#[schemars(rename = "NewBan")]
pub(crate) struct Ask {
    /// When it ends by itself; not before they are unbanned unless said.
    until: Option<Timestamp>,
    /// Why; it stands in the record.
    #[schemars(length(min = 1, max = 200))]
    reason: Option<String>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "banUser",
        tag: "Users",
        summary: "Ban a human, for a while or until unbanned",
        text: "They and all below stop at once. When a ban ends, their grants live again; sessions and keys of before do not.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users/{id}/ban", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Ask>,
) -> Reply<Done<Revoked>> {
    let (Ask { until, reason }, actor) = body.with(actor);
    let ban = Ban { until, reason };
    done(&state.engine.ban_user(&actor, id, &ban).await?)
}
