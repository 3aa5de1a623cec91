//! `POST /api/v1/keys`: a new operator key, which only this answer shows.

use axum::extract::State as FromState;
use kavachos_core::time::Timestamp;
use kavachos_engine::NewKey;
use kavachos_engine::actor::Scopes;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::reply::{Reply, issued};
use crate::routes::agents::permissions;
use crate::state::State;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    name: String,
    scopes: Vec<String>,
    ceiling: Option<Value>,
    expires_at: Option<Timestamp>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Ask>,
) -> Reply {
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
