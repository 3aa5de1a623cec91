//! `kavach keys`: the keys that a server signs with. Those that programs call the API with are `kavach key`'s.

mod root;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

pub(crate) use self::root::Root;
use super::Outcome;
use crate::answer::Answer;
use crate::args::Members;
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::view;

const COLUMNS: [&str; 7] = [
    "kid",
    "purpose",
    "algorithm",
    "state",
    "createdAt",
    "signsSince",
    "publishedUntil",
];

/// What the help says at its end.
const EXAMPLES: &str = "\
These keys never leave the server: their public halves are at /.well-known/jwks.json, for whoever verifies tokens. A key \
of a program or a person, which begins with kv_key_, is a matter of `kavach key`.

Examples:
  kavach keys list
  kavach keys rotate --purpose token
  kavach keys root request > request.json
  kavach keys retire UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Keys {
    /// List the keys that sign, that will, and the last ones that did, newest first
    List,
    /// Have the next keys of a purpose sign; what the present ones signed stays good until its end
    Rotate(Rotate),
    /// Take a key out of use at once, because others may have seen it: nothing that it signed holds any more
    Retire(Retire),
    /// Replace the keys of the feed by a document that a key signs which is kept offline
    #[command(subcommand)]
    Root(Root),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// What the keys sign
    #[arg(long)]
    purpose: Purpose,
}

#[derive(Debug, Args)]
pub(crate) struct Retire {
    /// The key's name, as `kavach keys list` shows it
    #[arg(allow_hyphen_values = true)]
    kid: String,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    /// Tokens that agents show to tool servers
    Token,
    /// Heads of the log of revocations
    Feed,
    /// Heads of the ledger
    Checkpoint,
    /// What servers behind proxies are told of calls
    Assertion,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Feed => "feed",
            Self::Checkpoint => "checkpoint",
            Self::Assertion => "assertion",
        }
    }
}

impl Keys {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::List => {
                let listed = client
                    .get("/api/v1/signing-keys", &Query::default())
                    .await?;
                output.table(&listed, &COLUMNS);
            }
            Self::Rotate(Rotate { purpose }) => {
                let body = Members::default().with("purpose", Some(purpose.as_str()));
                show_published(output, &changed(client, "rotate", body).await?);
            }
            Self::Retire(Retire { kid }) => {
                let body = Members::default().with("kid", Some(kid));
                show_published(output, &changed(client, "retire", body).await?);
            }
            Self::Root(root) => return root.run(client, output).await,
        }
        Ok(Outcome::Done)
    }
}

async fn changed(client: &Client, how: &str, body: Members) -> Result<Answer, Failure> {
    let path = format!("/api/v1/signing-keys/{how}");
    client.post(&path, Some(&body.object())).await
}

/// The keys that are published after a change.
fn show_published(output: &mut Output, answer: &Answer) {
    if output.form() == Form::Json {
        return output.answer(answer);
    }
    let keys = answer.data().get("keys").and_then(Value::as_array);
    output.lines(view::table(keys.map_or(&[], Vec::as_slice), &COLUMNS));
}
