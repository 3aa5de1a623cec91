//! `GET /api/v1/connections`: what humans let OAuth clients be, newest first.

use axum::extract::State as FromState;
use kavachos_engine::Connection;
use kavachos_engine::actor::Scope;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listConnections",
        tag: "Connections",
        summary: "List the applications that were let in, newest first",
        text: "A human sees their own, or another's whom they name and whom their role reaches. Those that ended are among them for a while. A page has 25 at the most, with the newest 20 lines of each.",
        callers: &[Caller::Operator(Scope::AgentsRead), Caller::Session],
    };
    Operation::get("/api/v1/connections", ABOUT, handle)
        .query::<kavachos_core::id::UserId>("userId", "Of this human.")
        .refusing(&[Refusal::NotFound])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<List<Connection>> {
    let of = params.take("userId")?;
    let (at, written) = params.page()?;
    page(state.engine.connections(&actor, of, at).await?, &written)
}
