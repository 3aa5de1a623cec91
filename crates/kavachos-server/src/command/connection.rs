//! `kavach connection`: applications that humans let in.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::args::Page;
use crate::client::{Client, Query, path, segment};
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};
use crate::view;

const LIST: &str = "/api/v1/connections";
const MEMBERS: [&str; 10] = [
    "agentId",
    "userId",
    "name",
    "clientId",
    "source",
    "host",
    "redirectHosts",
    "status",
    "since",
    "usedAt",
];
const COLUMNS: [&str; 6] = ["agentId", "userId", "name", "source", "status", "usedAt"];
/// The lists of one, with what is told of each thing in them.
const TABLES: [(&str, &[&str]); 2] = [
    (
        "resources",
        &["resourceId", "name", "since", "usedAt", "rememberedSince"],
    ),
    (
        "lines",
        &["id", "status", "since", "usedAt", "endsAt", "bound"],
    ),
];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach connection list --user ada@example.com
  kavach connection show Editor
  kavach connection end Editor";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Connection {
    /// List applications that humans let in, newest first
    List(List),
    /// Show one with what the human said yes to, and with its lines: each time that it was let in
    Show(One),
    /// End one for good, with every line and token, or one line of it
    End(End),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this human: an id, an e-mail address or `provider:id`
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The agent that it is: its id, or its name if no other has it
    agent: String,
}

#[derive(Debug, Args)]
pub(crate) struct End {
    #[command(flatten)]
    one: One,
    /// Only this line; the others go on
    #[arg(long)]
    line: Option<String>,
}

impl Connection {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::List(list) => {
                let user = match &list.user {
                    Some(user) => Some(names::user(client, user).await?),
                    None => None,
                };
                let query = Query::default().with("userId", user);
                let listed = client.get(LIST, &list.page.on(query)).await?;
                output.table(&listed, &COLUMNS);
            }
            Self::Show(one) => {
                let path = one.path(client).await?;
                let shown = client.get(&path, &Query::default()).await?;
                output.record(&shown, &MEMBERS);
                if output.form() == Form::Text {
                    for (part, columns) in TABLES {
                        let things = shown.data().get(part).and_then(Value::as_array);
                        output.line("");
                        output.lines(view::table(things.map_or(&[], Vec::as_slice), columns));
                    }
                }
            }
            Self::End(end) => {
                let mut path = end.one.path(client).await?;
                if let Some(line) = &end.line {
                    path.push_str(&format!("/lines/{}", segment(line)));
                }
                let ended = client.delete(&path).await?;
                output.record(&ended, &REVOKED);
            }
        }
        Ok(Outcome::Done)
    }
}

impl One {
    async fn path(&self, client: &Client) -> Result<String, Failure> {
        let id = names::agent(client, &self.agent).await?;
        Ok(path("connections", &id))
    }
}
