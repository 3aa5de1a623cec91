//! `PATCH /api/v1/users/{id}`: change a human; narrower permissions count at once.

use axum::extract::State as FromState;
use kavachos_engine::UserChange;
use serde::Deserialize;
use serde_json::Value;

use crate::body::{Body, present};
use crate::call::Call;
use crate::reply::{Reply, data};
use crate::routes::PathId;
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    #[serde(default, deserialize_with = "present")]
    email: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    permissions: Option<Option<Value>>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::User>,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    let read = |value: Option<Value>| {
        value
            .map(|value| permissions("permissions", &value))
            .transpose()
    };
    let change = UserChange {
        email: ask.email,
        name: ask.name,
        permissions: ask.permissions.map(read).transpose()?,
    };
    data(&state.engine.change_user(&actor, id, &change).await?)
}
