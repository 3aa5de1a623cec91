//! `PATCH /api/v1/keys/{id}`: change an operator key.

use axum::extract::State as FromState;
use kavachos_core::permission::PermissionSet;
use kavachos_core::time::Timestamp;
use kavachos_engine::actor::{Scope, Scopes};
use kavachos_engine::{Edited, Key, KeyChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::body::{Body, present};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "KeyChange")]
pub(crate) struct Ask {
    /// For display.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// What it may be used for, or `*` alone.
    #[schemars(length(min = 1))]
    scopes: Option<Vec<String>>,
    /// What nothing made, widened or asked with it may exceed; `null` for no ceiling.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<PermissionSet>")]
    ceiling: Option<Option<Value>>,
    /// When it ends; `null` for never.
    #[serde(default, deserialize_with = "present")]
    expires_at: Option<Option<Timestamp>>,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "updateKey",
        tag: "Operator keys",
        summary: "Change an operator key",
        text: "",
        callers: &[Caller::Operator(Scope::KeysWrite)],
    };
    Operation::patch("/api/v1/keys/{id}", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Key>,
    body: Body<Ask>,
) -> Reply<Data<Edited<Key>>> {
    let (ask, actor) = body.with(actor);
    let scopes = ask
        .scopes
        .map(|names| Scopes::parse(&names).map_err(|error| error.within("scopes")))
        .transpose()?;
    let read = |value: Option<Value>| {
        value
            .map(|value| permissions("ceiling", &value))
            .transpose()
    };
    let change = KeyChange {
        name: ask.name,
        scopes,
        ceiling: ask.ceiling.map(read).transpose()?,
        expires_at: ask.expires_at,
    };
    data(&state.engine.change_key(&actor, id, &change).await?)
}
