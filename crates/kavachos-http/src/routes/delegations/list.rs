//! `GET /api/v1/delegations`: grants, newest first.

use axum::extract::State as FromState;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Delegation, GrantFilter};

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listDelegations",
        tag: "Delegations",
        summary: "List grants, newest first",
        text: "Root grants are among them.",
        callers: &[
            Caller::Operator(Scope::AgentsRead),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::get("/api/v1/delegations", ABOUT, handle)
        .query::<kavachos_core::principal::Owner>("from", "Given by this human or agent.")
        .query::<kavachos_core::id::AgentId>("to", "Held by this agent.")
        .query::<kavachos_core::id::UserId>("userId", "Part of this human's authority.")
        .refusing(&[Refusal::NotFound])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<List<Delegation>> {
    let filter = GrantFilter {
        root: params.take("userId")?,
        giver: params.take("from")?,
        receiver: params.take("to")?,
    };
    let (at, written) = params.page()?;
    page(
        state.engine.delegations(&actor, filter, at).await?,
        &written,
    )
}
