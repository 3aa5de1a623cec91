//! Roots: made of what an agent holds, for a few tool servers of one's own, bound to a key; and exchanged here, with a
//! proof of that key, for tokens for one of them or for narrower roots.
//!
//! Promises: a root is made only where every grant of the chain lets tokens be handed on; what it is exchanged for is
//! narrower than the root in authority, reach, depth and life, bound to the root's key, and made of the chain as it is
//! now: the batch checks every generation that the root carries, so a kill that comes first leaves nothing.

use std::sync::Arc;

use kavachos_core::constraint::Constraints;
use kavachos_core::grant::Standing;
use kavachos_core::id::{AgentId, AuditId, TokenId};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{
    Algorithm, Authority, Code, Failure, MAX_ROOT_LIFE, Proof, Root, Subject, Thumbprint,
};
use kavachos_core::tool_server::Audience;
use kavachos_store::Batch;
use serde_json::json;

use super::binding::{self, Parent};
use super::holder::{Held, Purpose, ends_of, givers, not_offline, refuse_counted};
use super::mint::{Told, chain, marks};
use super::shown::is_chain;
use super::target::{Registered, Target, asked};
use super::{TokenAsk, Wanted};
use crate::act::Act;
use crate::actor::{Actor, Caller, Person, RootHolder};
use crate::agents::{live_agent, relied_on};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::grants::path_marks;
use crate::signing_keys::KeyPurpose;
use crate::text;

/// What a root without a live origin is told.
const DEAD: &str = "what the root comes from was revoked or changed";

/// A root that was made. It has no `Debug`: the text is a credential.
#[derive(Clone)]
pub struct MintedRoot {
    /// The token, for this one time.
    pub token: String,
    /// Its name, as the record has it.
    pub id: TokenId,
    /// The agent that may use it.
    pub agent: AgentId,
    /// The tool servers for which tokens can be made of it.
    pub reach: Vec<Audience>,
    /// What it permits, with the constraints of the whole chain.
    pub permissions: PermissionSet,
    /// What must hold for all of it.
    pub guards: Option<Arc<Constraints>>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The key that is proved with it, always.
    pub bound_to: Thumbprint,
}

impl Engine {
    /// Makes a root from what the caller holds, for the tool server of the question and these further ones.
    ///
    /// # Errors
    /// As [`Engine::token`]; and no proof came, a grant of the chain does not let its tokens be handed on, nothing may
    /// stand below it, or a tool server is others' or critical.
    pub async fn root(
        &self,
        actor: &Actor,
        ask: &TokenAsk,
        further: &[Audience],
    ) -> Result<MintedRoot> {
        text::plain("reason", &ask.reason, text::MAX_REASON_BYTES)?;
        let act = match ask.agent.or(actor.agent()) {
            Some(agent) => Act::on_agent("root.issued", agent),
            None => Act::new("root.issued"),
        };
        self.change(actor, act, || self.plan_root(actor, ask, further))
            .await
    }

    /// Who calls with a root and the proof that came with it. Whether what the root comes from still lives is asked
    /// again when it is used.
    ///
    /// Whoever is refused is on record, as a stranger: whose root it is, is known, not whose hand it is in. Of a root
    /// that we signed the record names the agent.
    ///
    /// # Errors
    /// It is no root of ours, is over or dead, or the proof is missing or another key's.
    pub async fn root_holder(
        &self,
        text: &str,
        proof: Option<&Proof>,
        by: Stranger<'_>,
    ) -> Result<Caller> {
        let keys = self.key_set(KeyPurpose::Token).await?;
        let opened = Root::open(text, &self.settings().issuer, &keys);
        let root = opened.map_err(|failure| self.no_root_of_ours(&failure, by))?;
        let agent = root.authority.agent().ok_or(Error::NotFound("agent"))?;
        match self.fault_of(&root, proof).await? {
            None => Ok(Caller::Root(Arc::new(RootHolder { root, agent }))),
            Some((code, error)) => {
                self.note(by, Some(agent), code.as_str());
                Err(error)
            }
        }
    }

    /// What cannot be read as a root of ours. Only what is signed by somebody else is noted: the rest is no attempt with
    /// a root.
    fn no_root_of_ours(&self, failure: &Failure, by: Stranger<'_>) -> Error {
        match failure.code {
            Code::UnknownKey | Code::BadSignature => {
                let error = Error::Unauthenticated("the root is none of ours");
                self.note_stranger(by, error.code());
                error
            }
            _ => Error::Invalid(Invalid::at("subject_token", failure.to_string())),
        }
    }

    /// Why a root of ours is not taken, for the record and for whoever shows it.
    async fn fault_of(&self, root: &Root, proof: Option<&Proof>) -> Result<Option<(Code, Error)>> {
        if let Err(failure) = root.is_held(proof, self.now()) {
            return Ok(Some((failure.code, not_held(&failure))));
        }
        let is_dead =
            root.authority.epoch != self.head().epoch || self.any_dead(&root.authority).await?;
        Ok(is_dead.then_some((Code::Revoked, Error::Unauthenticated(DEAD))))
    }

