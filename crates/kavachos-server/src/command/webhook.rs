//! `kavach webhook`: addresses that are told of records.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::output::{Form, Output};

const LIST: &str = "/api/v1/webhooks";
const MEMBERS: [&str; 13] = [
    "id",
    "url",
    "name",
    "kinds",
    "denials",
    "status",
    "behind",
    "waiting",
    "dead",
    "problem",
    "overlapUntil",
    "createdAt",
    "secret",
];
const COLUMNS: [&str; 6] = ["id", "url", "kinds", "status", "waiting", "dead"];
const TESTED: [&str; 4] = ["acknowledged", "status", "problem", "auditId"];
const DELIVERY: [&str; 5] = ["auditId", "status", "attempts", "nextAt", "problem"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach webhook create https://hooks.example.com/kavach --kind 'agent.*,user.banned'
  kavach webhook test webhook_01h455vb4pex5vsknk084sn02q";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Webhook {
    /// Make a webhook; the secret that its messages are signed with is printed once
    Create(Create),
    /// List webhooks, newest first
    List(Page),
    /// Show one webhook
    Show(One),
    /// Change a webhook, pause it, or let it go on
    Update(Update),
    /// Give a webhook a new secret; for a while messages are signed with the old one too
    Rotate(Rotate),
    /// Send a message at once and say what came of it; exits with 1 if it was not acknowledged
    Test(One),
    /// List what a webhook was not told yet, or not at all
    Deliveries(Deliveries),
    /// Tell of one record again, or of everything that was given up
    Redeliver(Redeliver),
    /// Delete a webhook and what it was not told yet
    Delete(One),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The webhook's id
    webhook: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Where to: an https address, of a host whose addresses are public
    #[arg(value_name = "URL")]
    to: String,
    /// What it is told of: a kind as in `agent.revoked`, the beginning of some as in `agent.*`, or `*`; may be given several times
    #[arg(
        long = "kind",
        value_name = "KIND",
        required = true,
        value_delimiter = ','
    )]
    kinds: Vec<String>,
    /// Tell it of refusals too
    #[arg(long)]
    denials: bool,
    /// For display
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    one: One,
    /// Where to
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// What it is told of, instead of what it was; may be given several times
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Whether it is told of refusals too
    #[arg(long)]
    denials: Option<bool>,
    /// The name, or `none`
    #[arg(long, value_parser = args::text_or_none)]
    name: Option<Value>,
    /// Whether it is told anything; what happens while it is paused, it is told later
    #[arg(long)]
    status: Option<State>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Active,
    Paused,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    one: One,
    /// How long the old secret signs beside the new one [default: a day]
    #[arg(long, value_name = "SECONDS")]
    overlap_seconds: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Redeliver {
    #[command(flatten)]
    one: One,
    /// The record; without it, everything that was given up
    #[arg(long, value_name = "ID")]
    audit: Option<String>,
}

impl Webhook {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let none = Query::default;
        match self {
            Self::Create(create) => show_new(output, &create.send(client).await?),
            Self::List(page) => {
                output.table(&client.get(LIST, &page.on(none())).await?, &COLUMNS);
            }
            Self::Show(one) => {
                output.record(&client.get(&one.path(""), &none()).await?, &MEMBERS);
            }
            Self::Update(update) => output.record(&update.send(client).await?, &MEMBERS),
            Self::Rotate(rotate) => show_new(output, &rotate.send(client).await?),
            Self::Test(one) => return one.test(client, output).await,
            Self::Deliveries(deliveries) => {
                let (path, query) = (deliveries.one.path("/deliveries"), none());
                let answer = client.get(&path, &deliveries.page.on(query)).await?;
                output.table(&answer, &DELIVERY);
            }
            Self::Redeliver(again) => output.record(&again.send(client).await?, &["auditId"]),
            Self::Delete(one) => output.record(&client.delete(&one.path("")).await?, &REVOKED),
        }
        Ok(Outcome::Done)
    }
}

impl One {
    fn path(&self, rest: &str) -> String {
        format!("{}{rest}", path("webhooks", &self.webhook))
    }

    async fn test(&self, client: &Client, output: &mut Output) -> Result<Outcome, Failure> {
        let answer = client.post(&self.path("/test"), None).await?;
        output.record(&answer, &TESTED);
        let acknowledged = answer.data().get("acknowledged").and_then(Value::as_bool);
        Ok(if acknowledged == Some(true) {
            Outcome::Done
        } else {
            Outcome::Refused
        })
    }
}

impl Create {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("url", Some(self.to))
            .with("kinds", Some(self.kinds))
            .with("denials", self.denials.then_some(true))
            .with("name", self.name);
        client.post(LIST, Some(&body.object())).await
    }
}

impl Update {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let status = self.status.map(|state| match state {
            State::Active => "active",
            State::Paused => "paused",
        });
        let body = Members::default()
            .with("url", self.to)
            .with("kinds", (!self.kinds.is_empty()).then_some(self.kinds))
            .with("denials", self.denials)
            .with("name", self.name)
            .with("status", status);
        client.patch(&self.one.path(""), &body.change()?).await
    }
}

impl Rotate {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default().with("overlapSeconds", self.overlap_seconds);
        let path = self.one.path("/rotate");
        client.post(&path, Some(&body.object())).await
    }
}

impl Redeliver {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default().with("auditId", self.audit);
        let path = self.one.path("/redeliver");
        client.post(&path, Some(&body.object())).await
    }
}

fn show_new(output: &mut Output, answer: &Answer) {
    output.record(answer, &MEMBERS);
    if output.form() == Form::Text && answer.data().get("secret").is_some_and(Value::is_string) {
        output.note("keep the secret now: it is not shown again");
    }
}
