//! `POST /api/v1/authorize`: may this agent do this now? 200 with the decision, allowed or not.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State as FromState;
use http::{HeaderName, HeaderValue, StatusCode};
use kavachos_core::action::Action;
use kavachos_core::constraint::Cost;
use kavachos_core::decide::{Code, Request};
use kavachos_core::id::{AgentId, ApprovalId, AuditId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::json::Object;
use kavachos_core::resource::Resource;
use kavachos_core::token::Thumbprint;
use kavachos_engine::actor::{Actor, Caller, Scope};
use kavachos_engine::{Decision, Engine, Error, Question, ShownToken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body;
use crate::call::AnyKeyCall;
use crate::operation::{self, About, Description, Form, JSON, Operation};
use crate::reply::{Data, Kind, Reply, json};
use crate::state::State;

pub(crate) mod batch;

/// Whether a decision allows, for those that read no body.
pub(crate) const DECISION: HeaderName = HeaderName::from_static("kavach-decision");

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Question")]
pub(crate) struct Ask {
    /// Which agent; an agent's own key asks about itself and leaves it out.
    pub(crate) agent_id: Option<AgentId>,
    /// The human for whom, where the agent acts for several.
    #[serde(rename = "for")]
    pub(crate) on_behalf_of: Option<UserId>,
    /// The token that the call came with, from the tool server that it is for: agent and human come from it, and only its
    /// grants count.
    #[schemars(length(min = 1, max = kavachos_core::token::MAX_TOKEN_BYTES))]
    pub(crate) token: Option<String>,
    /// With a token that is bound to a key: which key was proved with it, by its thumbprint (RFC 7638).
    #[schemars(with = "Option<String>", regex(pattern = "^[A-Za-z0-9_-]{43}$"))]
    pub(crate) proven: Option<Thumbprint>,
    /// To do what.
    pub(crate) action: Action,
    /// To what.
    pub(crate) resource: Resource,
    /// The arguments of the call.
    pub(crate) arguments: Option<Value>,
    /// What the call costs; not from an agent.
    pub(crate) cost: Option<Cost>,
    /// Where the call came from; not from an agent.
    pub(crate) context: Option<Object<Context>>,
}

/// What an operator or a tool server says of the call that it asks about.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Context {
    /// The address that it came from.
    pub(crate) ip: Option<IpAddr>,
    /// The program that made it.
    pub(crate) user_agent: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Decision")]
pub(crate) struct Answer<'a> {
    /// Whether it may.
    allowed: bool,
    #[serde(flatten)]
    why: Why<'a>,
}

/// What is told of a decision beside that it allows or not.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Why<'a> {
    /// Why, as a stable text.
    #[schemars(with = "Code")]
    code: &'a str,
    /// Why, for people.
    reason: &'a str,
    /// The record of the decision.
    audit_id: AuditId,
    /// How long to wait, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// The request for a human's approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<ApprovalId>,
}

/// 200 with a decision.
pub(crate) struct Decided;

impl Kind for Decided {
    fn tell(description: &mut Description) {
        description.answers.push(operation::Answer {
            status: 200,
            media_type: JSON,
            form: Form::of::<Data<Answer<'static>>>(),
            headers: &["Kavach-Decision"],
        });
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "authorize",
        tag: "Decisions",
        summary: "Ask whether an agent may do something now",
        text: "200 with the decision, allowed or not, and `Kavach-Decision` says the same. An agent asks about itself, a \
               tool server about what its scopes cover.",
        callers: &[
            operation::Caller::Operator(Scope::AuthorizeAny),
            operation::Caller::Agent,
            operation::Caller::ToolServer,
        ],
    };
    Operation::post("/api/v1/authorize", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    AnyKeyCall(actor): AnyKeyCall,
    body::Question(ask): body::Question<Ask>,
) -> Reply<Decided> {
    let (question, actor) = question(&state.engine, ask, actor).await?;
    let decision = state.engine.authorize(&actor, &question).await?;
    state.metrics.decided(&decision);
    let mut response = json(StatusCode::OK, &Data::of(answer(&decision)))?;
    let verdict = HeaderValue::from_static(if decision.allowed { "allow" } else { "deny" });
    response.headers_mut().insert(DECISION, verdict);
    Ok(response)
}

/// An agent states nothing about its own call but what it wants to do: the address is the peer's, a cost is not its
/// to name. Operators and tool servers speak of a call that somebody else made, so their own address says nothing.
pub(crate) async fn question(
    engine: &Engine,
    mut ask: Ask,
    actor: Actor,
) -> Result<(Question, Actor), Error> {
    let Some(token) = ask.token.take() else {
        return Ok(plain(ask, actor)?);
    };
    if ask.agent_id.is_some() || ask.on_behalf_of.is_some() {
        let message = "says agent and human itself; leave out `agentId` and `for`";
        return Err(Invalid::at("token", message).into());
    }
    let shown = ShownToken {
        text: &token,
        proven: ask.proven.take(),
    };
    let leaf = engine.shown_token(&actor, &shown).await?;
    ask.agent_id = leaf.authority.agent();
    let (question, actor) = plain(ask, actor)?;
    let shown = Some(leaf);
    Ok((Question { shown, ..question }, actor))
}

/// A question without a token.
pub(crate) fn plain(ask: Ask, mut actor: Actor) -> Result<(Question, Actor), Invalid> {
    if ask.token.is_some() {
        return Err(Invalid::at(
            "token",
            "is asked about one at a time, with `POST /api/v1/authorize`",
        ));
    }
    if ask.proven.is_some() {
        return Err(Invalid::at("proven", "goes with `token`"));
    }
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
        Caller::Operator(_)
        | Caller::ToolServer(_)
        | Caller::Local
        | Caller::Person(_)
        | Caller::Provided(_)
        | Caller::Root(_)
        | Caller::Stranger => {
            let Object(context) = ask.context.unwrap_or(Object(Context {
                ip: None,
                user_agent: None,
            }));
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
            shown: None,
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
