//! `kavach authorize`: one decision, on record.

use clap::Args;
use serde_json::Value;

use super::Outcome;
use crate::answer::Answer;
use crate::args::{self, Members};
use crate::client::Client;
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};

#[derive(Debug, Args)]
pub(crate) struct Authorize {
    /// The action, as in `read`
    action: String,
    /// The resource, as in `mcp:github:repos`
    resource: String,
    /// Which agent wants to act: its id, or its name if no other has it; with an agent's own key it is that agent
    #[arg(long)]
    agent: Option<String>,
    /// For which human: an id, an e-mail address or `provider:id`; the agent's own when not given
    #[arg(long = "for", value_name = "HUMAN")]
    on_behalf_of: Option<String>,
    /// The call's arguments, as JSON
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    arguments: Option<Value>,
    /// What the call costs, as in '250 cents'
    #[arg(long, value_name = "AMOUNT UNIT", value_parser = args::cost)]
    cost: Option<Value>,
    /// The address that the call comes from
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The program that the call comes from
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
}

impl Authorize {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let answer = self.send(client).await?;
        let decision = answer.data();
        let Some(allowed) = decision.get("allowed").and_then(Value::as_bool) else {
            return Err(Failure::Stranger { status: 200 });
        };
        show(output, &answer, allowed);
        Ok(if allowed {
            Outcome::Done
        } else {
            Outcome::Refused
        })
    }

    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let question = self.question(client).await?;
        client.post("/api/v1/authorize", Some(&question)).await
    }

    /// The body of the question.
    pub(super) async fn question(self, client: &Client) -> Result<Value, Failure> {
        let agent = match &self.agent {
            Some(agent) => Some(names::agent(client, agent).await?),
            None => None,
        };
        let human = match &self.on_behalf_of {
            Some(human) => Some(names::user(client, human).await?),
            None => None,
        };
        let context = Members::default()
            .with("ip", self.ip)
            .with("userAgent", self.user_agent)
            .object();
        let context = Some(context).filter(|context| {
            context
                .as_object()
                .is_some_and(|context| !context.is_empty())
        });
        let body = Members::default()
            .with("agentId", agent)
            .with("for", human)
            .with("action", Some(self.action))
            .with("resource", Some(self.resource))
            .with("arguments", self.arguments)
            .with("cost", self.cost)
            .with("context", context);
        Ok(body.object())
    }
}

fn show(output: &mut Output, answer: &Answer, allowed: bool) {
    if output.form() == Form::Json {
        return output.answer(answer);
    }
    let text = |member: &str| {
        answer
            .data()
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or("-")
    };
    let verdict = if allowed { "allowed" } else { "denied" };
    output.line(&format!("{verdict}: {} ({})", text("reason"), text("code")));
    output.line(&format!("audit id: {}", text("auditId")));
    if answer.data().get("approvalId").is_some() {
        output.line(&format!("approval id: {}", text("approvalId")));
    }
    if let Some(seconds) = answer.data().get("retryAfter").and_then(Value::as_u64) {
        output.line(&format!("retry after: {seconds} s"));
    }
}
