//! Whether a token is bound to a key, and to which: its tool server says so, its agent, or what it comes from. And what an
//! agent with a proof key proves when it hands on authority of which others make tokens.

use kavachos_core::revocation::Mark;
use kavachos_core::token::{Proof, Thumbprint};
use kavachos_core::tool_server::Proof as Policy;

use super::holder::Held;
use super::target::Target;
use crate::actor::Actor;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::proof_keys::ProofKey;

/// What a token comes from, as far as that binds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// It is bound to nothing.
    Free,
    /// It is bound to a key; whoever gets the token proves one of its own.
    Bound,
    /// It is an agent that proves this key, and gets the token itself.
    Proves(ProofKey),
}

impl Parent {
    pub(super) fn of(key: Option<ProofKey>) -> Self {
        key.map_or(Self::Free, Self::Proves)
    }
}

/// What a token is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    /// The key that must be proved with it.
    pub(super) key: Option<Thumbprint>,
    /// Whether it is a bearer token although what it comes from is bound: grants and tool server allow it.
    pub(super) is_exempt: bool,
}

/// Who hands authority on: an agent that is live, and proved its proof key if it has one; or anyone who is no agent.
pub(crate) struct GivingHand {
    /// What that relied on.
    pub(crate) reads: Vec<Mark>,
    /// Whether it proved a key.
    pub(crate) proves: bool,
}

impl Engine {
    /// The caller, who is about to hand authority on to an agent. A proof key is for nothing if whoever has stolen the
    /// agent's own key can make itself an agent that proves none: so it is asked for here as it is for a token.
    ///
    /// # Errors
    /// A calling agent is not live, or its proof is missing, by another key, or was used.
    pub(crate) async fn giving_hand(
        &self,
        actor: &Actor,
        proof: Option<&Proof>,
    ) -> Result<GivingHand> {
        self.refuse_used(proof).await?;
        let mut hand = GivingHand {
            reads: Vec::new(),
            proves: false,
        };
        let Some(agent) = actor.agent() else {
            return Ok(hand);
        };
        // Looked at before the key that it proves: a change of that raises a generation in here.
        hand.reads = self.require_live_key(actor, agent).await?;
        if let Some(own) = self.proof_key_of(agent).await? {
            proven(own, proof.map(|proof| proof.key))?;
            hand.reads.push(own.mark);
            hand.proves = true;
        }
        Ok(hand)
    }
}

/// What a token of this is bound to.
///
/// # Errors
/// There must be a proof and is none, or it is by another key than it must be.
pub(super) fn of(proof: Option<&Proof>, target: &Target, held: &Held) -> Result<Binding> {
    let proved = proof.map(|proof| proof.key);
    if let Some(own) = held.proof_key {
        return proven(own, proved);
    }
    let exempt = target.server.policy.proof == Policy::None && held.path.uses().bearer;
    match (held.parent, proved) {
        (Parent::Proves(_) | Parent::Bound, None) if exempt => Ok(Binding {
            key: None,
            is_exempt: true,
        }),
        (Parent::Proves(key), _) => proven(key, proved),
        (Parent::Bound, None) => Err(Error::ProofMissing(
            "what the token comes from is bound to a key, so it is bound to one of yours",
        )),
        (Parent::Free, None)
            if matches!(target.server.policy.proof, Policy::Dpop | Policy::DpopBody) =>
        {
            Err(Error::ProofMissing(
                "this tool server takes tokens that are bound to a key only",
            ))
        }
        (Parent::Bound | Parent::Free, _) => Ok(Binding {
            key: proved,
            is_exempt: false,
        }),
    }
}

/// What a root of this is bound to: always to a key.
///
/// # Errors
/// The proof is by another key than it must be.
pub(super) fn of_root(proof: &Proof, held: &Held) -> Result<Binding> {
    let proved = Some(proof.key);
    match (held.proof_key, held.parent) {
        (Some(key), _) | (None, Parent::Proves(key)) => proven(key, proved),
        (None, Parent::Bound | Parent::Free) => Ok(Binding {
            key: proved,
            is_exempt: false,
        }),
    }
}

/// A proof that must be by this key.
pub(super) fn proven(key: ProofKey, proved: Option<Thumbprint>) -> Result<Binding> {
    match proved {
        None => Err(Error::ProofMissing(
            "the agent has a proof key, to which all that is made for it is bound",
        )),
        Some(print) if print != key.print => Err(Error::ProofOfOther),
        Some(print) => Ok(Binding {
            key: Some(print),
            is_exempt: false,
        }),
    }
}
