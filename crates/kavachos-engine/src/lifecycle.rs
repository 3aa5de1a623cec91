//! What happens to an agent after it was created: changed, rotated, suspended, resumed, revoked.
//!
//! Stopping an agent stops everything below it by derivation: only its row, the kill and the record are written.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::constraint::Constraints;
use kavachos_core::grant::{Exchangers, Path, Terms, TokenUses, still_covers};
use kavachos_core::id::AgentId;
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Liveness, Owner, Status};
use kavachos_core::revocation::Mark;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_core::token::PublicKey;
use kavachos_store::agent::{self, AgentRow, ProofKeyRow};
use kavachos_store::grant::{self, GrantRow};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, handle};
use serde_json::Value;

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::agents::{Agent, Contents, check_depth, contents, live_agent};
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::grants::Ask;
use crate::issued::Issued;
use crate::revoked::{Edited, Revoked};
use crate::text;
use crate::users::raised;

/// What to change of an agent; `None` leaves it, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentChange {
    /// The name.
    pub name: Option<String>,
    /// What its root grant permits.
    pub permissions: Option<PermissionSet>,
    /// The root grant's guards.
    pub guards: Option<Option<Constraints>>,
    /// What tokens of the root grant may be used for.
    pub uses: UsesChange,
    /// How deep delegations below it may go.
    pub max_depth: Option<u8>,
    /// When the agent ends.
    pub expires_at: Option<Option<Timestamp>>,
    /// The caller's own object.
    pub metadata: Option<Option<Value>>,
    /// The key that is proved with the agent's tokens. Those made before a change are dead.
    pub proof_key: Option<Option<PublicKey>>,
}

/// What to change of what tokens may be used for; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsesChange {
    /// The tool servers that may exchange tokens.
    pub exchange_by: Option<Exchangers>,
    /// Whether what comes from a bound token may be unbound.
    pub bearer: Option<bool>,
    /// Whether agents may hand tokens on by themselves.
    pub offline: Option<bool>,
}

impl UsesChange {
    /// What is let after the change.
    #[must_use]
    pub fn of(self, before: TokenUses) -> TokenUses {
        TokenUses {
            exchange_by: self.exchange_by.unwrap_or(before.exchange_by),
            bearer: self.bearer.unwrap_or(before.bearer),
            offline: self.offline.unwrap_or(before.offline),
        }
    }
}

impl AgentChange {
    fn touches_grant(&self) -> bool {
        self.permissions.is_some()
            || self.guards.is_some()
            || self.max_depth.is_some()
            || self.uses != UsesChange::default()
    }
}

/// An agent with the human above it, as they are stored.
struct Loaded {
    row: AgentRow,
    user: UserRow,
}

/// Stopping for a while, letting go on, stopping for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Suspend,
    Resume,
    Revoke,
}

impl Turn {
    const fn kind(self) -> &'static str {
        match self {
            Self::Suspend => "agent.suspended",
            Self::Resume => "agent.resumed",
            Self::Revoke => "agent.revoked",
        }
    }

    const fn status(self) -> Status {
        match self {
            Self::Suspend => Status::Suspended,
            Self::Resume => Status::Active,
            Self::Revoke => Status::Revoked,
        }
    }
}

impl Engine {
    /// Changes an agent. Narrower permissions count at once and end what was derived from the wider ones.
    ///
    /// # Errors
    /// The agent is revoked, or more is asked for than its owner has.
    pub async fn change_agent(
        &self,
        actor: &Actor,
        id: AgentId,
        change: &AgentChange,
    ) -> Result<Edited<Agent>> {
        if let Some(name) = &change.name {
            text::plain("name", name, text::MAX_NAME_BYTES)?;
        }
        if let Some(Some(metadata)) = &change.metadata {
            text::metadata(metadata)?;
        }
        check_depth(change.max_depth)?;
        let act = Act::on_agent("agent.updated", id);
        let plan = || self.plan_agent_change(actor, id, change);
        let edited = self.edit(actor, act, plan).await?;
        let view = self.agent_view(self.agent_row(id).await?).await?;
        Ok(edited.with(view))
    }

