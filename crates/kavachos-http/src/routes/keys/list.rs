//! `GET /api/v1/keys`: operator keys, newest first.

use axum::extract::State as FromState;
use kavachos_engine::Key;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listKeys",
        tag: "Operator keys",
        summary: "List operator keys, newest first",
        text: "",
        callers: &[Caller::Operator(Scope::KeysWrite)],
    };
    Operation::get("/api/v1/keys", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<List<Key>> {
    let (at, written) = params.page()?;
    page(state.engine.keys(&actor, at).await?, &written)
}
