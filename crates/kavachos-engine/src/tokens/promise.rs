//! Tokens that one agent has another one get: it gives a grant, and the other makes the token of it, once, with its own
//! key. So a token never passes through the hands of an agent that does not show it. The grant is reserved for that: by
//! itself it gives its receiver nothing.

use kavachos_core::grant::{Path, Standing, TokenUses};
use kavachos_core::id::{AgentId, GrantId};
use kavachos_core::principal::Owner;
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::time::Timestamp;
use kavachos_core::token::Proof;
use kavachos_core::tool_server::Audience;
use kavachos_store::agent::{self, AgentRow};
use kavachos_store::promise::{self, PromiseRow};
use kavachos_store::{handle, token_grant, tool_server};

use super::binding::Parent;
use super::{Minted, TokenAsk, Wanted};
use crate::act::Act;
use crate::actor::{Actor, AgentKey, Caller};
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::grants::{Life, NewDelegation};
use crate::text;

/// How many promises of one agent may be open at once.
const MAX_OPEN: u64 = 100;

/// What comes of asking for a token.
#[derive(Clone)]
pub enum Handed {
    /// The token: its agent is the caller, or the caller's own.
    Token(Box<Minted>),
    /// Another agent may make it, with its own key.
    Promise(Promise),
}

/// A token that an agent was promised by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The grant that it is made of, by whose id it is redeemed.
    pub delegation: GrantId,
    /// The agent that may redeem it.
    pub agent: AgentId,
    /// The tool server that it is for.
    pub audience: Audience,
    /// When it ends, and the token with it.
    pub expires_at: Timestamp,
}

impl Engine {
    /// Makes a token for a tool server; for another agent than the caller's own, what that agent makes it of.
    ///
    /// # Errors
    /// Those of [`Engine::token`] and [`Engine::delegate`].
    pub async fn hand_token(&self, actor: &Actor, ask: &TokenAsk) -> Result<Handed> {
        let Some((key, to)) = self.anothers_agent(actor, ask).await? else {
            let minted = self.token(actor, ask).await?;
            return Ok(Handed::Token(Box::new(minted)));
        };
        text::plain("reason", &ask.reason, text::MAX_REASON_BYTES)?;
        let act = Act::on_agent("delegation.created", to);
        let promise = self
            .change(actor, act, || self.plan_promise(actor, ask, (key, to)))
            .await?;
        Ok(Handed::Promise(promise))
    }

