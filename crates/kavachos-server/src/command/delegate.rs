//! `kavach delegate` and `kavach delegation`: authority handed on, read and taken back.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page, Permissions};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::Output;

const MEMBERS: [&str; 13] = [
    "id",
    "parent",
    "from",
    "to",
    "userId",
    "permissions",
    "guards",
    "depth",
    "maxDepth",
    "expiresAt",
    "reason",
    "status",
    "createdAt",
];
const COLUMNS: [&str; 6] = ["id", "from", "to", "status", "permissions", "expiresAt"];

#[derive(Debug, Args)]
pub(crate) struct Delegate {
    /// Who gives: a human or an agent, by id, e-mail address, `provider:id` or an agent's name
    #[arg(long, value_name = "GIVER")]
    from: String,
    /// The agent that receives, by id or name
    #[arg(long, value_name = "AGENT")]
    to: String,
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
        output.record(&self.send(client).await?, &MEMBERS);
        Ok(Outcome::Done)
    }

    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let permissions = self.permissions.required()?;
        let body = Members::default()
            .with("from", Some(names::owner(client, &self.from).await?))
            .with("to", Some(names::agent(client, &self.to).await?))
            .with("permissions", Some(permissions))
            .with("ttlSeconds", self.ttl)
            .with("expiresAt", self.expires_at)
            .with("maxDepth", self.max_depth)
            .with("guards", self.guards)
            .with("parent", self.parent)
            .with("reason", Some(self.reason));
        client
            .post("/api/v1/delegations", Some(&body.object()))
            .await
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
