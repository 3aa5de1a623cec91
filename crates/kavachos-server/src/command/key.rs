//! `kavach key`: operator keys.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::output::{Form, Output};

const MEMBERS: [&str; 10] = [
    "id",
    "name",
    "shown",
    "origin",
    "scopes",
    "ceiling",
    "status",
    "expiresAt",
    "createdAt",
    "token",
];
const COLUMNS: [&str; 6] = ["id", "name", "shown", "origin", "status", "scopes"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach key create --name backend --scope agents:write --ceiling 'read mcp:github:*'
  kavach key create --name auditor --scope audit:read --only token > auditor.key";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Key {
    /// Make an operator key, no stronger than the one it is made with; it is printed once
    Create(Create),
    /// List operator keys, newest first
    List(Page),
    /// Show one operator key
    Show(One),
    /// Revoke an operator key for good
    Revoke(One),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The key's id
    key: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// For display
    #[arg(long)]
    name: String,
    /// What it may be used for, as in `agents:read`, or `*` for everything; may be given several times
    #[arg(
        long = "scope",
        value_name = "SCOPE",
        required = true,
        value_delimiter = ','
    )]
    scopes: Vec<String>,
    /// The most that anything asked or made with it may do, whatever its scopes: actions and a resource, as in
    /// 'read,list mcp:github:*'; may be given several times [default: no bound]
    #[arg(long, alias = "allow", value_name = "ACTIONS RESOURCE", value_parser = args::allow)]
    ceiling: Vec<Value>,
    /// A part of the ceiling as JSON. A ceiling has no constraints, so `--ceiling` says as much.
    #[arg(long = "permission", value_name = "JSON", value_parser = args::json_value, hide = true)]
    ceiling_json: Vec<Value>,
    /// When it stops working (RFC 3339)
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
}

impl Key {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Create(create) => show_new(output, &create.send(client).await?),
            Self::List(page) => output.table(
                &client
                    .get("/api/v1/keys", &page.on(Query::default()))
                    .await?,
                &COLUMNS,
            ),
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
        path("keys", &self.key)
    }
}

impl Create {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let ceiling = [self.ceiling, self.ceiling_json].concat();
        let body = Members::default()
            .with("name", Some(self.name))
            .with("scopes", Some(self.scopes))
            .with("ceiling", (!ceiling.is_empty()).then_some(ceiling))
            .with("expiresAt", self.expires_at);
        client.post("/api/v1/keys", Some(&body.object())).await
    }
}

fn show_new(output: &mut Output, answer: &Answer) {
    output.record(answer, &MEMBERS);
    if output.form() == Form::Text && answer.data().get("token").is_some_and(Value::is_string) {
        output.note("keep the token now: it is not shown again");
    }
}
