//! `GET /api/v1/keys/{id}`: one operator key, without the key itself.

use axum::extract::State as FromState;
use kavachos_engine::Key;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getKey",
        tag: "Operator keys",
        summary: "Read an operator key",
        text: "Without the key itself.",
        callers: &[Caller::Operator(Scope::KeysWrite)],
    };
    Operation::get("/api/v1/keys/{id}", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Key>,
    params: Params,
) -> Reply<Data<Key>> {
    params.end()?;
    data(&state.engine.key(&actor, id).await?)
}