    async fn plan_agent_change(
        &self,
        actor: &Actor,
        id: AgentId,
        change: &AgentChange,
    ) -> Result<Plan<()>> {
        actor.require(Scope::AgentsWrite)?;
        let Loaded { row, user } = self.standing_agent(id).await?;
        let mut batch = Batch {
            reads: actor.reads(),
            effects: vec![Changed::Agent(id).into()],
            ..Batch::default()
        };
        let mut next = row.clone();
        if let Some(name) = &change.name {
            next.name.clone_from(name);
        }
        if let Some(metadata) = &change.metadata {
            next.metadata = metadata.as_ref().map(Value::to_string);
        }
        if let Some(end) = change.expires_at {
            next.expires_at = end;
            if ends(end) > ends(row.expires_at) {
                self.within_reach(actor, id).await?;
            } else if ends(end) < ends(row.expires_at) {
                batch.kills.push(raised(row.mark));
            }
        }
        if let Some(key) = &change.proof_key {
            // Without the key the agent's own credential does alone, so this is as giving one.
            self.within_reach(actor, id).await?;
            next.proof_key = self
                .change_proof_key(&row, key.as_ref(), &mut batch)
                .await?;
        }
        batch.writes.push(agent::update(next.clone()));
        let terms = if change.touches_grant() {
            Some(
                self.change_root_grant(actor, &row, change, &mut batch)
                    .await?,
            )
        } else {
            None
        };
        batch.entries.push(self.agent_record(
            actor,
            "agent.updated",
            (&next, &user, &self.owners(id).await?),
            terms.as_ref(),
        )?);
        Ok(Plan::commit(batch, ()))
    }

    /// Another key, the first one or none: what was made before is bound to what the agent no longer proves.
    async fn change_proof_key(
        &self,
        row: &AgentRow,
        key: Option<&PublicKey>,
        batch: &mut Batch,
    ) -> Result<Option<ProofKeyRow>> {
        let next = match key {
            Some(key) => Some(self.claim_proof_key(key, row.id, batch).await?),
            None => None,
        };
        if next == row.proof_key {
            return Ok(next);
        }
        let ended = raised(row.mark);
        if !batch.kills.contains(&ended) {
            batch.kills.push(ended);
        }
        batch
            .kills
            .extend(row.proof_key.iter().map(|old| raised(old.mark)));
        Ok(next)
    }

    /// Plans the agent's root grant anew under the same id, by the rules of a new grant.
    pub(crate) async fn change_root_grant(
        &self,
        actor: &Actor,
        row: &AgentRow,
        change: &AgentChange,
        batch: &mut Batch,
    ) -> Result<Terms> {
        let stored = self.grant_row(row.root_grant).await?;
        let old = compile::grant(&stored)?.terms();
        let guards = change
            .guards
            .clone()
            .map_or_else(|| old.guards.clone(), |guards| guards.map(Arc::new));
        let ask = Ask {
            giver: row.owner,
            to: (row.id, row.root),
            permissions: change
                .permissions
                .clone()
                .unwrap_or_else(|| old.permissions.clone()),
            guards,
            uses: change.uses.clone().of(old.uses.clone()),
            max_depth: change.max_depth.or(Some(old.max_depth)),
            expires_at: old.expires_at,
            parent: old.parent,
            reason: None,
        };
        actor.covers(&ask.permissions)?;
        let planned = match row.owner {
            Owner::User(id) => {
                self.plan_root_grant(&compile::user(&self.user_row(id).await?)?, &ask)?
            }
            Owner::Agent(_) => self.plan_grant(actor, &ask).await?,
        };
        let terms = planned.terms;
        if !still_covers(&terms, &old) {
            batch.kills.push(raised(stored.mark));
        }
        let Contents {
            permissions,
            guards,
            uses,
        } = contents(&terms)?;
        batch.reads.extend(planned.reads);
        batch
            .effects
            .extend(Changed::grant(stored.id, stored.receiver));
        batch.writes.push(grant::update(GrantRow {
            permissions,
            guards,
            uses,
            max_depth: terms.max_depth,
            expires_at: terms.expires_at,
            ..stored
        }));
        Ok(terms)
    }

