//! Humans end what they let clients be: all of it, one time that they let it in, or that they are not asked again.
//!
//! Promises: to stop is always easy, so it takes no fresh session; whoever may stop the agent that a client is may do it, and
//! nobody else learns that there is one. A line that is ended takes every token that was made of it along, and leaves the others
//! as they are.

use kavachos_core::id::{AgentId, ToolServerId};
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_store::connection::{self, ConnectionRow};
use kavachos_store::{Batch, refresh_line};
use serde_json::json;

use super::connections::{CONNECTION, LineName};
use super::line::Cause;
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::revoked::Revoked;

impl Engine {
    /// Ends an application that a human let in: its agent is revoked, with every line and token. Ending it twice is no error.
    ///
    /// # Errors
    /// The agent is no application that somebody let in, or not the caller's to stop.
    pub async fn revoke_connection(&self, actor: &Actor, id: AgentId) -> Result<Revoked> {
        let ended = self.stop(actor, Act::on_agent("agent.revoked", id), || async {
            self.stoppable_connection(actor, id).await?;
            self.plan_agent_revoked(actor, id).await
        });
        Ok(ended.await?.thing)
    }

    /// Ends a line of an application with every token that was made of it; the others go on. Ending it twice is no error.
    ///
    /// # Errors
    /// There is no such line, or it is not the caller's to stop.
    pub async fn revoke_line(&self, actor: &Actor, id: AgentId, line: LineName) -> Result<Revoked> {
        let kind = "connection.line_ended";
        self.stop(actor, Act::on_agent(kind, id), || async {
            self.stoppable_connection(actor, id).await?;
            let known = refresh_line::of_agent(id, line.0);
            let known = self.store().find(known).await?;
            let known = known.ok_or(Error::NotFound("line"))?;
            let mut batch = Batch {
                reads: actor.reads(),
                ..Batch::default()
            };
            self.end_key(known.id, &mut batch).await?;
            let done = Revoked::at(self.now());
            if batch.kills.is_empty() {
                return Ok(Plan::Done(done));
            }
            let entry = self.line_record(actor, &known, (kind, Cause::Stopped));
            batch.entries.push(entry.await?);
            Ok(Plan::commit(batch, done))
        })
        .await
    }

    /// Forgets what a human said yes to for one tool server: they are asked before the application is let in anew. What it has
    /// goes on. To forget what is not remembered is no error.
    ///
    /// # Errors
    /// The agent is no application that somebody let in, or not the caller's to stop.
    pub async fn withdraw_consent(
        &self,
        actor: &Actor,
        id: AgentId,
        server: ToolServerId,
    ) -> Result<Revoked> {
        self.stop(actor, Act::on_agent(WITHDRAWN, id), || async {
            let row = self.stoppable_connection(actor, id).await?;
            let consents = self.store().list(connection::consents_of(id)).await?;
            let done = Revoked::at(self.now());
            if consents.iter().all(|consent| consent.server != server) {
                return Ok(Plan::Done(done));
            }
            let batch = Batch {
                reads: actor.reads(),
                writes: vec![connection::withdraw(id, server)],
                entries: vec![self.withdrawal_record(actor, &row, server).await?],
                ..Batch::default()
            };
            Ok(Plan::commit(batch, done))
        })
        .await
    }

    /// A connection whose agent the caller may stop: an operator any, a human theirs.
    async fn stoppable_connection(&self, actor: &Actor, id: AgentId) -> Result<ConnectionRow> {
        let Some(person) = actor.person() else {
            actor.require(Scope::AgentsWrite)?;
            return self.connection_row(id).await;
        };
        let row = self.connection_row(id).await?;
        self.claim_to_stop((actor, person), row.user, CONNECTION)
            .await?;
        Ok(row)
    }

    async fn withdrawal_record(
        &self,
        actor: &Actor,
        row: &ConnectionRow,
        server: ToolServerId,
    ) -> Result<Entry> {
        let agent = self.agent_row(row.agent).await?;
        let user = self.user_row(row.user).await?;
        let details = json!({ "client": row.client, "resource": server });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), WITHDRAWN, Outcome::Allowed, "done");
        record.subject = Some(user.pseudonym);
        record.agent = Some(agent.id);
        record.details = Some(&details);
        record.personal.name = Some(&agent.name);
        self.seal(&record)
    }
}

const WITHDRAWN: &str = "connection.consent_withdrawn";
