//! Whether a token is bound to a key, and to which: its tool server says so, its agent, or what it comes from.

use kavachos_core::token::{Proof, Thumbprint};
use kavachos_core::tool_server::Proof as Policy;

use super::holder::Held;
use super::target::Target;
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

/// What a token of this is bound to.
///
/// # Errors
/// There must be a proof and is none, or it is by another key than it must be.
pub(super) fn of(proof: Option<&Proof>, target: &Target, held: &Held) -> Result<Binding> {
    let proved = proof.map(|proof| proof.key);
    if let Some(own) = held.proof_key {
        return proven(own, proved);
    }
    let exempt = target.policy.proof == Policy::None && held.path.uses().bearer;
    match (held.parent, proved) {
        (Parent::Proves(_) | Parent::Bound, None) if exempt => Ok(Binding {
            key: None,
            is_exempt: true,
        }),
        (Parent::Proves(key), _) => proven(key, proved),
        (Parent::Bound, None) => Err(Error::ProofMissing(
            "what the token comes from is bound to a key, so it is bound to one of yours",
        )),
        (Parent::Free, None) if matches!(target.policy.proof, Policy::Dpop | Policy::DpopBody) => {
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
