//! `GET /api/v1/agents`: agents, newest first.

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_engine::{AgentFilter, AgentKind};

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, page};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply {
    let filter = AgentFilter {
        root: None,
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
