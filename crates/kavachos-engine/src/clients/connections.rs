//! What a human let clients be, told to the human; and the end of what nobody uses any more.
//!
//! Promises: a connection all of whose keys, lines among them, have been over for so long that they are forgotten, ends by
//! itself, with a record: it does not count among the human's agents for ever. What the human said yes to goes with it.

use kavachos_core::client::ClientMetadata;
use kavachos_core::id::{AgentId, ToolServerId, UserId};
use kavachos_core::ledger::{Actor as Name, Entry, Outcome, Record};
use kavachos_core::principal::Status;
use kavachos_core::time::Timestamp;
use kavachos_store::agent;
use kavachos_store::connection::{self, ConnectionRow, ConsentRow, OverConnection};
use kavachos_store::oauth_client;
use kavachos_store::refresh_line::{self, ToldLine};
use kavachos_store::{Batch, CommitError, tool_server};
use serde::Serialize;

use crate::authenticate::DEAD_KEYS_KNOWN;
use crate::compile;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::Result;
use crate::users::raised;

/// How many lines of one connection are told, the newest.
const LINES_TOLD: usize = 100;
/// How many connections one step ends.
const STEP: usize = 64;
/// How many steps are made at once, 4,096 connections. What is left waits for the next round.
const STEPS_AT_ONCE: usize = 64;

/// An application that a human let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Connection {
    /// The agent that it is.
    pub agent_id: AgentId,
    /// By what the client is known.
    pub client_id: String,
    /// What it calls itself.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
    /// What the human said yes to, for each tool server.
    pub consents: Vec<ConnectionConsent>,
    /// Each time that the human let it in, newest first, for as long as that is known.
    pub lines: Vec<ConnectionLine>,
}

/// What a human said yes to, for one tool server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectionConsent {
    /// The tool server.
    pub resource_id: ToolServerId,
    /// What it is called.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// When.
    pub given_at: Timestamp,
}

/// One time that a human let an application in, and what it made of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectionLine {
    /// Since when.
    pub since: Timestamp,
    /// When it last asked for tokens; `null` where it never did.
    pub used_at: Option<Timestamp>,
    /// When it ended, or ends unless it is used.
    pub ends_at: Timestamp,
}

impl From<ToldLine> for ConnectionLine {
    fn from((since, number, used_at, idle_ends_at, expires_at, ended_at): ToldLine) -> Self {
        let ends_at = idle_ends_at.min(expires_at);
        Self {
            since,
            used_at: (number > 0).then_some(used_at),
            ends_at: ended_at.map_or(ends_at, |ended| ended.min(ends_at)),
        }
    }
}

impl Engine {
    /// What the human let in, the newest first: at most so many, after this one.
    pub(crate) async fn connections_of(
        &self,
        human: UserId,
        (after, limit): (Option<AgentId>, usize),
    ) -> Result<Vec<Connection>> {
        let rows = connection::all_of(human, after, limit);
        let mut all = Vec::new();
        for row in self.store().list(rows).await? {
            all.push(self.connection_view(row).await?);
        }
        Ok(all)
    }

    async fn connection_view(&self, row: ConnectionRow) -> Result<Connection> {
        let client = oauth_client::by_id(row.client.clone());
        let client = self.store().find(client).await?;
        let name = match client {
            Some(client) => {
                compile::stored::<ClientMetadata>("metadata", &client.metadata)?.client_name
            }
            None => row.client.clone(),
        };
        let mut consents = Vec::new();
        for consent in (self.store())
            .list(connection::consents_of(row.agent))
            .await?
        {
            consents.push(self.consent_view(consent).await?);
        }
        let lines = refresh_line::told_of(row.agent, LINES_TOLD);
        let lines = self.store().list(lines).await?;
        Ok(Connection {
            agent_id: row.agent,
            client_id: row.client,
            name,
            since: row.created_at,
            consents,
            lines: lines.into_iter().map(ConnectionLine::from).collect(),
        })
    }

    async fn consent_view(&self, row: ConsentRow) -> Result<ConnectionConsent> {
        let server = self.store().find(tool_server::by_id(row.server)).await?;
        Ok(ConnectionConsent {
            resource_id: row.server,
            name: server.map_or_else(String::new, |server| server.name),
            scopes: row.scopes.split(' ').map(str::to_owned).collect(),
            given_at: row.given_at,
        })
    }

    /// Ends connections whose keys are all forgotten, and forgets those that had ended.
    pub(crate) async fn end_unused_connections(&self) -> Result<()> {
        let before = self.now().minus(DEAD_KEYS_KNOWN);
        for _ in 0..STEPS_AT_ONCE {
            let over = self.store().list(connection::over(before, STEP)).await?;
            if over.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for one in &over {
                self.end_unused(one, &mut batch)?;
            }
            let is_kill = !batch.kills.is_empty();
            if is_kill {
                batch.effects.push(Changed::Kills.into());
            }
            match self.store().commit(batch).await {
                Ok(_) if is_kill => self.keep_checkpoint().await,
                Ok(_) => {}
                // Somebody let one of them in again: what is left waits for the next round.
                Err(CommitError::Conflict { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn end_unused(&self, one: &OverConnection, batch: &mut Batch) -> Result<()> {
        let agent = &one.agent;
        batch.writes.extend(connection::forget(agent.id));
        if one.status == Status::Revoked {
            return Ok(());
        }
        batch.kills.push(raised(agent.mark));
        // Off the count first, as long as it is in it.
        let end = [
            agent::uncount(agent.id, agent.root),
            agent::revoke(agent.id),
        ];
        batch.writes.extend(end);
        batch.effects.push(Changed::Agent(agent.id).into());
        batch.effects.push(Changed::User(agent.root).into());
        batch.entries.push(self.unused_record(one)?);
        Ok(())
    }

    fn unused_record(&self, one: &OverConnection) -> Result<Entry> {
        let system = Name::System;
        let mut record = Record::new(self.id(), "agent.revoked", Outcome::Allowed, "done", system);
        record.agent = Some(one.agent.id);
        record.subject = Some(one.agent.subject);
        record.reason =
            Some("its application was let in long ago, and has had nothing to show for 30 days");
        self.seal(&record)
    }
}
