//! `POST /api/v1/users/{id}/role`: what a human is trusted with beyond what is their own.

use axum::extract::State as FromState;
use kavachos_core::principal::Role;
use kavachos_engine::Revoked;
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
#[serde(deny_unknown_fields)]
#[schemars(rename = "RoleChange")]
pub(crate) struct Ask {
    /// The role from now on.
    role: Role,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "setUserRole",
        tag: "Users",
        summary: "Give a human a role, or take it away",
        text: "For owners, and for keys without a ceiling that have every scope of the old role and of the new one. The human's sessions end. The last owner stays one.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users/{id}/role", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Ask>,
) -> Reply<Done<Revoked>> {
    let (Ask { role }, actor) = body.with(actor);
    done(&state.engine.set_role(&actor, id, role).await?)
}
