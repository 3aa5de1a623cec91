//! `POST /api/v1/keys`: a new operator key, which only this answer shows.

use axum::extract::State as FromState;
use kavachos_core::permission::PermissionSet;
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::{Scope, Scopes};
use kavachos_engine::{Key, NewKey};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Reply, WithToken, issued};
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewKey")]
pub(crate) struct Ask {
    /// For display.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// What it may be used for, or `*` alone.
    #[schemars(length(min = 1))]
    scopes: Vec<String>,
    /// What nothing made, widened or asked with it may exceed.
    #[schemars(with = "Option<PermissionSet>")]
    ceiling: Option<Value>,
    /// When it ends.
    expires_at: Option<Timestamp>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "createKey",
        tag: "Operator keys",
        summary: "Create an operator key",
        text: "None stronger than the one that makes it. Only this answer shows it.",
        callers: &[Caller::Operator(Scope::KeysWrite)],
    };
    Operation::post("/api/v1/keys", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply<WithToken<Key>> {
    let (ask, actor) = body.with(actor);
    let new = NewKey {
        name: ask.name,
        scopes: Scopes::parse(&ask.scopes).map_err(|error| error.within("scopes"))?,
        ceiling: ask
            .ceiling
            .map(|value| permissions("ceiling", &value))
            .transpose()?,
        expires_at: ask.expires_at,
    };
    issued(&state.engine.create_key(&actor, &new).await?)
}