    /// Gives an agent a new key; the old one is dead at once.
    ///
    /// # Errors
    /// The agent or its owner is not live, or the caller is the agent itself.
    pub async fn rotate_agent(
        &self,
        actor: &Actor,
        id: AgentId,
        ttl: Option<Duration>,
    ) -> Result<Issued<Agent>> {
        let secret = self.secret(SecretKind::Agent);
        self.change(actor, Act::on_agent("agent.rotated", id), || {
            self.plan_rotation(actor, id, ttl, &secret)
        })
        .await
    }

    async fn plan_rotation(
        &self,
        actor: &Actor,
        id: AgentId,
        ttl: Option<Duration>,
        secret: &Secret,
    ) -> Result<Plan<Issued<Agent>>> {
        actor.require(Scope::AgentsWrite)?;
        let Loaded { row, user } = self.standing_agent(id).await?;
        if self.done_before(actor).await?.is_some() {
            return Ok(Plan::Done(Issued::replay(self.agent_view(row).await?)));
        }
        self.within_reach(actor, id).await?;
        let facts = self.facts(id).await?;
        if live_agent(&facts, self.now()).is_none() {
            return Err(Error::WrongState(
                "the agent, or someone above it, is not active; resume or extend it first"
                    .to_owned(),
            ));
        }
        let above = self.owners(id).await?;
        let key = self.new_key_row(&row, user.kills, ttl, secret)?;
        let mut batch = Batch {
            reads: actor.reads(),
            // The version makes two rotations at the same time one after the other.
            writes: vec![agent::update(row.clone())],
            entries: vec![self.agent_record(
                actor,
                "agent.rotated",
                (&row, &user, &above),
                None,
            )?],
            effects: vec![Changed::Agent(id).into(), Changed::Key(key.hash).into()],
            ..Batch::default()
        };
        batch.reads.extend([row.mark, user.mark]);
        for old in self.store().list(agent::active_keys(id)).await? {
            batch.kills.push(raised(old.mark));
            batch.writes.push(agent::end_key(old.hash, self.now()));
            batch.effects.push(Changed::Key(old.hash).into());
        }
        batch
            .writes
            .extend([agent::insert_key(key.clone()), handle::born(key.mark)]);
        self.claim_once(actor, &mut batch, id.to_string());
        let mut view = self.agent_view(row).await?;
        view.key_expires_at = Some(key.expires_at);
        Ok(Plan::commit(batch, Issued::new(view, secret.clone())))
    }

    /// Stops an agent and everything below it until it is resumed. Its key stays dead for good.
    ///
    /// # Errors
    /// The agent is not active.
    pub async fn suspend_agent(&self, actor: &Actor, id: AgentId) -> Result<Issued<Revoked>> {
        self.turn_agent(actor, id, Turn::Suspend).await
    }

    /// Lets a suspended agent's grants live again. It gets no key: rotate afterwards.
    ///
    /// # Errors
    /// The agent is not suspended.
    pub async fn resume_agent(&self, actor: &Actor, id: AgentId) -> Result<Issued<Agent>> {
        let turned = self.turn_agent(actor, id, Turn::Resume).await?;
        Ok(turned.with(self.agent_view(self.agent_row(id).await?).await?))
    }

    /// Stops an agent and everything below it for good. Revoking twice is no error.
    ///
    /// # Errors
    /// There is no such agent, or it is not the caller's: an operator's, or the owning agent's.
    pub async fn revoke_agent(&self, actor: &Actor, id: AgentId) -> Result<Revoked> {
        Ok(self.turn_agent(actor, id, Turn::Revoke).await?.thing)
    }

    /// What revokes an agent.
    pub(crate) async fn plan_agent_revoked(
        &self,
        actor: &Actor,
        id: AgentId,
    ) -> Result<Plan<Issued<Revoked>>> {
        self.plan_turn_agent(actor, id, Turn::Revoke).await
    }

    async fn turn_agent(&self, actor: &Actor, id: AgentId, turn: Turn) -> Result<Issued<Revoked>> {
        let act = Act::on_agent(turn.kind(), id);
        self.stop(actor, act, || self.plan_turn_agent(actor, id, turn))
            .await
    }

