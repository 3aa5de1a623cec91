//! `POST /api/v1/authorize`: may this agent do this now? 200 with the decision, allowed or not.

use axum::extract::State as FromState;
use http::{HeaderName, HeaderValue, StatusCode};
use kavachos_core::action::Action;
use kavachos_core::constraint::Cost;
use kavachos_core::decide::Request;
use kavachos_core::id::{AgentId, ApprovalId, AuditId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::resource::Resource;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{Decision, Question};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

use crate::body::Body;
use crate::call::AnyKeyCall;
use crate::reply::{Reply, json};
use crate::state::State;

pub(crate) mod batch;

/// Whether a decision allows, for those that read no body.
pub(crate) const DECISION: HeaderName = HeaderName::from_static("kavach-decision");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) agent_id: Option<AgentId>,
    #[serde(rename = "for")]
    pub(crate) on_behalf_of: Option<UserId>,
    pub(crate) action: Action,
    pub(crate) resource: Resource,
    pub(crate) arguments: Option<Value>,
    pub(crate) cost: Option<Cost>,
    pub(crate) context: Option<Context>,
}

/// What an operator or a tool server says of the call that it asks about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer<'a> {
    allowed: bool,
    #[serde(flatten)]
    why: Why<'a>,
}

/// What is told of a decision beside that it allows or not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Why<'a> {
    code: &'a str,
    reason: &'a str,
    audit_id: AuditId,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<ApprovalId>,
}

#[derive(Serialize)]
struct Data<'a> {
    data: Answer<'a>,
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    AnyKeyCall(actor): AnyKeyCall,
    body: Body<Ask>,
) -> Reply {
    let (question, actor) = question(body.question()?, actor)?;
    let decision = state.engine.authorize(&actor, &question).await?;
    state.metrics.decided(&decision);
    let mut response = json(
        StatusCode::OK,
        &Data {
            data: answer(&decision),
        },
    )?;
    let verdict = HeaderValue::from_static(if decision.allowed { "allow" } else { "deny" });
    response.headers_mut().insert(DECISION, verdict);
    Ok(response)
}

/// An agent states nothing about its own call but what it wants to do: the address is the peer's, a cost is not its
/// to name. Operators and tool servers speak of a call that somebody else made, so their own address says nothing.
pub(crate) fn question(ask: Ask, mut actor: Actor) -> Result<(Question, Actor), Invalid> {
    let ip = match &actor.caller {
        Caller::Agent(_) => {
            if ask.context.is_some() {
                return Err(Invalid::at(
                    "context",
                    "an agent cannot state this about itself; leave it out",
                ));
            }
            if ask.cost.is_some() {
                return Err(Invalid::at(
                    "cost",
                    "an agent cannot state this about itself; leave it out",
                ));
            }
            actor.ip
        }
        Caller::Operator(_) | Caller::ToolServer(_) | Caller::Local | Caller::Person(_) => {
            let context = ask.context.unwrap_or(Context {
                ip: None,
                user_agent: None,
            });
            if let Some(stated) = context.user_agent {
                actor.user_agent = Some(user_agent(stated)?);
            }
            context.ip
        }
    };
    let request = Request {
        action: ask.action,
        resource: ask.resource,
        arguments: ask.arguments,
        ip,
        cost: ask.cost,
    };
    Ok((
        Question {
            agent: ask.agent_id,
            on_behalf_of: ask.on_behalf_of,
            request,
            presented: None,
        },
        actor,
    ))
}

/// What a header could not hold, an operator cannot state: it would make every record of it longer.
fn user_agent(stated: String) -> Result<String, Invalid> {
    if stated.chars().any(char::is_control) {
        return Err(Invalid::at(
            "context.userAgent",
            "holds control characters; leave them out",
        ));
    }
    Ok(stated)
}

pub(crate) fn answer(decision: &Decision) -> Answer<'_> {
    Answer {
        allowed: decision.allowed,
        why: why(decision),
    }
}

pub(crate) fn why(decision: &Decision) -> Why<'_> {
    Why {
        code: decision.code.as_str(),
        reason: &decision.reason,
        audit_id: decision.audit_id,
        retry_after: decision.retry_after.map(seconds),
        approval_id: decision.approval_id,
    }
}

/// Rounded up: who waits as long as we say must not be too early.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
