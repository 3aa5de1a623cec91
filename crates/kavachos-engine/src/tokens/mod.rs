//! Tokens: what an agent shows to one tool server, made of what it holds here.
//!
//! Promises: a token permits no more than every grant of its chain, is for one registered tool server, lives minutes and
//! no longer than anything that it comes from, and is recorded before it is handed out, with its reason. The batch that
//! records it checks every generation that it relied on, so a kill that comes first leaves no token. A token for one
//! agent is never handed to another: only the agent itself, the agent that owns it, or its human gets it; any other agent
//! has it [promised](Promise). A tool server exchanges what it was shown only where every grant of the chain names it.

mod binding;
mod exchange;
mod holder;
mod mint;
mod named;
mod promise;
mod root;
mod session;
mod shown;
mod target;

pub(crate) use target::{MAX_ASKED, Registered};

pub use promise::{Handed, Promise};
pub use shown::ShownToken;

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::constraint::Constraints;
use kavachos_core::decide::Credential;
use kavachos_core::id::{AgentId, AuditId, TokenId};
use kavachos_core::permission::PermissionSet;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{CLOCK_SKEW, Proof, Thumbprint};
use kavachos_core::tool_server::Audience;
use kavachos_store::Batch;

use crate::act::Act;
use crate::actor::{Actor, AgentKey, Caller};
use crate::authorize;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::text;
use holder::Purpose;

pub use root::MintedRoot;

/// A token that somebody asks for.
#[derive(Debug, Clone)]
pub struct TokenAsk {
    /// The tool server that it is for.
    pub audience: Audience,
    /// What it is to permit.
    pub wanted: Wanted,
    /// How long it is to live; as long as its tool server lets it, unless said.
    pub ttl: Option<Duration>,
    /// Why it is wanted, for the record.
    pub reason: String,
    /// Which agent will show it: the caller itself, or one of the caller's own. Without one it is an agent that exists
    /// for this alone, found or created below the caller.
    pub agent: Option<AgentId>,
    /// The key of that agent, where it was shown beside the caller's own credential: it ends and kills the token too.
    pub agent_key: Option<Arc<AgentKey>>,
    /// The proof that the caller holds the key to which it is to be bound.
    pub proof: Option<Proof>,
}

/// What a token is to permit.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// These scopes: resources with every action.
    Scopes(Vec<ResourcePattern>),
    /// These permissions.
    Permissions(PermissionSet),
    /// The default scope of the tool server.
    Default,
}

/// A token that was made. It has no `Debug`: the text is a credential.
#[derive(Clone)]
pub struct Minted {
    /// The token, for this one time.
    pub token: String,
    /// Its name, as the record has it.
    pub id: TokenId,
    /// The agent that may show it.
    pub agent: AgentId,
    /// The tool server that it is for.
    pub audience: Audience,
    /// Its scopes, as the token has them.
    pub scope: String,
    /// What it permits: what was asked for, with the constraints of the whole chain.
    pub permissions: PermissionSet,
    /// What must hold for all of it.
    pub guards: Option<Arc<Constraints>>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The key that must be proved with it.
    pub bound_to: Option<Thumbprint>,
}

impl Engine {
    /// Makes a token for a tool server, from what the caller holds.
    ///
    /// # Errors
    /// The tool server is not registered, more is asked for than the caller holds or the tool server has, nothing of it
    /// is live, a fresh sign-in or a proof is needed, or there is no key to sign with.
    pub async fn token(&self, actor: &Actor, ask: &TokenAsk) -> Result<Minted> {
        text::plain("reason", &ask.reason, text::MAX_REASON_BYTES)?;
        let act = match ask.agent.or(actor.agent()) {
            Some(agent) => Act::on_agent("token.issued", agent),
            None => Act::new("token.issued"),
        };
        self.change(actor, act, || self.plan_token(actor, ask))
            .await
    }

    async fn plan_token(&self, actor: &Actor, ask: &TokenAsk) -> Result<Plan<Minted>> {
        self.plan_token_with(actor, ask, None).await
    }

