//! Lines: what a client that was let in shows for tokens. A line is a key of the client's agent that nobody ever sees.

use std::time::Duration;

use kavachos_core::client;
use kavachos_core::id::AgentId;
use kavachos_core::ledger::{self, Entry, Outcome};
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_core::token::Leaf;
use kavachos_store::agent::{self, AgentRow};
use kavachos_store::refresh_line::{self, CodeRow, LineRow};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, handle};
use serde_json::json;

use super::Client;
use super::access::{Access, LineTarget, Way};
use crate::act::Act;
use crate::actor::Actor;
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::Result;
use crate::master::{derived, mac};
use crate::signing_keys::KeyPurpose;
use crate::users::{raised, to_text};

/// How long a line lives however much it is used.
pub(super) const LINE_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How long it lives that is not used.
pub(super) const LINE_IDLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What is shown of the key of a line among an agent's keys.
pub(crate) const SHOWN: &str = "kv_rt_";

/// How long a code may be redeemed.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// How many lines of one connection are in use at once; a further one ends the oldest.
const MAX_LINES: usize = 10;
/// How many codes of one connection wait to be redeemed; a further one takes the place of the oldest.
const MAX_CODES: usize = 5;

/// Why a line ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its code was shown a second time.
    CodeReplayed,
    /// A token was shown that another one had replaced.
    TokenReused,
    /// The client says that it needs it no more.
    GivenBack,
    /// The same, in the name of a client that shows nothing of its own: whoever was shown the token could do so.
    Shown,
    /// Newer ones of the same connection took its place.
    Replaced,
    /// The human, or who looks after them, wants it no more.
    Stopped,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::CodeReplayed => "code_replayed",
            Self::TokenReused => "token_reused",
            Self::GivenBack | Self::Shown => "given_back",
            Self::Replaced => "replaced",
            Self::Stopped => "stopped",
        }
    }
}

/// Says what is wrong with a line that came in from elsewhere.
pub(crate) fn check_line(row: &LineRow) -> Result<()> {
    compile::stored::<Vec<LineTarget>>("targets", &row.targets).map(drop)
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
        let key = derived(master, &[b"kavachos refresh line 1\n", line.as_bytes()]);
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

    /// A line that begins with the code that has this hash. Its key is nobody's to show: it is drawn, hashed and forgotten.
    pub(super) async fn add_line(
        &self,
        access: &Access,
        (row, user): (&AgentRow, &UserRow),
        (code, line): (SecretHash, &Secret),
        batch: &mut Batch,
    ) -> Result<()> {
        let now = self.now();
        self.drop_waiting(row.id, batch).await?;
        let mut key = self.new_key_row(row, user.kills, Some(LINE_LIFE), line)?;
        SHOWN.clone_into(&mut key.shown);
        batch.writes.push(agent::insert_key(key.clone()));
        batch.writes.push(handle::born(key.mark));
        batch.effects.push(Changed::Key(key.hash).into());
        batch.writes.push(refresh_line::insert(LineRow {
            id: key.hash,
            agent: row.id,
            client: access.client.id.to_string(),
            targets: to_text(&access.line_targets())?,
            proof_key: access.proof_key.map(|print| print.0),
            number: 0,
            since: now,
            repeats: 0,
            idle_ends_at: key.expires_at,
            created_at: now,
        }));
        let mut row = CodeRow {
            hash: code,
            line: key.hash,
            redirect_uri: None,
            challenge: None,
            expires_at: now.plus(CODE_LIFE),
            redeemed_at: None,
        };
        match &access.way {
            Way::Browser {
                redirect_uri,
                challenge,
            } => {
                row.redirect_uri = Some(redirect_uri.to_string());
                row.challenge = Some(*challenge.bytes());
            }
            // The device polls once more, however late its human answers.
            Way::Device { expires_at, .. } => row.expires_at = row.expires_at.max(*expires_at),
        }
        batch.writes.push(refresh_line::insert_code(row));
        Ok(())
    }

    /// Drops the oldest code of an agent that waits, if there is no room for one more. Nothing was made of it, so that nobody is
    /// to be told.
    async fn drop_waiting(&self, agent: AgentId, batch: &mut Batch) -> Result<()> {
        let waiting = refresh_line::waiting_of(agent, MAX_CODES);
        let waiting = self.store().list(waiting).await?;
        if let Some((oldest,)) = waiting.first().filter(|_| waiting.len() >= MAX_CODES) {
            let line = SecretHash::from_bytes(*oldest);
            batch.writes.push(refresh_line::drop_code(line));
            batch.writes.push(agent::end_key(line, self.now()));
            batch.effects.push(Changed::Key(line).into());
        }
        Ok(())
    }

    /// Makes room for one more line of an agent that is used: any page can have codes made, so that what nobody redeemed ends no
    /// line.
    pub(super) async fn end_oldest(
        &self,
        actor: &Actor,
        line: &LineRow,
        batch: &mut Batch,
    ) -> Result<()> {
        let live = refresh_line::used_of(line.agent, self.now(), MAX_LINES);
        let live = self.store().list(live).await?;
        let Some(oldest) = live.first().filter(|_| live.len() >= MAX_LINES) else {
            return Ok(());
        };
        self.end_key(oldest.id, batch).await?;
        let kind = ("connection.line_ended", Cause::Replaced);
        batch
            .entries
            .push(self.line_record(actor, oldest, kind).await?);
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
        // One that is over is no reason to kill those that are not.
        if leaf.life.expires_at <= self.now() || leaf.authority.epoch != self.head().epoch {
            return Ok(());
        }
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
            let cause = match client.metadata.token_endpoint_auth_method {
                client::AuthMethod::None => Cause::Shown,
                _ => Cause::GivenBack,
            };
            // What ends is what was made under the handle; a key that goes on has one that nobody raised.
            let next = self.mark(HandleKind::Key);
            let handles = (known.mark.handle, next.handle);
            let batch = Batch {
                kills: vec![raised(known.mark)],
                writes: vec![handle::born(next), agent::renew_handle(line.id, handles)],
                entries: vec![self.line_record(call, &line, (kind, cause)).await?],
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

    pub(super) async fn line_record(
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
            Cause::GivenBack | Cause::Shown | Cause::Replaced | Cause::Stopped => Outcome::Allowed,
            Cause::CodeReplayed | Cause::TokenReused => Outcome::Denied,
        };
        let mut record = origin.record(self.id(), kind, outcome, cause.as_str());
        if cause == Cause::GivenBack {
            // Its client alone has it. Whoever shows a copy may be anybody.
            record.actor = ledger::Actor::Agent(agent.id);
        }
        record.subject = Some(user.pseudonym);
        record.agent = Some(agent.id);
        record.details = Some(&details);
        record.personal.name = Some(&agent.name);
        self.seal(&record)
    }
}
