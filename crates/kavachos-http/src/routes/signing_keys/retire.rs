//! `POST /api/v1/signing-keys/retire`: a key that others may have seen signs nothing more, and nothing of it holds.

use axum::extract::State as FromState;
use kavachos_engine::Published;
use kavachos_engine::actor::Scope;
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
#[schemars(rename = "KeyRetirement")]
pub(crate) struct Ask {
    /// The name of the key: its thumbprint.
    #[schemars(length(equal = 43))]
    kid: String,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "retireSigningKey",
        tag: "Signing keys",
        summary: "Take a key out of use at once",
        text: "For one that others may have seen: it is published no more, so nothing that it signed is accepted by whoever reads the keys again (verifiers within 10 minutes). The next one signs.",
        callers: &[Caller::Operator(Scope::ConfigWrite)],
    };
    Operation::post("/api/v1/signing-keys/retire", ABOUT, handle)
        .refusing(&[Refusal::NotFound, Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<Done<Published>> {
    let (ask, actor) = body.with(actor);
    done(&state.engine.retire_signing_key(&actor, &ask.kid).await?)
}
