//! `kavach client`: OAuth clients.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{Outcome, REVOKED};
use crate::answer::Answer;
use crate::args::{self, Members, Page};
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};

const LIST: &str = "/api/v1/clients";
const MEMBERS: [&str; 12] = [
    "id",
    "name",
    "redirectUris",
    "grantTypes",
    "authMethod",
    "dpopBound",
    "requirePushedRequests",
    "agent",
    "source",
    "status",
    "createdAt",
    "token",
];
const COLUMNS: [&str; 5] = ["id", "name", "redirectUris", "source", "status"];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach client create --name Editor --redirect-uri http://127.0.0.1/callback --auth-method none
  kavach client create --name Nightly --grant-type client_credentials --agent reports
  kavach client create --name TV --grant-type urn:ietf:params:oauth:grant-type:device_code,refresh_token --auth-method none
  kavach client list --source itself
  kavach client deny https://app.example.com/oauth/client.json
  kavach client deny 'https://app.example.com/*'";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum OAuthClient {
    /// Register a client; its secret, if it shows one, is printed once
    Create(Create),
    /// List clients, newest first
    List(List),
    /// Show one client
    Show(One),
    /// Change a client; humans who said yes to it are asked anew, and where something is taken away, tokens that were made
    /// are dead
    Update(Update),
    /// Give a client a new secret, which is printed once; the old one is dead at once
    RotateSecret(One),
    /// Revoke a client, with every token and code that was made for it
    Revoke(One),
    /// Deny a client that is known by its document, also one that nobody used yet; `https://HOST/*` is all of a host
    Deny(One),
    /// Let a client, or the clients of a host, in again that was denied
    Allow(One),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The client's id, or the address of its document
    client: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What humans are told that it is called
    #[arg(long)]
    name: String,
    /// How it shows who it is: `client_secret_basic` (the default), `client_secret_post`, `private_key_jwt` or `none`
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<String>,
    #[command(flatten)]
    said: Said,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Who says what they are
    #[arg(long)]
    source: Option<Source>,
    /// Whether they may ask for anything
    #[arg(long)]
    status: Option<State>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Source {
    /// An operator registered it
    Operator,
    /// It registered itself
    Itself,
    /// The document at the address that is its id
    Document,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Active,
    Revoked,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    one: One,
    /// What humans are told that it is called
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    said: Said,
}

#[derive(Debug, Args)]
struct Said {
    /// Where browsers are sent back to; may be given several times. An update replaces all that there were
    #[arg(long = "redirect-uri", value_name = "URL")]
    redirect_uris: Vec<String>,
    /// What it may ask for: `authorization_code,refresh_token` unless said, and `client_credentials` or
    /// `urn:ietf:params:oauth:grant-type:device_code`. An update replaces all that there were
    #[arg(long = "grant-type", value_name = "TYPE", value_delimiter = ',')]
    grant_types: Vec<String>,
    /// Whether all its tokens are bound to a key (DPoP)
    #[arg(long, value_name = "true|false")]
    dpop_bound: Option<bool>,
    /// Whether it asks humans with requests that it pushed alone (PAR)
    #[arg(long, value_name = "true|false")]
    require_pushed_requests: Option<bool>,
    /// Its public keys as a JSON Web Key Set, or `-` for one on standard input: of one that shows who it is with `private_key_jwt`
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    jwks: Option<Value>,
    /// The agent that it is when it asks for itself, with the grant `client_credentials`: its id or name
    #[arg(long)]
    agent: Option<String>,
}

impl OAuthClient {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Create(create) => show_new(output, &create.send(client).await?),
            Self::List(list) => {
                output.table(&client.get(LIST, &list.query()).await?, &COLUMNS);
            }
            Self::Show(one) => {
                output.record(
                    &client.get(&one.path(""), &Query::default()).await?,
                    &MEMBERS,
                );
            }
            Self::Update(update) => output.record(&update.send(client).await?, &MEMBERS),
            Self::RotateSecret(one) => {
                show_new(output, &client.post(&one.path("/rotate"), None).await?);
            }
            Self::Revoke(one) => output.record(&client.delete(&one.path("")).await?, &REVOKED),
            Self::Deny(one) => {
                output.record(&client.post(&one.path("/deny"), None).await?, &REVOKED);
            }
            Self::Allow(one) => {
                output.record(&client.post(&one.path("/allow"), None).await?, &MEMBERS);
            }
        }
        Ok(Outcome::Done)
    }
}

impl One {
    fn path(&self, rest: &str) -> String {
        format!("{}{rest}", path("clients", &self.client))
    }
}

impl Create {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default()
            .with("name", Some(self.name))
            .with("authMethod", self.auth_method);
        let body = self.said.on(client, body).await?;
        client.post(LIST, Some(&body.object())).await
    }
}

impl List {
    fn query(&self) -> Query {
        let source = self.source.map(|source| match source {
            Source::Operator => "operator",
            Source::Itself => "itself",
            Source::Document => "document",
        });
        let status = self.status.map(|status| match status {
            State::Active => "active",
            State::Revoked => "revoked",
        });
        let query = Query::default().with("source", source);
        self.page.on(query.with("status", status))
    }
}

impl Update {
    async fn send(self, client: &Client) -> Result<Answer, Failure> {
        let body = Members::default().with("name", self.name);
        let body = self.said.on(client, body).await?.change()?;
        client.patch(&self.one.path(""), &body).await
    }
}

impl Said {
    async fn on(self, client: &Client, members: Members) -> Result<Members, Failure> {
        let some = |all: Vec<String>| (!all.is_empty()).then_some(all);
        let agent = match &self.agent {
            Some(agent) => Some(names::agent(client, agent).await?),
            None => None,
        };
        Ok(members
            .with("redirectUris", some(self.redirect_uris))
            .with("grantTypes", some(self.grant_types))
            .with("dpopBound", self.dpop_bound)
            .with("requirePushedRequests", self.require_pushed_requests)
            .with("jwks", self.jwks)
            .with("agent", agent))
    }
}

fn show_new(output: &mut Output, answer: &Answer) {
    output.record(answer, &MEMBERS);
    if output.form() == Form::Text && answer.data().get("token").is_some_and(Value::is_string) {
        output.note("keep the token now: it is not shown again");
    }
}