    /// The agent that a calling agent names, where that is neither itself nor its own but of the same human. Of others
    /// it learns nothing.
    async fn anothers_agent<'a>(
        &self,
        actor: &'a Actor,
        ask: &TokenAsk,
    ) -> Result<Option<(&'a AgentKey, AgentId)>> {
        let (Caller::Agent(key), Some(to)) = (&actor.caller, ask.agent) else {
            return Ok(None);
        };
        if to == key.agent {
            return Ok(None);
        }
        let row: Option<AgentRow> = self.store().find(agent::by_id(to)).await?;
        let own = self.agent_row(key.agent).await?;
        let is_anothers =
            |row: &AgentRow| row.owner != Owner::Agent(key.agent) && row.root == own.root;
        Ok(row.filter(is_anothers).map(|row| (key.as_ref(), row.id)))
    }

    async fn plan_promise(
        &self,
        actor: &Actor,
        ask: &TokenAsk,
        (key, to): (&AgentKey, AgentId),
    ) -> Result<Plan<Promise>> {
        let hand = self.giving_hand(actor, ask.proof.as_ref()).await?;
        let target = self.target(ask).await?;
        self.within_promises(key.agent).await?;
        let end = self.now().plus(self.life_of(ask, &target));
        let new = NewDelegation {
            from: Owner::Agent(key.agent),
            to,
            permissions: target.asked.clone(),
            guards: None,
            uses: TokenUses::default(),
            // The key that asks would end the token, too.
            life: Some(Life::Until(end.min(key.expires_at))),
            max_depth: None,
            parent: None,
            reason: ask.reason.clone(),
        };
        let (mut planned, receiver) = self.planned_delegation(actor, &new).await?;
        planned.reserve(ask.audience.clone());
        let mut batch = self.delegation_batch(actor, (&planned, &receiver)).await?;
        batch.reads.extend(hand.reads);
        batch.reads.push(target.server.mark);
        let row = PromiseRow {
            grant: planned.id,
            giver: key.agent,
            receiver: to,
            server: target.server.id,
            bound: hand.proves,
            marks: marks(&batch.reads, planned.mark),
            epoch: self.head().epoch,
            expires_at: planned.terms.expires_at.unwrap_or(end),
            redeemed_at: None,
        };
        batch
            .writes
            .push(promise::insert(&row, self.now(), MAX_OPEN));
        batch
            .writes
            .push(token_grant::insert(planned.id, row.expires_at));
        self.use_proof(ask.proof.as_ref(), &mut batch);
        let promise = Promise {
            delegation: planned.id,
            agent: to,
            audience: ask.audience.clone(),
            expires_at: row.expires_at,
        };
        Ok(Plan::commit(batch, promise))
    }

    /// Says that there are too many; the insert makes sure of it.
    async fn within_promises(&self, giver: AgentId) -> Result<()> {
        let open = self.store().find(promise::open_of(giver, self.now()));
        match open.await? {
            Some((open,)) if open >= MAX_OPEN => Err(Error::LimitExceeded {
                code: "grant_limit_exceeded",
                message: format!(
                    "the agent has {open} delegations that nobody redeemed yet and may have no more; wait until some are \
                     redeemed or over"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Makes the token that the calling agent was promised, once.
    ///
    /// # Errors
    /// There is no such promise for the caller, it is over or was redeemed, anything that it comes from was stopped or
    /// narrowed since, or a proof is needed.
    pub async fn redeem(
        &self,
        actor: &Actor,
        id: GrantId,
        proof: Option<&Proof>,
    ) -> Result<Minted> {
        self.change(actor, Act::on_grant("token.issued", id), || {
            self.plan_redemption(actor, id, proof)
        })
        .await
    }

    async fn plan_redemption(
        &self,
        actor: &Actor,
        id: GrantId,
        proof: Option<&Proof>,
    ) -> Result<Plan<Minted>> {
        let Some(me) = actor.agent() else {
            return Err(Error::NotFound("delegation"));
        };
        let reads = self.require_live_key(actor, me).await?;
        let row = self.store().find(promise::by_grant(id)).await?;
        let row = row.filter(|row| row.receiver == me);
        let row = row.ok_or(Error::NotFound("delegation"))?;
        self.refuse_used(proof).await?;
        self.refuse_ended(&row).await?;
        let facts = self.facts_with_reserved(me).await?;
        let path = self.promised_path(&facts.paths, &row)?;
        let ask = self.promised_ask(&row, path, proof).await?;
        let target = self.target(&ask).await?;
        let mut held = self.held_on(actor, &facts, path).await?;
        held.promise = Some(id);
        held.parent = if row.bound {
            Parent::Bound
        } else {
            Parent::Free
        };
        held.batch.reads.extend(reads);
        held.batch.reads.extend(&row.marks);
        held.batch.writes.push(promise::redeem(id, self.now()));
        let keys = row.marks.iter().filter(|mark| is_key(mark));
        held.others
            .extend(keys.filter(|mark| **mark != target.server.mark));
        self.mint(actor, &ask, (target, held)).await
    }

    /// Refuses a promise that is over, was redeemed, or comes from what was stopped or narrowed since.
    async fn refuse_ended(&self, row: &PromiseRow) -> Result<()> {
        if row.redeemed_at.is_some() {
            return Err(Error::WrongState(
                "this delegation was redeemed already; ask its giver for another".to_owned(),
            ));
        }
        if row.expires_at <= self.now() {
            return Err(Error::WrongState(
                "this delegation is over; ask its giver for another".to_owned(),
            ));
        }
        let handles: Vec<Handle> = row.marks.iter().map(|mark| mark.handle).collect();
        let current = self.store().list(handle::current(&handles)).await?;
        let lives = |mark: &Mark| current.contains(&(mark.handle, mark.generation));
        if row.epoch == self.head().epoch && row.marks.iter().all(lives) {
            return Ok(());
        }
        Err(dead())
    }

    fn promised_path<'a>(&self, paths: &'a [Path], row: &PromiseRow) -> Result<&'a Path> {
        let mut paths = paths.iter();
        paths
            .find(|path| path.leaf().is_some_and(|leaf| leaf.id == row.grant))
            .filter(|path| path.standing(self.now()) == Standing::Live)
            .ok_or_else(dead)
    }

    /// What was promised, as its receiver would ask for it.
    async fn promised_ask(
        &self,
        row: &PromiseRow,
        path: &Path,
        proof: Option<&Proof>,
    ) -> Result<TokenAsk> {
        let server = self.store().find(tool_server::by_id(row.server)).await?;
        let server = server.ok_or_else(dead)?;
        let grant = self.grant_row(row.grant).await?;
        Ok(TokenAsk {
            audience: compile::audience(&server.audience)?,
            wanted: Wanted::Permissions(path.leaf().ok_or_else(dead)?.permissions.clone()),
            ttl: None,
            reason: grant.reason.unwrap_or_default(),
            agent: Some(row.receiver),
            agent_key: None,
            proof: proof.cloned(),
        })
    }
}

/// What a promise comes from: all that its making relied on, and its grant, each once.
fn marks(reads: &[Mark], grant: Mark) -> Vec<Mark> {
    let mut marks = vec![grant];
    for mark in reads {
        if !marks.contains(mark) {
            marks.push(*mark);
        }
    }
    marks
}

fn is_key(mark: &Mark) -> bool {
    mark.handle.kind == HandleKind::Key
}

fn dead() -> Error {
    Error::WrongState(
        "what this delegation comes from was stopped or narrowed since; ask its giver for another"
            .to_owned(),
    )
}