    async fn plan_root(
        &self,
        actor: &Actor,
        ask: &TokenAsk,
        further: &[Audience],
    ) -> Result<Plan<MintedRoot>> {
        let proof = ask.proof.as_ref();
        let proof = proof.ok_or(Error::ProofMissing("a root is bound to a key"))?;
        self.refuse_used(Some(proof)).await?;
        self.refuse_used_token(actor).await?;
        self.require_shown_key(ask).await?;
        let reached = self.servers_of_root(ask, further).await?;
        actor.covers(&reached.asked)?;
        let mut held = match (&actor.caller, ask.agent) {
            (Caller::Operator(_) | Caller::ToolServer(_), _) => {
                return Err(Error::Forbidden(
                    "a root is made for whoever will use it: call with the agent's own key or its human's session"
                        .to_owned(),
                ));
            }
            (Caller::Root(holder), _) => {
                reached
                    .audiences
                    .iter()
                    .try_for_each(|one| holder.require_reach(one))?;
                self.held_from_root(holder, (ask, &reached.asked)).await?
            }
            (caller, Some(agent)) => {
                if !matches!(caller, Caller::Agent(key) if key.agent == agent) {
                    self.require_own(actor, agent).await?;
                }
                let for_root = (ask, &reached.asked, Purpose::Root);
                self.held_by(actor, agent, for_root).await?
            }
            (_, None) => {
                return Err(Invalid::at("agent", "say which agent will use the root").into());
            }
        };
        // Its tool servers are our own, so they may know the session by its own handle.
        let session = actor.person().and_then(Person::mark);
        held.others.extend(session);
        self.mint_root(actor, (ask, proof), (reached, held)).await
    }

    /// The tool servers that a root is to reach, and what it is to permit there.
    async fn servers_of_root(&self, ask: &TokenAsk, further: &[Audience]) -> Result<Reached> {
        let audiences: Vec<Audience> = std::iter::once(&ask.audience)
            .chain(further)
            .cloned()
            .collect();
        let mut servers: Vec<Arc<Registered>> = Vec::with_capacity(audiences.len());
        for audience in &audiences {
            let server = self.registered(audience).await?;
            server.require_reachable()?;
            servers.push(server);
        }
        let asked = asked_of(&ask.wanted, &servers)?;
        Ok(Reached {
            audiences,
            servers,
            asked,
        })
    }

    async fn mint_root(
        &self,
        actor: &Actor,
        (ask, proof): (&TokenAsk, &Proof),
        (reached, mut held): (Reached, Held),
    ) -> Result<Plan<MintedRoot>> {
        held.bind(binding::of_root(proof, &held)?);
        let record: AuditId = self.id();
        let longest = ask.ttl.map_or(MAX_ROOT_LIFE, |ttl| ttl.min(MAX_ROOT_LIFE));
        let root = Root {
            issuer: self.settings().issuer.clone(),
            reach: reached.audiences,
            key: proof.public_key.clone(),
            life: self.token_life(longest, &held)?,
            authority: self.root_authority(ask, &held, &reached.asked)?,
        };
        let key = self.signer(KeyPurpose::Token, Algorithm::Ed25519).await?;
        let token = root.sign(&key).map_err(|failure| unsigned(&failure))?;
        let servers: Vec<_> = reached.servers.iter().map(|server| server.id).collect();
        let told = Told {
            id: record,
            kind: "root.issued",
            details: json!({
                "token": root.life.id, "reach": root.reach, "servers": servers,
                "expiresAt": root.life.expires_at, "depth": root.authority.depth(), "boundTo": proof.key.to_string(),
            }),
            given: &root.authority.permissions,
        };
        let entry = self.record_of_making(actor, (ask, &held), told)?;
        let mut batch = self.token_batch((actor, ask), held.batch, entry);
        batch
            .reads
            .extend(reached.servers.iter().map(|server| server.mark));
        let minted = MintedRoot {
            token,
            id: root.life.id,
            agent: held.path.leaf().ok_or(Error::NotFound("grant"))?.to,
            reach: root.reach,
            permissions: root.authority.permissions,
            guards: root.authority.guards,
            expires_at: root.life.expires_at,
            bound_to: proof.key,
        };
        Ok(Plan::commit(batch, minted))
    }

    fn root_authority(
        &self,
        ask: &TokenAsk,
        held: &Held,
        asked: &PermissionSet,
    ) -> Result<Authority> {
        let leaf = held.path.leaf().ok_or(Error::NotFound("grant"))?;
        let max_depth = held.deepest(leaf.max_depth);
        if max_depth <= leaf.depth {
            return Err(Error::DepthExceeded(
                "nothing may stand below this agent's grant, so there is nothing to hand on: ask for a token".to_owned(),
            ));
        }
        let merged = held.merged(asked)?;
        let subject: std::result::Result<Subject, Invalid> = held.path.user.id.to_string().parse();
        Ok(Authority {
            subject: subject.map_err(|error| Error::Internal(error.to_string()))?,
            chain: chain(held),
            max_depth,
            permissions: merged.permissions,
            guards: merged.guards,
            epoch: self.head().epoch,
            // The registrations of tool servers are asked of each use, so that one of them leaves the others.
            marks: marks((None, held), true)?,
            reason: ask.reason.clone(),
        })
    }

