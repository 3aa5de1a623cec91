//! `/.well-known/jwks.json` and its neighbours: the public keys of each purpose apart (RFC 7517), so that no key of
//! one purpose is taken for another's.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_engine::KeyPurpose;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::error::Refusal;
use crate::operation::{About, Operation};
use crate::params::Params;
use crate::reply::{Bare, Reply, json};
use crate::state::State;

/// A JSON Web Key Set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeySet")]
pub(crate) struct Set {
    /// The keys that sign, will sign, and signed until lately; `kid` is the thumbprint (RFC 7638).
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    keys: Vec<Value>,
}

pub(crate) fn operations() -> Vec<Operation> {
    const TOKENS: About = About {
        id: "tokenKeys",
        tag: "Signing keys",
        summary: "The public keys that tokens are signed with",
        text: "A JSON Web Key Set, for any JWT library. Without a master key there are none, and no tokens: 409.",
        callers: &[],
    };
    const FEED: About = About {
        id: "feedKeys",
        tag: "Signing keys",
        summary: "The public keys that heads of the revocation log are signed with",
        text: "",
        callers: &[],
    };
    const CHECKPOINTS: About = About {
        id: "checkpointKeys",
        tag: "Signing keys",
        summary: "The public keys that heads of the ledger are signed with",
        text: "",
        callers: &[],
    };
    const ASSERTIONS: About = About {
        id: "assertionKeys",
        tag: "Signing keys",
        summary: "The public keys that `Kavach-Assertion` is signed with",
        text: "For servers behind a proxy that asks `/api/v1/forward-auth`.",
        callers: &[],
    };
    vec![
        Operation::get("/.well-known/jwks.json", TOKENS, tokens).refusing(&[Refusal::Conflict]),
        Operation::get("/.well-known/kavach-feed-keys.json", FEED, feed)
            .refusing(&[Refusal::Conflict]),
        Operation::get(
            "/.well-known/kavach-checkpoint-keys.json",
            CHECKPOINTS,
            checkpoints,
        )
        .refusing(&[Refusal::Conflict]),
        Operation::get(
            "/.well-known/kavach-assertion-keys.json",
            ASSERTIONS,
            assertions,
        )
        .refusing(&[Refusal::Conflict]),
    ]
}

async fn tokens(FromState(state): FromState<State>, params: Params) -> Reply<Bare<Set>> {
    keys(&state, params, KeyPurpose::Token).await
}

async fn feed(FromState(state): FromState<State>, params: Params) -> Reply<Bare<Set>> {
    keys(&state, params, KeyPurpose::Feed).await
}

async fn checkpoints(FromState(state): FromState<State>, params: Params) -> Reply<Bare<Set>> {
    keys(&state, params, KeyPurpose::Checkpoint).await
}

async fn assertions(FromState(state): FromState<State>, params: Params) -> Reply<Bare<Set>> {
    keys(&state, params, KeyPurpose::Assertion).await
}

async fn keys(state: &State, params: Params, purpose: KeyPurpose) -> Reply<Bare<Set>> {
    params.end()?;
    let set = state.engine.key_set(purpose).await?;
    json(StatusCode::OK, &Set { keys: set.jwks() })
}
