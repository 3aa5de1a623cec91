//! `POST /api/v1/users`: a new human.

use axum::extract::State as FromState;
use kavachos_engine::NewUser;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, created};
use crate::routes::agents::create::ExternalOwner;
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    email: Option<String>,
    name: Option<String>,
    external: Option<ExternalOwner>,
    permissions: Option<Value>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply {
    let (ask, actor) = body.with(actor);
    let new = NewUser {
        email: ask.email,
        name: ask.name,
        external: ask.external.map(ExternalOwner::read),
        permissions: ask
            .permissions
            .map(|value| permissions("permissions", &value))
            .transpose()?,
    };
    created(&state.engine.create_user(&actor, &new).await?)
}
