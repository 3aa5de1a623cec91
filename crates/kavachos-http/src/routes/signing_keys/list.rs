//! `GET /api/v1/signing-keys`: the keys that sign, that will, and the last ones that did.

use axum::extract::State as FromState;
use kavachos_engine::SigningKey;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listSigningKeys",
        tag: "Signing keys",
        summary: "See the keys that sign",
        text: "Newest first, at most 200. Public halves are at `/.well-known/jwks.json` and beside it.",
        callers: &[Caller::Operator(Scope::ConfigWrite)],
    };
    Operation::get("/api/v1/signing-keys", ABOUT, handle).refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<Data<Vec<SigningKey>>> {
    params.end()?;
    data(&state.engine.signing_keys(&actor).await?)
}
