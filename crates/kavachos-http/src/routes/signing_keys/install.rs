//! `POST /api/v1/signing-keys/feed/install`: the key that the root signed for signs heads, in an epoch of its own.

use axum::extract::State as FromState;
use kavachos_core::token::MAX_TOKEN_BYTES;
use kavachos_engine::InstalledFeedKeys;
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
#[schemars(rename = "FeedKeysDocument")]
pub(crate) struct Ask {
    /// What the root signed: a JWS whose `typ` is `kvk+jwt`.
    #[schemars(length(max = MAX_TOKEN_BYTES))]
    document: String,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "installFeedKeys",
        tag: "Signing keys",
        summary: "Have the key sign heads that the root signed for",
        text: "In one transaction the key comes into use, all others of the feed are taken away, and the epoch of the document begins: every token of before is refused, and callers ask for others. The document is then at `/.well-known/kavach-feed-keys.jwt`. The same document again changes nothing.",
        callers: &[Caller::Operator(Scope::ConfigWrite)],
    };
    Operation::post("/api/v1/signing-keys/feed/install", ABOUT, handle)
        .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<Done<InstalledFeedKeys>> {
    let (ask, actor) = body.with(actor);
    done(
        &state
            .engine
            .install_feed_keys(&actor, &ask.document)
            .await?,
    )
}
