//! `POST /api/v1/users/{id}/impersonate`: a session in which the caller acts in a human's name.

use axum::extract::State as FromState;
use kavachos_engine::Session;
use kavachos_engine::actor::Scope;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::routes::PathId;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewImpersonation")]
pub(crate) struct Ask {
    /// Why; it stands in the record.
    #[schemars(length(min = 1, max = 200))]
    reason: String,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "impersonateUser",
        tag: "Sessions",
        summary: "Act in a human's name, for up to an hour",
        text: "It needs `sessions:write` besides. The session says who it really is, to the human too, and so does every record of it. It is never fresh, has no role, and ends with the key or the session of who opened it.",
        callers: &[Caller::Operator(Scope::UsersImpersonate)],
    };
    Operation::post("/api/v1/users/{id}/impersonate", ABOUT, handle)
        .refusing(&[Refusal::Conflict, Refusal::SessionLimitExceeded])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Ask>,
) -> Reply<WithToken<Session>> {
    let (Ask { reason }, actor) = body.with(actor);
    issued(&state.engine.impersonate(&actor, id, &reason).await?)
}
