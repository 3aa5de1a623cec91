//! `GET /api/v1/agents`: agents, newest first.

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Scope;
use kavachos_engine::{Agent, AgentFilter, AgentKind};

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::params::Params;
use crate::reply::{List, Reply, page};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listAgents",
        tag: "Agents",
        summary: "List agents, newest first",
        text: "An agent sees its own, a human those below them, or below another whom they name and whom their role reaches.",
        callers: &[
            Caller::Operator(Scope::AgentsRead),
            Caller::Agent,
            Caller::Session,
        ],
    };
    Operation::get("/api/v1/agents", ABOUT, handle)
        .query::<kavachos_core::principal::Owner>("ownerId", "Owned by this human or agent.")
        .query::<kavachos_core::id::UserId>("userId", "Below this human, at any level.")
        .query::<kavachos_core::principal::Status>("status", "With this status.")
        .query::<AgentKind>("type", "Of this type.")
        .refusing(&[Refusal::NotFound])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply<List<Agent>> {
    let filter = AgentFilter {
        root: params.take("userId")?,
        owner: params.take("ownerId")?,
        status: params.take("status")?,
        kind: params.take::<String>("type")?.map(kind).transpose()?,
    };
    let (at, written) = params.page()?;
    page(state.engine.agents(&actor, filter, at).await?, &written)
}

fn kind(text: String) -> Result<String, Invalid> {
    let kinds = [
        AgentKind::Autonomous,
        AgentKind::Delegated,
        AgentKind::Service,
    ];
    if kinds.iter().any(|kind| kind.as_str() == text) {
        Ok(text)
    } else {
        Err(Invalid::at(
            "type",
            "must be `autonomous`, `delegated` or `service`",
        ))
    }
}
