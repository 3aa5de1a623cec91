//! `kavach session`: humans who are signed in.

use clap::{Args, Subcommand};

use super::{Outcome, REVOKED};
use crate::args::Page;
use crate::client::{Client, Query, path};
use crate::failure::Failure;
use crate::names;
use crate::output::{Form, Output};

const MEMBERS: [&str; 10] = [
    "id",
    "token",
    "userId",
    "status",
    "openedBy",
    "freshUntil",
    "usedAt",
    "idleUntil",
    "expiresAt",
    "createdAt",
];
const COLUMNS: [&str; 7] = [
    "id",
    "shown",
    "status",
    "openedBy",
    "impersonatedBy",
    "usedAt",
    "expiresAt",
];

/// What the help says at its end.
const EXAMPLES: &str = "\
Examples:
  kavach session open ada@example.com --json
  kavach session list demo:ada";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Session {
    /// Open a session for a human; its token is printed once
    Open(Human),
    /// List a human's sessions, newest first
    List(List),
    /// End a session for good
    Revoke(One),
}

#[derive(Debug, Args)]
pub(crate) struct Human {
    /// The human: an id, an e-mail address or `provider:id`
    user: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    human: Human,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The session's id
    session: String,
}

impl Session {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        match self {
            Self::Open(human) => {
                let opened = client.post(&human.sessions(client).await?, None).await?;
                output.record(&opened, &MEMBERS);
                if output.form() == Form::Text {
                    output.note("keep the token now: it is not shown again");
                }
            }
            Self::List(list) => {
                let of = list.human.sessions(client).await?;
                let listed = client.get(&of, &list.page.on(Query::default())).await?;
                output.table(&listed, &COLUMNS);
            }
            Self::Revoke(one) => {
                let ended = client.delete(&path("sessions", &one.session)).await?;
                output.record(&ended, &REVOKED);
            }
        }
        Ok(Outcome::Done)
    }
}

impl Human {
    async fn sessions(&self, client: &Client) -> Result<String, Failure> {
        let id = names::user(client, &self.user).await?;
        Ok(format!("{}/sessions", path("users", &id)))
    }
}
