//! `kavach approval`: what agents ask humans for, and the answers.

mod consent;

use std::io::stdin;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Outcome;
use crate::answer::Answer;
use crate::args::Page;
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::Output;

const MEMBERS: [&str; 13] = [
    "id",
    "status",
    "agentId",
    "userId",
    "action",
    "resource",
    "grantPath",
    "document",
    "digest",
    "decidedBy",
    "decidedAt",
    "expiresAt",
    "createdAt",
];
const COLUMNS: [&str; 6] = ["id", "status", "agentId", "action", "resource", "expiresAt"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach approval list --status pending
  kavach approval approve approval_01h455vb4pex5vsknk084sn02q
  kavach approval approve approval_01h455vb4pex5vsknk084sn02q --digest DIGEST

`approve` without `--digest` shows the call and asks, at a terminal. A program reads the document with `show`, and approves with the \
digest that stands there.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Approval {
    /// List requests, newest first
    List(List),
    /// Show one request with the document that would be approved, and its digest
    Show(One),
    /// Allow exactly one call, once: the one that is shown and asked about, or the one with this digest
    Approve(Approve),
    /// Refuse the call until the request is over
    Deny(One),
    /// Wait until a request is answered or over; exits with 1 if it is not approved then
    Wait(Wait),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The request's id
    approval: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Approved,
    Denied,
    Used,
}

/// All that are given must hold.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The agent that wants to act, by id or name
    #[arg(long)]
    agent: Option<String>,
    /// The human for whom: an id, an e-mail address or `provider:id`
    #[arg(long, value_name = "HUMAN")]
    user: Option<String>,
    /// How far it has come
    #[arg(long, value_enum)]
    status: Option<Status>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    one: One,
    /// The digest that `kavach approval show` printed; without it the call is shown, and a terminal is asked for a yes
    #[arg(long)]
    digest: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    one: One,
    /// For how many seconds at the most, up to 30
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=30))]
    seconds: u32,
}

impl Approval {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let shown = match self {
            Self::List(list) => {
                output.table(&list.send(client).await?, &COLUMNS);
                return Ok(Outcome::Done);
            }
            Self::Wait(wait) => {
                let answer = wait.send(client).await?;
                output.record(&answer, &MEMBERS);
                return Ok(outcome(&answer));
            }
            Self::Show(one) => client.get(&one.path(""), &Query::default()).await?,
            Self::Approve(approve) => match approve.send(client, output).await? {
                Some(answer) => answer,
                None => return Ok(Outcome::Refused),
            },
            Self::Deny(one) => client.post(&one.path("/deny"), None).await?,
        };
        output.record(&shown, &MEMBERS);
        Ok(Outcome::Done)
    }
}

impl One {
    fn path(&self, rest: &str) -> String {
        format!("{}{rest}", path("approvals", &self.approval))
    }
}

impl List {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let agent = match &self.agent {
            Some(agent) => Some(names::agent(client, agent).await?),
            None => None,
        };
        let user = match &self.user {
            Some(user) => Some(names::user(client, user).await?),
            None => None,
        };
        let status = self
            .status
            .and_then(|status| Some(status.to_possible_value()?.get_name().to_owned()));
        let query = Query::default()
            .with("agentId", agent)
            .with("userId", user)
            .with("status", status);
        client.get("/api/v1/approvals", &self.page.on(query)).await
    }
}

impl Approve {
    /// The answered request; nothing when the human at the terminal said no.
    async fn send(self, client: &Client, output: &mut Output) -> Result<Option<Answer>, Failure> {
        let digest = match self.digest {
            Some(digest) => digest,
            None if !consent::can_be_asked() => {
                return Err(Failure::Usage(
                    "give `--digest`, as `kavach approval show` prints it: without a terminal nobody can be asked"
                        .to_owned(),
                ));
            }
            None => {
                let request = client.get(&self.one.path(""), &Query::default()).await?;
                let call = consent::Call::of(&request)?;
                if !call.is_approved(&mut stdin().lock(), output) {
                    return Ok(None);
                }
                call.digest
            }
        };
        let (path, body) = (self.one.path("/approve"), json!({ "digest": digest }));
        client.post(&path, Some(&body)).await.map(Some)
    }
}

impl Wait {
    async fn send(&self, client: &Client) -> Result<Answer, Failure> {
        let query = Query::default().with("wait", Some(self.seconds));
        client.get(&self.one.path(""), &query).await
    }
}

fn outcome(answer: &Answer) -> Outcome {
    let status = answer.data().get("status").and_then(Value::as_str);
    match status {
        Some("approved" | "used") => Outcome::Done,
        _ => Outcome::Refused,
    }
}
