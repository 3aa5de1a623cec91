//! `kavach delegate` and `kavach delegation`: authority handed on, read and taken back.
//!
//! With `--audience`, authority is handed on as a token for one tool server, which has a route of its own.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page, Permissions, Uses};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};

const MEMBERS: [&str; 17] = [
    "id",
    "parent",
    "from",
    "to",
    "userId",
    "permissions",
    "guards",
    "exchangeBy",
    "bearer",
    "offline",
    "reservedFor",
    "depth",
    "maxDepth",
    "expiresAt",
    "reason",
    "status",
    "createdAt",
];
const COLUMNS: [&str; 6] = ["id", "from", "to", "status", "permissions", "expiresAt"];

const TOKEN_MEMBERS: [&str; 7] = [
    "id",
    "agent",
    "audience",
    "scope",
    "expiresAt",
    "tokenType",
    "token",
];

const PROMISE_MEMBERS: [&str; 4] = ["delegationId", "agent", "audience", "expiresAt"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach delegate --from orchestrator --to researcher --allow 'call tools:call:search' --reason 'find sources' --ttl 10m
  KAVACH_KEY_FILE=agent.key kavach delegate --audience https://tools.example.com --reason 'find sources' --only token";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Delegate {
    /// Who gives: a human or an agent, by id, e-mail address, `provider:id` or an agent's name
    #[arg(long, value_name = "GIVER", required_unless_present = "audience")]
    from: Option<String>,
    /// The agent that receives, by id or name
    #[arg(long, value_name = "AGENT", required_unless_present = "audience")]
    to: Option<String>,
    /// Make a token for this tool server of what the caller itself holds, instead of a delegation; KAVACH_KEY is then the
    /// key of an agent, or a human's session
    #[arg(long, value_name = "URL", conflicts_with_all = ["from", "to", "expires_at", "max_depth", "guards", "parent", "exchange_by", "bearer", "offline"])]
    audience: Option<String>,
    /// Of a token: a scope of the tool server, as in `mcp:github:*`; may be given several times [default: the tool
    /// server's own default]
    #[arg(long = "scope", value_name = "SCOPE", requires = "audience", value_delimiter = ',', conflicts_with_all = ["from", "to", "allow", "permission"])]
    scopes: Vec<String>,
    /// Of a token: which agent will show it, by id or name; one that is not the caller's own makes it itself, with
    /// `kavach delegation redeem` [default: an agent that exists for such tokens alone]
    #[arg(long, value_name = "AGENT", requires = "audience", conflicts_with_all = ["from", "to"])]
    agent: Option<String>,
    #[command(flatten)]
    permissions: Permissions,
    /// How long it lasts, as in `15m`
    #[arg(long, value_name = "TIME SPAN", value_parser = args::seconds, conflicts_with = "expires_at")]
    ttl: Option<u64>,
    /// When it ends (RFC 3339)
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// How deep delegations below it may go
    #[arg(long, value_name = "N")]
    max_depth: Option<u8>,
    /// Constraints on everything in it, as JSON
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    guards: Option<Value>,
    #[command(flatten)]
    uses: Uses,
    /// Which of the giver's grants it comes from
    #[arg(long, value_name = "GRANT")]
    parent: Option<String>,
    /// Why it is given
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Delegation {
    /// List delegations, newest first
    List(List),
    /// Show one delegation
    Show(One),
    /// Take back a delegation and everything below it
    Revoke(One),
    /// Make the token of a delegation that another agent gave for one; KAVACH_KEY is then the key of the agent that got it
    Redeem(One),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The delegation's id
    delegation: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those that this human or agent gave
    #[arg(long, value_name = "GIVER")]
    from: Option<String>,
    /// Only those that this agent holds
    #[arg(long, value_name = "AGENT")]
    to: Option<String>,
    #[command(flatten)]
    page: Page,
}

impl Delegate {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match (&self.audience, &self.from, &self.to) {
            (Some(_), ..) => show_handed(output, &self.token(client).await?),
            (None, Some(from), Some(to)) => {
                let from = names::owner(client, from).await?;
                let to = names::agent(client, to).await?;
                output.record(&self.delegation(client, from, to).await?, &MEMBERS);
            }
            (None, ..) => {
                let message = "say who gives and who receives, with `--from` and `--to`, or for which tool server a token \
                               is, with `--audience`";
                return Err(Failure::Usage(message.to_owned()));
            }
        }
        Ok(Outcome::Done)
    }

    /// A token for one tool server.
    async fn token(self, client: &Client) -> Result<Answer, Failure> {
        let agent = match &self.agent {
            Some(agent) => Some(names::agent(client, agent).await?),
            None => None,
        };
        let scopes = (!self.scopes.is_empty()).then_some(self.scopes);
        let body = Members::default()
            .with("audience", self.audience)
            .with("agent", agent)
            .with("scopes", scopes)
            .with("permissions", self.permissions.list())
            .with("ttlSeconds", self.ttl)
            .with("reason", Some(self.reason));
        client.post("/api/v1/delegate", Some(&body.object())).await
    }

    async fn delegation(
        self,
        client: &Client,
        from: String,
        to: String,
    ) -> Result<Answer, Failure> {
        let permissions = self.permissions.required()?;
        let body = Members::default()
            .with("from", Some(from))
            .with("to", Some(to))
            .with("permissions", Some(permissions))
            .with("ttlSeconds", self.ttl)
            .with("expiresAt", self.expires_at)
            .with("maxDepth", self.max_depth)
            .with("guards", self.guards)
            .with_all(self.uses.members())
            .with("parent", self.parent)
            .with("reason", Some(self.reason));
        client
            .post("/api/v1/delegations", Some(&body.object()))
            .await
    }
}

/// Shows a token, or what another agent makes one of.
fn show_handed(output: &mut Output, answer: &Answer) {
    let Some(id) = answer.data().get("delegationId").and_then(Value::as_str) else {
        return output.record(answer, &TOKEN_MEMBERS);
    };
    let note = format!(
        "that agent makes the token, once, with its own key: KAVACH_KEY_FILE=its.key kavach delegation redeem {id}"
    );
    output.record(answer, &PROMISE_MEMBERS);
    if output.form() == Form::Text {
        output.note(&note);
    }
}

impl Delegation {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::List(list) => output.table(&list.send(client).await?, &COLUMNS),
            Self::Show(one) => {
                output.record(&client.get(&one.path(), &Query::default()).await?, &MEMBERS);
            }
            Self::Revoke(one) => output.record(&client.delete(&one.path()).await?, &REVOKED),
            Self::Redeem(one) => {
                let path = format!("{}/token", path("delegate", &one.delegation));
                output.record(&client.post(&path, None).await?, &TOKEN_MEMBERS);
            }
        }
        Ok(Outcome::Done)
    }
}

impl One {
    fn path(&self) -> String {
        path("delegations", &self.delegation)
    }
}

impl List {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let from = match &self.from {
            Some(from) => Some(names::owner(client, from).await?),
            None => None,
        };
        let to = match &self.to {
            Some(to) => Some(names::agent(client, to).await?),
            None => None,
        };
        let query = Query::default().with("from", from).with("to", to);
        client
            .get("/api/v1/delegations", &self.page.on(query))
            .await
    }
}
