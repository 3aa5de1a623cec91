//! `kavach resource`: registered tool servers.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{Members, Page};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::output::{Form, Output};

const MEMBERS: [&str; 16] = [
    "id",
    "name",
    "audience",
    "shown",
    "scopes",
    "defaultScope",
    "party",
    "kind",
    "proof",
    "tokenAlgorithm",
    "critical",
    "leaseSeconds",
    "maxTtlSeconds",
    "status",
    "token",
    "narrowed",
];
const COLUMNS: [&str; 5] = ["id", "name", "audience", "shown", "status"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach resource create --audience https://tools.example.com --name tools --scope 'mcp:github:* read and write repositories'
  kavach resource list --json";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Resource {
    /// Register a tool server; its key is printed once
    Create(Create),
    /// List tool servers, newest first
    List(Page),
    /// Show one tool server
    Show(One),
    /// Change a tool server
    Update(Update),
    /// Revoke a tool server and its key for good
    Revoke(One),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The tool server's id
    resource: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The URL for which tokens are made out
    #[arg(long, value_name = "URL")]
    audience: String,
    /// For display
    #[arg(long)]
    name: String,
    /// A scope and what it allows, as in 'mcp:github:* read and write repositories'; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
    scopes: Vec<Value>,
    #[command(flatten)]
    policy: Policy,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The tool server's id
    resource: String,
    /// For display
    #[arg(long)]
    name: Option<String>,
    /// A scope and what it allows; all scopes are replaced. May be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Value>,
    #[command(flatten)]
    policy: Policy,
}

#[derive(Debug, Args)]
struct Policy {
    /// The scopes of a request that names none, separated by blanks
    #[arg(long, value_name = "SCOPES")]
    default_scope: Option<String>,
    /// Who runs it: `first` (you) or `third` (others; the default)
    #[arg(long)]
    party: Option<String>,
    /// What it checks by itself: `plain` (signature, audience, scope; the default) or `kavach` (runs the verifier)
    #[arg(long)]
    kind: Option<String>,
    /// Whether callers prove that a token is theirs: `none`, `optional` (the default), `dpop` or `dpop_body`
    #[arg(long)]
    proof: Option<String>,
    /// How tokens are signed: `EdDSA` (the default) or `ES256`
    #[arg(long, value_name = "NAME")]
    token_algorithm: Option<String>,
    /// Whether no picture of revocations may be older than 2 seconds
    #[arg(long, value_name = "true|false")]
    critical: Option<bool>,
    /// How long it may go on without news of revocations, 2 to 60 [default: 10]
    #[arg(long, value_name = "SECONDS")]
    lease_seconds: Option<u32>,
    /// The longest life of a token, 1 to 600 [default: 300]
    #[arg(long, value_name = "SECONDS")]
    max_ttl_seconds: Option<u32>,
}

impl Resource {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Create(create) => show_new(output, &create.send(client).await?),
            Self::List(page) => {
                let query = page.on(Query::default());
                output.table(&client.get("/api/v1/resources", &query).await?, &COLUMNS);
            }
            Self::Show(one) => {
                output.record(&client.get(&one.path(), &Query::default()).await?, &MEMBERS);
            }
            Self::Update(update) => output.record(&update.send(client).await?, &MEMBERS),
            Self::Revoke(one) => output.record(&client.delete(&one.path()).await?, &REVOKED),
        }
        Ok(Outcome::Done)
    }
}

impl One {
    fn path(&self) -> String {
        path("resources", &self.resource)
    }
}

impl Create {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("audience", Some(self.audience))
            .with("name", Some(self.name))
            .with("scopes", Some(self.scopes));
        let body = self.policy.on(body).object();
        client.post("/api/v1/resources", Some(&body)).await
    }
}

impl Update {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let scopes = (!self.scopes.is_empty()).then_some(self.scopes);
        let body = Members::default()
            .with("name", self.name)
            .with("scopes", scopes);
        let body = self.policy.on(body).change()?;
        client
            .patch(&path("resources", &self.resource), &body)
            .await
    }
}

impl Policy {
    fn on(self, members: Members) -> Members {
        members
            .with("defaultScope", self.default_scope)
            .with("party", self.party)
            .with("kind", self.kind)
            .with("proof", self.proof)
            .with("tokenAlgorithm", self.token_algorithm)
            .with("critical", self.critical)
            .with("leaseSeconds", self.lease_seconds)
            .with("maxTtlSeconds", self.max_ttl_seconds)
    }
}

/// `mcp:github:* read repositories`: a resource pattern, a blank, a description.
fn scope(text: &str) -> Result<Value, String> {
    match text.trim().split_once(char::is_whitespace) {
        Some((name, description)) => Ok(json!({ "name": name, "description": description.trim() })),
        None => Err(
            "write a scope, a blank and what it allows, as in 'mcp:github:* read repositories'"
                .to_owned(),
        ),
    }
}

fn show_new(output: &mut Output, answer: &Answer) {
    output.record(answer, &MEMBERS);
    if output.form() == Form::Text && answer.data().get("token").is_some_and(Value::is_string) {
        output.note("keep the token now: it is not shown again");
    }
}
