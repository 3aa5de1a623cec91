//! `kavach agent`: agents from their creation to their end.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page, Permissions, Uses};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};
use crate::view;

const MEMBERS: [&str; 20] = [
    "id",
    "name",
    "type",
    "status",
    "ownerId",
    "userId",
    "permissions",
    "guards",
    "exchangeBy",
    "bearer",
    "offline",
    "grantId",
    "maxDepth",
    "expiresAt",
    "keyExpiresAt",
    "metadata",
    "proofKey",
    "createdAt",
    "narrowed",
    "token",
];
const COLUMNS: [&str; 6] = ["id", "name", "type", "status", "ownerId", "createdAt"];

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Create an agent; its key is printed once
    Create(Box<Create>),
    /// List agents, newest first
    List(List),
    /// Show one agent
    Show(One),
    /// Change an agent
    Update(Box<Update>),
    /// Give an agent a new key, printed once; the old one is dead at once
    Rotate(Rotate),
    /// Stop an agent and everything below it for a while
    Suspend(One),
    /// Let a suspended agent go on; it needs a new key then, from `rotate`
    Resume(One),
    /// Stop an agent and everything below it for good
    Revoke(One),
    /// Show what an agent may do, and through whom
    Permissions(Paths),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The agent: its id, or its name if no other has it
    agent: String,
}

#[derive(Debug, Args)]
pub(crate) struct Paths {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Acts on its own within its authority
    Autonomous,
    /// Acts for a human who is present
    Delegated,
    /// A program that is no model
    Service,
}

impl Kind {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

#[derive(Debug, Args)]
#[group(id = "owners", required = true, multiple = false, args = ["owner", "owner_external"])]
pub(crate) struct Create {
    /// The human or agent that owns it: an id, an e-mail address, `provider:id`, or an agent's name
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// A human of another identity provider, created on first mention
    #[arg(long, value_name = "PROVIDER:ID", value_parser = args::external)]
    owner_external: Option<Value>,
    /// For display
    #[arg(long)]
    name: String,
    /// What it is for; this changes no decision
    #[arg(long = "type", value_enum, default_value = "autonomous")]
    kind: Kind,
    #[command(flatten)]
    permissions: Permissions,
    /// Constraints on everything it may do, as JSON
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    guards: Option<Value>,
    #[command(flatten)]
    uses: Uses,
    /// How deep delegations below it may go
    #[arg(long, value_name = "N")]
    max_depth: Option<u8>,
    /// Which grant of the owning agent the authority comes from
    #[arg(long, value_name = "GRANT")]
    parent: Option<String>,
    /// When the agent ends (RFC 3339)
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// How long its first key works, as in `12h`
    #[arg(long, value_name = "TIME SPAN", value_parser = args::seconds)]
    key_ttl: Option<u64>,
    /// A JSON object of your own
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    metadata: Option<Value>,
    /// The public key that is proved with its tokens, as a JSON Web Key
    #[arg(long, value_name = "JWK", value_parser = args::json_value)]
    proof_key: Option<Value>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this human or agent
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Only those that are active, suspended or revoked
    #[arg(long)]
    status: Option<String>,
    /// Only those of this type
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    one: One,
    /// The new name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    permissions: Permissions,
    /// Constraints on everything it may do, as JSON, or `none`
    #[arg(long, value_name = "JSON", value_parser = args::json_or_none)]
    guards: Option<Value>,
    #[command(flatten)]
    uses: Uses,
    /// How deep delegations below it may go
    #[arg(long, value_name = "N")]
    max_depth: Option<u8>,
    /// When the agent ends (RFC 3339), or `none`
    #[arg(long, value_name = "TIME", value_parser = args::text_or_none)]
    expires_at: Option<Value>,
    /// A JSON object of your own, or `none`
    #[arg(long, value_name = "JSON", value_parser = args::json_or_none)]
    metadata: Option<Value>,
    /// The public key that is proved with its tokens, as a JSON Web Key, or `none`
    #[arg(long, value_name = "JWK", value_parser = args::json_or_none)]
    proof_key: Option<Value>,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    one: One,
    /// How long the new key works, as in `12h`
    #[arg(long, value_name = "TIME SPAN", value_parser = args::seconds)]
    key_ttl: Option<u64>,
}

impl Agent {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Create(create) => show_new(output, &create.send(client).await?),
            Self::List(list) => output.table(&list.send(client).await?, &COLUMNS),
            Self::Show(one) => output.record(
                &client
                    .get(&one.path(client, "").await?, &Query::default())
                    .await?,
                &MEMBERS,
            ),
            Self::Update(update) => output.record(&update.send(client).await?, &MEMBERS),
            Self::Rotate(rotate) => show_new(output, &rotate.send(client).await?),
            Self::Suspend(one) => output.record(
                &client
                    .post(&one.path(client, "/suspend").await?, None)
                    .await?,
                &REVOKED,
            ),
            Self::Resume(one) => output.record(
                &client
                    .post(&one.path(client, "/resume").await?, None)
                    .await?,
                &MEMBERS,
            ),
            Self::Revoke(one) => output.record(
                &client.delete(&one.path(client, "").await?).await?,
                &REVOKED,
            ),
            Self::Permissions(paths) => show_authority(output, &paths.send(client).await?),
        }
        Ok(Outcome::Done)
    }
}

