//! Keys that agents prove to hold: registered with an agent, shown by every proof of it, one agent's each.
//!
//! What is made for an agent that has one is bound to it. Its handle is the beginning of its thumbprint, so whoever
//! sees a proof knows what kills it; the generation stays in the live set when an agent gives the key up.

use kavachos_core::id::AgentId;
use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::Mark;
use kavachos_core::token::{Proof, PublicKey, Thumbprint};
use kavachos_store::agent::{self, ProofKeyRow};
use kavachos_store::{Batch, handle};
use serde_json::Value;

use crate::actor::Actor;
use crate::agents::NewAgent;
use crate::compile;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::users::to_text;

/// The key that an agent proves to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProofKey {
    pub(crate) print: Thumbprint,
    pub(crate) mark: Mark,
}

/// The proofs of keys (RFC 9449) that came with the request for a new agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Of the proof key of the agent that calls.
    pub own: Option<Proof>,
    /// Of the proof key that is registered for the new one.
    pub registered: Option<Proof>,
}

impl Proofs {
    /// Refuses a proof of nothing, and one proof for two keys.
    pub(crate) fn check(&self, new: &NewAgent) -> Result<()> {
        let Some(registered) = &self.registered else {
            return Ok(());
        };
        let wrong = |message: &str| Err(Invalid::at("Kavach-Key-Proof", message).into());
        if new.proof_key.is_none() {
            return wrong("there is no `proofKey` that it is of; leave it out");
        }
        let is_it = |own: &Proof| (&own.id, own.key) == (&registered.id, registered.key);
        if self.own.as_ref().is_some_and(is_it) {
            return wrong("is the proof in `DPoP` once more; send one of each key");
        }
        Ok(())
    }
}

impl Engine {
    /// The key that this agent proves to hold, if it has one.
    pub(crate) async fn proof_key_of(&self, agent: AgentId) -> Result<Option<ProofKey>> {
        if let Some(known) = self.directory().proof_key(agent) {
            return Ok(known);
        }
        let row = self.agent_row(agent).await?;
        row.proof_key.as_ref().map(compiled).transpose()
    }

    /// Takes the first key of an agent into the batch that makes the agent, with the proof that came of it.
    pub(crate) async fn register_proof_key(
        &self,
        actor: &Actor,
        (key, proof): (&PublicKey, Option<&Proof>),
        agent: AgentId,
        batch: &mut Batch,
    ) -> Result<ProofKeyRow> {
        self.require_held(actor, key, proof).await?;
        self.use_proof(proof, batch);
        self.claim_proof_key(key, agent, batch).await
    }

    /// Refuses an agent that registers a key without holding it: public keys are seen in every proof, and whoever takes
    /// another's keeps that one from it, and learns that somebody proves it. An operator is believed.
    async fn require_held(
        &self,
        actor: &Actor,
        key: &PublicKey,
        proof: Option<&Proof>,
    ) -> Result<()> {
        self.refuse_used(proof).await?;
        match proof {
            Some(proof) if proof.key == key.thumbprint() => Ok(()),
            Some(_) => Err(Error::Forbidden(
                "the proof in the header `Kavach-Key-Proof` is by another key than `proofKey`"
                    .to_owned(),
            )),
            None if actor.agent().is_none() => Ok(()),
            None => Err(Error::WrongState(
                "an agent registers a key that it holds: send a proof of `proofKey` in the header `Kavach-Key-Proof`, made as \
                 for `DPoP` (RFC 9449), or have an operator register it"
                    .to_owned(),
            )),
        }
    }

    /// Takes a key for an agent into the batch that writes the agent. Nobody else may have it.
    pub(crate) async fn claim_proof_key(
        &self,
        key: &PublicKey,
        agent: AgentId,
        batch: &mut Batch,
    ) -> Result<ProofKeyRow> {
        let handle = key.thumbprint().handle();
        let holder = self.store().find(agent::by_proof_key(handle)).await?;
        if holder.is_some_and(|holder| holder.id != agent) {
            return Err(Error::WrongState(
                "another agent proves this key; make one for each agent".to_owned(),
            ));
        }
        let known = self.store().find(handle::current(&[handle])).await?;
        let mark = Mark {
            handle,
            generation: known.map_or(1, |(_, generation)| generation),
        };
        if known.is_some() {
            batch.reads.push(mark);
        } else {
            batch.writes.push(handle::born(mark));
        }
        Ok(ProofKeyRow {
            jwk: to_text(&key.to_jwk())?,
            mark,
        })
    }
}

pub(crate) fn compiled(row: &ProofKeyRow) -> Result<ProofKey> {
    Ok(ProofKey {
        print: public(row)?.thumbprint(),
        mark: row.mark,
    })
}

/// The key as a JSON Web Key, with its thumbprint as `kid`.
pub(crate) fn shown(row: &ProofKeyRow) -> Result<Value> {
    let key = public(row)?;
    let mut jwk = key.to_jwk();
    if let Some(members) = jwk.as_object_mut() {
        members.insert("kid".to_owned(), key.thumbprint().to_string().into());
    }
    Ok(jwk)
}

fn public(row: &ProofKeyRow) -> Result<PublicKey> {
    let jwk: Value = compile::stored("proof key", &row.jwk)?;
    PublicKey::from_jwk(&jwk)
        .map_err(|error| Error::Internal(format!("the stored proof key cannot be read: {error}")))
}