    /// Plans a token that this kills, too.
    pub(crate) async fn plan_token_with(
        &self,
        actor: &Actor,
        ask: &TokenAsk,
        killer: Option<Mark>,
    ) -> Result<Plan<Minted>> {
        self.refuse_used(ask.proof.as_ref()).await?;
        self.refuse_used_token(actor).await?;
        self.require_shown_key(ask).await?;
        let target = self.target(ask).await?;
        actor.covers(&target.asked)?;
        let mut held = match (&actor.caller, ask.agent) {
            (Caller::Operator(_) | Caller::ToolServer(_), _) => {
                return Err(Error::Forbidden(
                    "a token is made for whoever will use it: call with the agent's own key or its human's session"
                        .to_owned(),
                ));
            }
            (Caller::Root(holder), _) => self.held_by_root(holder, (ask, &target)).await?,
            (Caller::Agent(key), Some(agent)) if agent == key.agent => {
                self.held_by(actor, agent, (ask, &target.asked, Purpose::Leaf))
                    .await?
            }
            (_, Some(agent)) => {
                self.require_own(actor, agent).await?;
                self.held_by(actor, agent, (ask, &target.asked, Purpose::Leaf))
                    .await?
            }
            (_, None) => self.held_anew(actor, (ask, &target)).await?,
        };
        held.others.extend(killer);
        held.batch.reads.extend(killer);
        self.mint(actor, ask, (target, held)).await
    }

    /// Whether an agent is the caller's own: another one's token is not handed to it.
    async fn require_own(&self, actor: &Actor, agent: AgentId) -> Result<()> {
        match &actor.caller {
            Caller::Local => Ok(()),
            Caller::Provided(provided) => {
                let own = self.agent_of(provided.user().id, agent).await;
                own.map(drop)
            }
            // A role reaches no token of another's, and nobody gets one in another's name.
            Caller::Person(_) => {
                let own = self.agent_of(actor.own_account()?, agent).await;
                own.map(drop)
            }
            _ => self.visible_agent(actor, agent).await.map(drop),
        }
    }

    /// The key that was shown beside the caller's credential is the agent's, and live.
    async fn require_shown_key(&self, ask: &TokenAsk) -> Result<()> {
        let Some(key) = &ask.agent_key else {
            return Ok(());
        };
        if ask.agent != Some(key.agent) {
            return Err(Error::Internal("the key is another agent's".to_owned()));
        }
        let key = self.renewed_key(key).await?;
        let facts = self.facts(key.agent).await?;
        match authorize::credential(&key, &facts, self.now()) {
            Credential::KeyLive => Ok(()),
            _ => Err(Error::Unauthenticated("the agent or its key is not live")),
        }
    }

    /// A proof is good once; the batch makes sure of it.
    pub(crate) fn use_proof(&self, proof: Option<&Proof>, batch: &mut Batch) {
        if let Some(proof) = proof {
            let used = kavachos_store::proof::use_once(name_of(proof), self.now());
            batch.writes.insert(0, used);
        }
    }

    pub(crate) async fn refuse_used(&self, proof: Option<&Proof>) -> Result<()> {
        let Some(proof) = proof else { return Ok(()) };
        if self
            .store()
            .find(kavachos_store::proof::used(
                name_of(proof),
                // By a clock that may be ahead of ours.
                proof.issued_at.minus(CLOCK_SKEW),
                self.now(),
            ))
            .await?
            .is_some()
        {
            return Err(Error::ProofUsed);
        }
        Ok(())
    }
}

/// The record of a token's making: it has the number of the token, so that whoever knows the token finds its record.
pub(crate) const fn record_of(token: TokenId) -> AuditId {
    AuditId::from_bits(token.bits())
}

/// What is remembered of a proof: its key and its name.
fn name_of(proof: &Proof) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::new_with_prefix(proof.key.0)
        .chain_update(proof.id.as_bytes())
        .finalize()
        .into()
}
