//! `GET /api/v1/approvals/{id}`: one request; with `wait`, once it is answered or over, or after so many seconds.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::{Caller as Who, Scope};
use kavachos_engine::{Approval, AskedApproval, MAX_WAIT};
use schemars::JsonSchema;
use serde::Serialize;

use crate::call::Call;
use crate::operation::{About, Caller, Form, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

/// A request, as its reader may see it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ShownApproval")]
pub(crate) enum Shown {
    /// To those who answer it, and to the agent that asked.
    Whole(Box<Approval>),
    /// To the tool server whose question made it.
    Asked(AskedApproval),
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "getApproval",
        tag: "Approvals",
        summary: "Read a request for approval, or wait for its answer",
        text: "A tool server sees those that its own questions made, and of them the status alone.",
        callers: &[
            Caller::Operator(Scope::ApprovalsDecide),
            Caller::Agent,
            Caller::Session,
            Caller::ToolServer,
        ],
    };
    Operation::get("/api/v1/approvals/{id}", ABOUT, handle).query_of("wait", "Seconds: answers once it is answered or over, or after so many.", Form::known(schemars::json_schema!({ "type": "integer", "minimum": 0, "maximum": MAX_WAIT.as_secs() })))
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Approval>,
    mut params: Params,
) -> Reply<Data<Shown>> {
    let wait = params.take::<String>("wait")?;
    let wait = wait.map(|text| seconds(&text)).transpose()?;
    params.end()?;
    let (engine, wait) = (&state.engine, wait.unwrap_or_default());
    data(&match actor.caller {
        Who::ToolServer(_) => Shown::Asked(engine.asked_approval(&actor, id, wait).await?),
        _ => Shown::Whole(Box::new(engine.answered_approval(&actor, id, wait).await?)),
    })
}

fn seconds(text: &str) -> Result<Duration, Invalid> {
    let wait = text.parse().ok().map(Duration::from_secs);
    wait.filter(|wait| *wait <= MAX_WAIT).ok_or_else(|| {
        let message = format!("must be from 0 to {} seconds", MAX_WAIT.as_secs());
        Invalid::at("wait", message)
    })
}
