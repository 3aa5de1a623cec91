//! `kavach audit`: the record, read back.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::Value;

use super::Outcome;
use super::destination::Destination;
use crate::answer::Answer;
use crate::args::Page;
use crate::client::{Client, Query as Parameters, path};
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};
use crate::view;

/// What of a record stands in a line.
pub(super) const COLUMNS: [&str; 8] = [
    "time", "kind", "outcome", "code", "agent", "action", "resource", "id",
];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach audit query --agent reader --outcome denied
  kavach audit query --kind agent.revoked --since 2026-11-21T00:00:00Z --json";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Audit {
    /// List records, newest first
    Query(Box<Query>),
    /// Show one record
    Show(One),
    /// Write down every record that the filters leave, oldest first, without a cap
    Export(Box<Export>),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The record's id
    record: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcomes {
    Allowed,
    Denied,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// In which form
    #[arg(long, value_enum)]
    format: Format,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    destination: Destination,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One JSON array
    Json,
    /// A JSON object in each line
    Jsonl,
    /// Comma-separated values, in which no cell is a formula
    Csv,
}

/// All that are given must hold.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// The agent that acted or was acted upon, by id or name
    #[arg(long)]
    agent: Option<String>,
    /// The human for whom: an id, an e-mail address or `provider:id`
    #[arg(long, value_name = "HUMAN")]
    user: Option<String>,
    /// An agent anywhere in the chain, by id or name
    #[arg(long, value_name = "AGENT")]
    member: Option<String>,
    /// The action
    #[arg(long)]
    action: Option<String>,
    /// A pattern that the resource matches
    #[arg(long, value_name = "PATTERN")]
    resource: Option<String>,
    /// How it ended
    #[arg(long, value_enum)]
    outcome: Option<Outcomes>,
    /// The code
    #[arg(long)]
    code: Option<String>,
    /// The kind of record, as in `decision` or `agent.created`
    #[arg(long)]
    kind: Option<String>,
    /// The request that it was part of
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Audit {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Query(query) => output.table(&query.send(client).await?, &COLUMNS),
            Self::Export(export) => export.run(client, output).await?,
            Self::Show(one) => show(
                output,
                &client
                    .get(&path("audit", &one.record), &Parameters::default())
                    .await?,
            ),
        }
        Ok(Outcome::Done)
    }
}

impl Query {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let query = self.filter.query(client).await?;
        client.get("/api/v1/audit", &self.page.on(query)).await
    }
}

impl Export {
    async fn run(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let format = self.format.to_possible_value();
        let format = format.map(|format| format.get_name().to_owned());
        let query = self.filter.query(client).await?.with("format", format);
        let sink = self.destination.begin(output)?;
        let path = "/api/v1/audit/export";
        sink.fill(client.download(Method::GET, path, &query).await?, "records")
            .await
    }
}

impl Filter {
    /// The parameters of these filters.
    pub(super) async fn query(self, client: &Client) -> Result<Parameters, Failure> {
        let outcome = self
            .outcome
            .and_then(|outcome| Some(outcome.to_possible_value()?.get_name().to_owned()));
        Ok(Parameters::default()
            .with("agentId", agent(client, self.agent.as_deref()).await?)
            .with("userId", human(client, self.user.as_deref()).await?)
            .with("member", agent(client, self.member.as_deref()).await?)
            .with("action", self.action)
            .with("resource", self.resource)
            .with("outcome", outcome)
            .with("code", self.code)
            .with("kind", self.kind)
            .with("requestId", self.request_id)
            .with("since", self.since)
            .with("until", self.until))
    }
}

async fn agent(client: &Client, given: Option<&str>) -> Result<Option<String>, Failure> {
    match given {
        Some(given) => names::agent(client, given).await.map(Some),
        None => Ok(None),
    }
}

async fn human(client: &Client, given: Option<&str>) -> Result<Option<String>, Failure> {
    match given {
        Some(given) => names::user(client, given).await.map(Some),
        None => Ok(None),
    }
}

fn show(output: &mut Output, answer: &Answer) {
    match (output.form(), answer.data()) {
        (Form::Text, Value::Object(record)) => output.lines(view::whole(record)),
        _ => output.answer(answer),
    }
}
