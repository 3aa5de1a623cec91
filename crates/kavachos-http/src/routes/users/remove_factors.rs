//! `POST /api/v1/users/{id}/remove-factors`: whoever lost what they sign in with gets in without it, and sets it up anew.

use axum::extract::State as FromState;
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
#[schemars(rename = "LostFactors")]
pub(crate) struct Ask {
    /// The methods: `totp` for codes of an app with their backup codes, `passkey` for passkeys. Left out: second factors alone.
    #[serde(default)]
    methods: Option<Vec<String>>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "removeUserFactors",
        tag: "Users",
        summary: "Take off factors that a human lost",
        text: "Their sessions end, and a mail tells them. Nobody takes off their own like this. Where there is nothing to take off, nothing is done.",
        callers: &[Caller::Operator(Scope::UsersWrite)],
    };
    Operation::post("/api/v1/users/{id}/remove-factors", ABOUT, handle)
        .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Ask>,
) -> Reply<Done<Revoked>> {
    let (Ask { methods }, actor) = body.with(actor);
    let removed = state
        .engine
        .remove_factors(&actor, id, methods.as_deref())
        .await?;
    done(&removed)
}