    /// What a root gives for a token.
    pub(super) async fn held_by_root(
        &self,
        holder: &Arc<RootHolder>,
        (ask, target): (&TokenAsk, &Target),
    ) -> Result<Held> {
        holder.require_reach(&ask.audience)?;
        target.server.require_reachable()?;
        self.held_from_root(holder, (ask, &target.asked)).await
    }

    /// The chain of a root as it is now, if all of it still lives.
    async fn held_from_root(
        &self,
        holder: &Arc<RootHolder>,
        (ask, asked): (&TokenAsk, &PermissionSet),
    ) -> Result<Held> {
        refuse_counted(asked)?;
        let (root, now) = (&holder.root, self.now());
        // The proof that is used up with this batch is the root's. Whoever holds it was let in a moment ago, so what is
        // wrong by now is on record as any other refusal of the agent's.
        root.is_held(ask.proof.as_ref(), now)
            .map_err(|failure| Error::Forbidden(failure.message().to_owned()))?;
        let held = self
            .held_on_chain(&root.authority, root.life.expires_at)
            .await?;
        let mut held = held.ok_or_else(|| Error::Forbidden(DEAD.to_owned()))?;
        if !held.path.uses().offline {
            return Err(not_offline());
        }
        held.proof_key = self.proof_key_of(holder.agent).await?;
        held.root = Some(Arc::clone(holder));
        Ok(held)
    }

    /// The chain of a token as it is now, if all of it still lives, with everything that kills the token.
    pub(super) async fn held_on_chain(
        &self,
        authority: &Authority,
        ends: Timestamp,
    ) -> Result<Option<Held>> {
        if authority.epoch != self.head().epoch || self.any_dead(authority).await? {
            return Ok(None);
        }
        let agent = authority.agent().ok_or(Error::NotFound("agent"))?;
        let (facts, now) = (self.facts_with_reserved(agent).await?, self.now());
        let mut chains = facts.paths.iter();
        let path = chains
            .find(|path| is_chain(path, authority))
            .filter(|path| path.standing(now) == Standing::Live);
        let (Some(live), Some(path)) = (live_agent(&facts, now), path) else {
            return Ok(None);
        };
        let mut reads: Vec<_> = authority.all_marks().collect();
        reads.extend(relied_on(live, &facts));
        reads.extend(path_marks(path));
        let mut agents = givers(path);
        agents.push((live.id, live.mark));
        let owners = facts.owners.iter();
        let own_end = ends_of(path, std::iter::once(live).chain(&facts.owners));
        Ok(Some(Held {
            path: path.clone(),
            agents,
            key: authority.chain.last().and_then(|hop| hop.key),
            others: owners
                .clone()
                .map(|owner| owner.mark)
                .chain(authority.marks.iter().copied())
                .collect(),
            ends: own_end.into_iter().chain([ends]).min(),
            owners: owners.map(|owner| owner.id).collect(),
            root: None,
            exchanged: None,
            proof_key: None,
            parent: Parent::Free,
            is_exempt: false,
            promise: None,
            batch: Batch {
                reads,
                ..Batch::default()
            },
        }))
    }
}

/// The tool servers of a root, in the order in which they were named.
struct Reached {
    audiences: Vec<Audience>,
    servers: Vec<Arc<Registered>>,
    asked: PermissionSet,
}

impl RootHolder {
    fn require_reach(&self, audience: &Audience) -> Result<()> {
        if self.root.reach.contains(audience) {
            return Ok(());
        }
        Err(Error::NotNarrower(Invalid::at(
            "audience",
            "the root does not reach this tool server",
        )))
    }
}

/// What is asked for: each permission covered by a scope of some tool server that is reached.
fn asked_of(wanted: &Wanted, servers: &[Arc<Registered>]) -> Result<PermissionSet> {
    let defaults: Vec<&str> = servers
        .iter()
        .filter_map(|server| server.policy.default_scope.as_deref())
        .collect();
    let asked = asked(wanted, Some(&defaults.join(" ")))?;
    for permission in asked.iter() {
        let one = PermissionSet::new([Permission::clone(permission)])?;
        let covers = |server: &Arc<Registered>| server.scopes.covered().covers_all(&one).is_ok();
        if !servers.iter().any(covers) {
            let message = "none of these tool servers has a scope for all of it";
            return Err(Error::NotNarrower(Invalid::at("scopes", message)));
        }
    }
    Ok(asked)
}

fn not_held(failure: &Failure) -> Error {
    match failure.code {
        Code::ProofMissing => Error::ProofMissing("a root is shown with a proof of its key"),
        Code::ProofInvalid => Invalid::at("DPoP", failure.message()).into(),
        _ => Error::Unauthenticated("the root is over, or not good yet: get another one"),
    }
}

fn unsigned(failure: &Failure) -> Error {
    Error::NotNarrower(Invalid::at("scopes", failure.message().to_owned()))
}
