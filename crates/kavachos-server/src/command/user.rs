//! `kavach user`: the humans for whom agents act.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page, Permissions};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::Output;

const MEMBERS: [&str; 9] = [
    "id",
    "status",
    "email",
    "name",
    "external",
    "permissions",
    "agents",
    "createdAt",
    "narrowed",
];
const COLUMNS: [&str; 7] = [
    "id",
    "status",
    "external",
    "email",
    "name",
    "agents",
    "createdAt",
];

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Create a human
    Create(Create),
    /// List humans, newest first
    List(Page),
    /// Show one human
    Show(One),
    /// Change a human
    Update(Update),
    /// Stop a human and everything below for a while
    Ban(One),
    /// Let a banned human go on
    Unban(One),
    /// Stop a human and everything below for good
    Delete(One),
    /// Let new humans of outside providers in again, who wait since a backup was restored
    Admit,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The human: an id, an e-mail address or `provider:id`
    user: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The e-mail address
    #[arg(long)]
    email: Option<String>,
    /// For display
    #[arg(long)]
    name: Option<String>,
    /// The identity at another provider, as in 'demo:ada'
    #[arg(long, value_name = "PROVIDER:ID", value_parser = args::external)]
    external: Option<Value>,
    #[command(flatten)]
    permissions: Permissions,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    one: One,
    /// The e-mail address, or `none`
    #[arg(long, value_parser = args::text_or_none)]
    email: Option<Value>,
    /// The name, or `none`
    #[arg(long, value_parser = args::text_or_none)]
    name: Option<Value>,
    #[command(flatten)]
    permissions: Permissions,
    /// Let agents do everything for this human
    #[arg(long, conflicts_with_all = ["allow", "permission"])]
    everything: bool,
}

impl User {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Create(create) => output.record(&create.send(client).await?, &MEMBERS),
            Self::List(page) => output.table(
                &client
                    .get("/api/v1/users", &page.on(Query::default()))
                    .await?,
                &COLUMNS,
            ),
            Self::Show(one) => output.record(
                &client
                    .get(&one.path(client, "").await?, &Query::default())
                    .await?,
                &MEMBERS,
            ),
            Self::Update(update) => output.record(&update.send(client).await?, &MEMBERS),
            Self::Ban(one) => output.record(
                &client.post(&one.path(client, "/ban").await?, None).await?,
                &REVOKED,
            ),
            Self::Unban(one) => output.record(
                &client
                    .post(&one.path(client, "/unban").await?, None)
                    .await?,
                &MEMBERS,
            ),
            Self::Delete(one) => output.record(
                &client.delete(&one.path(client, "").await?).await?,
                &REVOKED,
            ),
            Self::Admit => output.record(
                &client.post("/api/v1/users/admit", None).await?,
                &["wereHeld"],
            ),
        }
        Ok(Outcome::Done)
    }
}

impl One {
    async fn path(&self, client: &Client, rest: &str) -> Result<String, Failure> {
        let id = names::user(client, &self.user).await?;
        Ok(format!("{}{rest}", path("users", &id)))
    }
}

impl Create {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("email", self.email)
            .with("name", self.name)
            .with("external", self.external)
            .with("permissions", self.permissions.list());
        client.post("/api/v1/users", Some(&body.object())).await
    }
}

impl Update {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let permissions = if self.everything {
            Some(Value::Null)
        } else {
            self.permissions.list()
        };
        let body = Members::default()
            .with("email", self.email)
            .with("name", self.name)
            .with("permissions", permissions);
        client
            .patch(&self.one.path(client, "").await?, &body.change()?)
            .await
    }
}
