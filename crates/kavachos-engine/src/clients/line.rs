//! Lines: what a client that was let in shows for tokens. A line is a key of the client's agent that nobody ever sees.

use std::time::Duration;

use kavachos_core::client;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_core::token::Leaf;
use kavachos_store::refresh_line::{self, LineRow};
use kavachos_store::{Batch, agent};
use serde_json::json;

use super::Client;
use crate::act::Act;
use crate::actor::Actor;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::Result;
use crate::master::mac;
use crate::signing_keys::KeyPurpose;
use crate::users::raised;

/// How long a line lives however much it is used.
pub(super) const LINE_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How long it lives that is not used.
pub(super) const LINE_IDLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What is shown of the key of a line among an agent's keys.
pub(super) const SHOWN: &str = "kv_rt_";

/// Why a line ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its code was shown a second time.
    CodeReplayed,
    /// A token was shown that another one had replaced.
    TokenReused,
    /// The client says that it needs it no more.
    GivenBack,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::CodeReplayed => "code_replayed",
            Self::TokenReused => "token_reused",
            Self::GivenBack => "given_back",
        }
    }
}

/// What of a line says what becomes of a token that is shown.
pub(super) fn rotation_of(row: &LineRow) -> client::Line {
    client::Line {
        number: row.number,
        since: row.since,
        repeats: row.repeats,
        is_bound: row.proof_key.is_some(),
    }
}

impl Engine {
    /// The refresh token of a line with this number, always the same, so that a lost answer can be given again.
    ///
    /// # Errors
    /// There is no master key to derive it from.
    pub(super) fn refresh_token(&self, line: SecretHash, number: u64) -> Result<Secret> {
        let master = self.needed_master_key()?;
        let key = mac(
            master.reveal().as_bytes(),
            &[b"kavachos refresh line 1\n", line.as_bytes()],
        );
        let random = mac(&key, &[&number.to_be_bytes()]);
        Ok(Secret::new(SecretKind::Refresh, random))
    }

    /// Ends a key of an agent with all that was made by it, unless it has ended.
    pub(super) async fn end_key(&self, hash: SecretHash, batch: &mut Batch) -> Result<()> {
        let Some(key) = self.store().find(agent::key_by_hash(hash)).await? else {
            return Ok(());
        };
        if key.ended_at.is_some() {
            return Ok(());
        }
        batch.kills.push(raised(key.mark));
        batch.writes.push(agent::end_key(hash, self.now()));
        batch.effects.push(Changed::Key(hash).into());
        Ok(())
    }

    /// Ends a line with every token that was made of it.
    pub(super) async fn end_line(&self, actor: &Actor, line: &LineRow, cause: Cause) -> Result<()> {
        let act = Act::on_agent("connection.line_ended", line.agent);
        self.change(actor, act, || self.plan_line_end(actor, line, cause))
            .await
    }

    /// Ends the line of a refresh token that its client gives back. One that is nobody's, or another client's, is let be.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn give_back(&self, call: &Actor, client: &Client, token: &Secret) -> Result<()> {
        let shown = refresh_line::of_token(token.hash());
        match self.store().find(shown).await? {
            Some(shown) if shown.line.client == client.id.as_str() => {
                self.end_line(call, &shown.line, Cause::GivenBack).await
            }
            _ => Ok(()),
        }
    }

    /// Kills a token that its client gives back, with those of the same line that are still good. The line goes on.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn give_back_access(&self, call: &Actor, client: &Client, token: &str) -> Result<()> {
        let keys = self.key_set(KeyPurpose::Token).await?;
        let Ok(leaf) = Leaf::open(token, &self.settings().issuer, &keys) else {
            return Ok(());
        };
        let Some(key) = leaf.authority.chain.last().and_then(|hop| hop.key) else {
            return Ok(());
        };
        let line = self.store().find(refresh_line::by_key(key.handle)).await?;
        let Some(line) = line.filter(|line| line.client == client.id.as_str()) else {
            return Ok(());
        };
        let act = Act::on_agent("connection.token_given_back", line.agent);
        self.change(call, act, || async {
            let known = self.store().find(agent::key_by_hash(line.id)).await?;
            // It is dead already.
            let Some(known) = known.filter(|known| known.mark == key && known.ended_at.is_none())
            else {
                return Ok(Plan::Done(()));
            };
            let kind = "connection.token_given_back";
            let batch = Batch {
                kills: vec![raised(known.mark)],
                entries: vec![
                    self.line_record(call, &line, (kind, Cause::GivenBack))
                        .await?,
                ],
                effects: vec![Changed::Key(line.id).into()],
                ..Batch::default()
            };
            Ok(Plan::commit(batch, ()))
        })
        .await
    }

    async fn plan_line_end(&self, actor: &Actor, line: &LineRow, cause: Cause) -> Result<Plan<()>> {
        let mut batch = Batch::default();
        self.end_key(line.id, &mut batch).await?;
        if batch.kills.is_empty() {
            return Ok(Plan::Done(()));
        }
        batch.entries.push(
            self.line_record(actor, line, ("connection.line_ended", cause))
                .await?,
        );
        Ok(Plan::commit(batch, ()))
    }

    async fn line_record(
        &self,
        actor: &Actor,
        line: &LineRow,
        (kind, cause): (&'static str, Cause),
    ) -> Result<Entry> {
        let agent = self.agent_row(line.agent).await?;
        let user = self.user_row(agent.root).await?;
        let details = json!({ "client": line.client, "why": cause.as_str() });
        let origin = actor.origin();
        let outcome = match cause {
            Cause::GivenBack => Outcome::Allowed,
            Cause::CodeReplayed | Cause::TokenReused => Outcome::Denied,
        };
        let mut record = origin.record(self.id(), kind, outcome, cause.as_str());
        record.subject = Some(user.pseudonym);
        record.agent = Some(agent.id);
        record.details = Some(&details);
        record.personal.name = Some(&agent.name);
        self.seal(&record)
    }
}
