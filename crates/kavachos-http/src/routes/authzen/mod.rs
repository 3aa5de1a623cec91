//! OpenID AuthZEN Authorization API 1.0: the same decisions with the same records, in the form of that standard.
//!
//! A subject is an agent (`type` `agent`), a resource is `type:id`, what an action's `properties` say are its arguments,
//! and `context` may hold `ip`, `userAgent` and `cost`. As the standard asks, unknown members are ignored, errors are a
//! plain message, and a client's `X-Request-ID` comes back.

pub(crate) mod configuration;
pub(crate) mod evaluation;
pub(crate) mod evaluations;

use std::net::IpAddr;

use kavachos_core::action::Action;
use kavachos_core::constraint::Cost;
use kavachos_core::id::{AgentId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::json::{self, Object};
use kavachos_engine::actor::Actor;
use kavachos_engine::{Decision, Question};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::routes::authorize::{Ask, Context, Why, plain, why};

/// The members of one evaluation. They are read one by one, so that those of a list can have defaults.
pub(crate) const MEMBERS: [&str; 4] = ["subject", "action", "resource", "context"];

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Evaluation")]
pub(crate) struct Evaluation {
    subject: Object<Subject>,
    action: Object<ActionForm>,
    resource: Object<ResourceForm>,
    #[serde(default)]
    context: Object<Environment>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EvaluationSubject")]
pub(crate) struct Subject {
    #[serde(rename = "type")]
    #[schemars(extend("const" = "agent"))]
    kind: String,
    id: AgentId,
    #[serde(default)]
    properties: Object<SubjectProperties>,
}

#[derive(Deserialize, JsonSchema, Default)]
struct SubjectProperties {
    /// The human for whom the agent acts.
    #[serde(rename = "for")]
    on_behalf_of: Option<UserId>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EvaluationAction")]
pub(crate) struct ActionForm {
    name: Action,
    properties: Option<Map<String, Value>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "EvaluationResource")]
pub(crate) struct ResourceForm {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EvaluationEnvironment")]
pub(crate) struct Environment {
    ip: Option<IpAddr>,
    user_agent: Option<String>,
    cost: Option<Cost>,
}

/// A decision in the form of the standard.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Verdict<'a> {
    decision: bool,
    context: Why<'a>,
}

impl<'a> Verdict<'a> {
    fn of(decision: &'a Decision) -> Self {
        Self {
            decision: decision.allowed,
            context: why(decision),
        }
    }
}

/// The question that an evaluation asks.
fn read(evaluation: &Value, actor: Actor) -> Result<(Actor, Question), Invalid> {
    let Evaluation {
        subject: Object(subject),
        action: Object(action),
        resource: Object(resource),
        context: Object(context),
    } = json::read(evaluation)?;
    if subject.kind != "agent" {
        let message = "decisions are made about agents; it must be `agent`";
        return Err(Invalid::at("subject.type", message));
    }
    let resource = format!("{}:{}", resource.kind, resource.id)
        .parse()
        .map_err(|error: Invalid| Invalid::at("resource", error.message()))?;
    let ask = Ask {
        token: None,
        proven: None,
        agent_id: Some(subject.id),
        on_behalf_of: subject.properties.0.on_behalf_of,
        action: action.name,
        resource,
        arguments: action.properties.map(Value::Object),
        cost: context.cost,
        context: Some(Object(Context {
            ip: context.ip,
            user_agent: context.user_agent,
        })),
    };
    let (question, actor) = plain(ask, actor)?;
    Ok((actor, question))
}