impl One {
    async fn path(&self, client: &Client, rest: &str) -> Result<String, Failure> {
        let id = names::agent(client, &self.agent).await?;
        Ok(format!("{}{rest}", path("agents", &id)))
    }
}

impl Paths {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let path = self.one.path(client, "/permissions").await?;
        client.get(&path, &self.page.on(Query::default())).await
    }
}

impl Create {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let permissions = self.permissions.required()?;
        let owner = match &self.owner {
            Some(owner) => Some(names::owner(client, owner).await?),
            None => None,
        };
        let body = Members::default()
            .with("ownerId", owner)
            .with("owner", self.owner_external)
            .with("name", Some(self.name))
            .with("type", Some(self.kind.name()))
            .with("permissions", Some(permissions))
            .with("guards", self.guards)
            .with_all(self.uses.members())
            .with("maxDepth", self.max_depth)
            .with("parent", self.parent)
            .with("expiresAt", self.expires_at)
            .with("keyTtlSeconds", self.key_ttl)
            .with("metadata", self.metadata)
            .with("proofKey", self.proof_key);
        client.post("/api/v1/agents", Some(&body.object())).await
    }
}

impl List {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let owner = match &self.owner {
            Some(owner) => Some(names::owner(client, owner).await?),
            None => None,
        };
        let query = Query::default()
            .with("ownerId", owner)
            .with("status", self.status);
        client
            .get(
                "/api/v1/agents",
                &self.page.on(query.with("type", self.kind.map(Kind::name))),
            )
            .await
    }
}

impl Update {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("name", self.name)
            .with("permissions", self.permissions.list())
            .with("guards", self.guards)
            .with_all(self.uses.members())
            .with("maxDepth", self.max_depth)
            .with("expiresAt", self.expires_at)
            .with("metadata", self.metadata)
            .with("proofKey", self.proof_key)
            .change()?;
        client.patch(&self.one.path(client, "").await?, &body).await
    }
}

impl Rotate {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("keyTtlSeconds", self.key_ttl)
            .object();
        client
            .post(&self.one.path(client, "/rotate").await?, Some(&body))
            .await
    }
}

/// Shows a thing that came with a credential.
fn show_new(output: &mut Output, answer: &Answer) {
    output.record(answer, &MEMBERS);
    if output.form() == Form::Text && answer.data().get("token").is_some_and(Value::is_string) {
        output.note("keep the token now: it is not shown again");
    }
}

fn show_authority(output: &mut Output, answer: &Answer) {
    if output.form() == Form::Json {
        return output.answer(answer);
    }
    if answer.items().is_empty() {
        return output.line("nothing found");
    }
    for authority in answer.items() {
        let live = if authority.get("live") == Some(&json!(true)) {
            "live"
        } else {
            "not live"
        };
        let user = authority
            .get("userId")
            .and_then(Value::as_str)
            .unwrap_or("-");
        output.line(&format!("through {user} ({live})"));
        for hop in authority
            .get("path")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let lines = view::record(
                hop,
                &[
                    "from",
                    "to",
                    "grantId",
                    "permissions",
                    "guards",
                    "expiresAt",
                ],
            );
            output.lines(lines.into_iter().map(|line| format!("  {line}")));
            output.line("");
        }
    }
    output.note_more(answer);
}
