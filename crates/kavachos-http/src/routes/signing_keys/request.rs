//! `POST /api/v1/signing-keys/feed/request`: a fresh key for the feed, and what its root is to sign.

use axum::extract::State as FromState;
use kavachos_core::token::FeedKeysRequest;
use kavachos_engine::Issued;
use kavachos_engine::actor::Scope;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::state::State;

/// What the keeper of the root is to sign: `kavach keys root sign` reads it as it stands here.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FeedKeysRequest")]
pub(crate) struct Asked {
    /// The issuer.
    iss: String,
    /// The epoch that begins with the keys.
    #[schemars(range(min = 1))]
    epoch: u64,
    /// The keys that are to sign heads in it, as JSON Web Keys.
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    keys: Vec<Value>,
}

impl From<FeedKeysRequest> for Asked {
    fn from(asked: FeedKeysRequest) -> Self {
        Self {
            iss: asked.issuer.to_string(),
            epoch: asked.epoch,
            keys: asked.keys.keys().map(|key| key.to_jwk()).collect(),
        }
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "requestFeedKeys",
        tag: "Signing keys",
        summary: "Ask the root for another key of the feed",
        text: "Where a root is configured (`feed.root`). Makes a key that signs nothing until a document that the root signed is installed; the key of an earlier request is dropped. Answers with what the root is to sign: `iss`, `epoch` and `keys`.",
        callers: &[Caller::Operator(Scope::ConfigWrite)],
    };
    Operation::post("/api/v1/signing-keys/feed/request", ABOUT, handle)
        .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Nothing>,
) -> Reply<Done<Asked>> {
    let (Nothing {}, actor) = body.with(actor);
    let asked = state.engine.request_feed_keys(&actor).await?;
    let thing = Asked::from(asked.thing);
    done(&Issued {
        thing,
        token: None,
        replayed: asked.replayed,
    })
}
