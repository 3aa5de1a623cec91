//! `POST /api/v1/signing-keys/rotate`: the next keys of a purpose sign from now on.

use axum::extract::State as FromState;
use kavachos_engine::actor::Scope;
use kavachos_engine::{KeyPurpose, Published};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "KeyRotation")]
pub(crate) struct Ask {
    /// Of what the keys are to be rotated.
    purpose: KeyPurpose,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "rotateSigningKeys",
        tag: "Signing keys",
        summary: "Have the next keys of a purpose sign",
        text: "Those before them stay published for 20 minutes, until everything that they signed is over. It happens by itself every 30 days, unless set otherwise. Answers with the keys of this purpose that are published.",
        callers: &[Caller::Operator(Scope::ConfigWrite)],
    };
    Operation::post("/api/v1/signing-keys/rotate", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<Done<Published>> {
    let (ask, actor) = body.with(actor);
    done(
        &state
            .engine
            .rotate_signing_keys(&actor, ask.purpose)
            .await?,
    )
}