    async fn plan_turn_agent(
        &self,
        actor: &Actor,
        id: AgentId,
        turn: Turn,
    ) -> Result<Plan<Issued<Revoked>>> {
        let (row, relied_on) = self.stoppable_agent(actor, id, turn).await?;
        if let Some(done) = self.turned_before(actor).await? {
            return Ok(Plan::Done(done));
        }
        let done = Issued::without_token(Revoked::at(self.now()));
        match (turn, row.status) {
            (Turn::Revoke, Status::Revoked) => return Ok(Plan::Done(done)),
            (_, Status::Revoked) => {
                return Err(Error::WrongState(
                    "the agent is revoked; that is for good".to_owned(),
                ));
            }
            (Turn::Suspend, status) if status != Status::Active => {
                return Err(Error::WrongState(
                    "the agent is suspended already".to_owned(),
                ));
            }
            (Turn::Resume, status) if status != Status::Suspended => {
                return Err(Error::WrongState("the agent is not suspended".to_owned()));
            }
            _ => {}
        }
        if turn == Turn::Resume {
            self.within_reach(actor, id).await?;
        }
        let user = self.user_row(row.root).await?;
        let above = self.owners(id).await?;
        let mut next = AgentRow {
            status: turn.status(),
            ..row.clone()
        };
        let mut batch = Batch {
            reads: [actor.reads(), relied_on].concat(),
            effects: vec![Changed::Agent(id).into()],
            ..Batch::default()
        };
        if turn != Turn::Resume {
            next.kills = row.kills.saturating_add(1);
            batch.kills.push(raised(row.mark));
        }
        if turn == Turn::Revoke {
            batch.writes.push(agent::uncount(id, row.root));
            batch.effects.push(Changed::User(row.root).into());
        }
        batch.writes.push(agent::update(next));
        batch
            .entries
            .push(self.agent_record(actor, turn.kind(), (&row, &user, &above), None)?);
        self.claim_once(actor, &mut batch, self.foreseen().to_string());
        Ok(Plan::commit(batch, done))
    }

    /// An agent that the caller may stop: operators any, a human those below, an agent those that it owns, and only for
    /// good. With what that relied on. A human does not let go on what an operator may have stopped.
    async fn stoppable_agent(
        &self,
        actor: &Actor,
        id: AgentId,
        turn: Turn,
    ) -> Result<(AgentRow, Vec<Mark>)> {
        if let Some(person) = actor.person().filter(|_| turn != Turn::Resume) {
            let row = self.agent_row(id).await?;
            self.claim_to_stop((actor, person), row.root, "agent")
                .await?;
            return Ok((row, Vec::new()));
        }
        let Some(me) = actor.agent().filter(|_| turn == Turn::Revoke) else {
            actor.require(Scope::AgentsWrite)?;
            return Ok((self.agent_row(id).await?, Vec::new()));
        };
        let relied_on = self.require_live_key(actor, me).await?;
        let row = self.agent_row(id).await?;
        if row.owner == Owner::Agent(me) {
            Ok((row, relied_on))
        } else {
            Err(Error::NotFound("agent"))
        }
    }

    /// Refuses to give a key or a longer life to an agent that may do more than the caller's ceiling allows.
    pub(crate) async fn within_reach(&self, actor: &Actor, id: AgentId) -> Result<()> {
        if !actor.is_bounded() {
            return Ok(());
        }
        // What the agent can redeem counts, too.
        let facts = self.facts_with_reserved(id).await?;
        let now = self.now();
        facts
            .paths
            .iter()
            .filter_map(Path::leaf)
            .filter(|held| held.liveness(now) == Liveness::Live)
            .try_for_each(|held| actor.covers(&held.permissions))
    }

    /// An agent that is not revoked, with its human.
    async fn standing_agent(&self, id: AgentId) -> Result<Loaded> {
        let row = self.agent_row(id).await?;
        if row.status == Status::Revoked {
            return Err(Error::WrongState(
                "the agent is revoked; that is for good".to_owned(),
            ));
        }
        let user = self.user_row(row.root).await?;
        Ok(Loaded { row, user })
    }
}

/// No end is later than any.
fn ends(at: Option<Timestamp>) -> Timestamp {
    at.unwrap_or(Timestamp::MAX)
}
