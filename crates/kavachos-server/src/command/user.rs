//! `kavach user`: the humans for whom agents act.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page, Permissions};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};

const MEMBERS: [&str; 12] = [
    "id",
    "status",
    "bannedUntil",
    "role",
    "email",
    "emailVerified",
    "name",
    "external",
    "permissions",
    "agents",
    "createdAt",
    "narrowed",
];
const IMPERSONATION: [&str; 5] = ["id", "token", "userId", "impersonatedBy", "expiresAt"];
const COLUMNS: [&str; 8] = [
    "id",
    "status",
    "role",
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
    List(List),
    /// Show one human
    Show(One),
    /// Change a human
    Update(Update),
    /// Stop a human and everything below for a while
    Ban(Ban),
    /// Let a banned human go on
    Unban(One),
    /// Stop a human and everything below for good
    Delete(One),
    /// Give a human a role, or take it away; their sessions end
    Role(SetRole),
    /// Have a human set a new password by mail; their sessions end
    RequireReset(One),
    /// Take off the codes of an app that a human lost, and passkeys if asked; their sessions end
    RemoveFactors(RemoveFactors),
    /// End all sessions of a human
    SignOut(One),
    /// Act in a human's name for up to an hour, on record; the token is printed once
    Impersonate(Impersonate),
    /// Let new humans of outside providers in again, and clients that are known by a document, which wait since a backup
    /// was restored
    Admit,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The human: an id, an e-mail address or `provider:id`
    user: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those whose e-mail address or name begins with this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// The one with this e-mail address
    #[arg(long)]
    email: Option<String>,
    /// The one whom an outside provider knows by this id
    #[arg(long, value_name = "PROVIDER:ID", value_parser = args::external)]
    external: Option<Value>,
    /// Those with this status: active, banned or revoked
    #[arg(long)]
    status: Option<String>,
    /// Those with this role: member, admin or owner
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Ban {
    #[command(flatten)]
    one: One,
    /// When it ends by itself
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why; it stands in the record
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SetRole {
    #[command(flatten)]
    one: One,
    /// The role from now on: member, admin or owner
    role: String,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveFactors {
    #[command(flatten)]
    one: One,
    /// Their passkeys too
    #[arg(long)]
    passkeys: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Impersonate {
    #[command(flatten)]
    one: One,
    /// Why; it stands in the record
    #[arg(long)]
    reason: String,
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
    /// What they are trusted with beyond what is their own: member, admin or owner
    #[arg(long)]
    role: Option<String>,
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
    /// Take the identity at another provider away; all their sessions end
    #[arg(long)]
    no_external: bool,
}

impl User {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Create(create) => output.record(&create.send(client).await?, &MEMBERS),
            Self::List(list) => {
                output.table(&client.get("/api/v1/users", &list.query()).await?, &COLUMNS);
            }
            Self::Show(one) => output.record(
                &client
                    .get(&one.path(client, "").await?, &Query::default())
                    .await?,
                &MEMBERS,
            ),
            Self::Update(update) => output.record(&update.send(client).await?, &MEMBERS),
            Self::Ban(ban) => output.record(&ban.send(client).await?, &REVOKED),
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
            Self::Role(role) => output.record(&role.send(client).await?, &REVOKED),
            Self::RequireReset(one) => output.record(
                &client
                    .post(&one.path(client, "/require-reset").await?, None)
                    .await?,
                &REVOKED,
            ),
            Self::RemoveFactors(lost) => output.record(&lost.send(client).await?, &REVOKED),
            Self::SignOut(one) => output.record(
                &client.delete(&one.path(client, "/sessions").await?).await?,
                &REVOKED,
            ),
            Self::Impersonate(impersonate) => impersonate.show(client, output).await?,
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

impl List {
    fn query(&self) -> Query {
        let known = |member: &str| self.external.as_ref()?.get(member)?.as_str();
        let query = Query::default()
            .with("provider", known("provider"))
            .with("externalId", known("externalId"))
            .with("search", self.search.as_ref())
            .with("email", self.email.as_ref())
            .with("status", self.status.as_ref())
            .with("role", self.role.as_ref());
        self.page.on(query)
    }
}

impl Ban {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("until", self.until)
            .with("reason", self.reason);
        let path = self.one.path(client, "/ban").await?;
        client.post(&path, Some(&body.object())).await
    }
}

impl SetRole {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default().with("role", Some(self.role));
        let path = self.one.path(client, "/role").await?;
        client.post(&path, Some(&body.object())).await
    }
}

impl RemoveFactors {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let both = self.passkeys.then(|| vec!["totp", "passkey"]);
        let body = Members::default().with("methods", both);
        let path = self.one.path(client, "/remove-factors").await?;
        client.post(&path, Some(&body.object())).await
    }
}

impl Impersonate {
    async fn show(self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let body = Members::default().with("reason", Some(self.reason));
        let path = self.one.path(client, "/impersonate").await?;
        let opened = client.post(&path, Some(&body.object())).await?;
        output.record(&opened, &IMPERSONATION);
        if output.form() == Form::Text {
            output.note("keep the token now: it is not shown again");
        }
        Ok(())
    }
}

impl Create {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("email", self.email)
            .with("name", self.name)
            .with("external", self.external)
            .with("role", self.role)
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
            .with("external", self.no_external.then_some(Value::Null))
            .with("permissions", permissions);
        client
            .patch(&self.one.path(client, "").await?, &body.change()?)
            .await
    }
}
