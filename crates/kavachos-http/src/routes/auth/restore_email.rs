//! `POST /api/auth/restore-email`: a human takes their address back, by the link of the mail that told of another one.

use axum::extract::State as FromState;
use kavachos_engine::Revoked;
use serde::Deserialize;

use super::not_me::Whence;
use crate::body::Question;
use crate::error::Refusal;
use crate::operation::{About, Operation};
use crate::reply::{Data, Reply, data};
use crate::state::State;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RestoreEmail")]
pub(crate) struct Asked {
    /// The token of the link, which is good once and for a week.
    token: String,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "restoreEmail",
        tag: "Sessions",
        summary: "Take your address back: the change was not yours",
        text: "By the token of the link in the mail that told the old address of the change. The account has that address again. All its sessions end, the keys of its agents, and the agents and grants that were made by whoever was signed in; a password alone signs in no more until a new one was set by mail. Links to addresses that the account left later end; those of earlier ones stay good. 409 where the account is stopped, or the address belongs to another account by now.",
        callers: &[],
    };
    Operation::post("/api/auth/restore-email", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    whence: Whence,
    Question(asked): Question<Asked>,
) -> Reply<Data<Revoked>> {
    let restored = state.engine.restore_email(whence.stranger(), &asked.token);
    data(&restored.await?)
}
