//! `POST /api/v1/explain`: why this would be allowed or denied now. The body is that of a decision; nothing is decided.

use axum::extract::State as FromState;
use kavachos_engine::DryRun;
use kavachos_engine::actor::Scope;

use crate::body;
use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Data, Reply, data};
use crate::routes::authorize::{Ask, plain};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "explain",
        tag: "Decisions",
        summary: "Tell what would be decided now, and why",
        text: "Every path from the human, every hop and every permission. It decides nothing, and takes from no counter.",
        callers: &[Caller::Operator(Scope::AuthorizeAny), Caller::ToolServer],
    };
    Operation::post("/api/v1/explain", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body::Question(ask): body::Question<Ask>,
) -> Reply<Data<DryRun>> {
    let (question, actor) = plain(ask, actor)?;
    data(&state.engine.dry_run(&actor, &question).await?)
}
