//! Nonces in proofs of keys (RFC 9449, section 8), of clients that ask for tokens. Agents that exchange what they hold need
//! none: their proofs are of keys that somebody registered.

use kavachos_engine::{Engine, ProofNonces};

use crate::refusal::{Code, Refusal};
use crate::token::Call;

/// Has a proof repeat a nonce that was given out here lately. Belongs before anything is used up: the client asks again.
///
/// # Errors
/// [`Code::UseDpopNonce`], with the nonce.
pub(crate) fn require_nonce(engine: &Engine, call: &Call) -> Result<(), Refusal> {
    let Some(proof) = &call.proof else {
        return Ok(());
    };
    let nonce = proof.nonce.as_deref();
    let repeats = nonce.is_some_and(|nonce| engine.is_proof_nonce(nonce));
    match engine.settings().proof_nonces {
        ProofNonces::Required if !repeats => Err(Refusal::new(
            Code::UseDpopNonce,
            "repeat the nonce of the header `DPoP-Nonce` in the proof",
        )
        .with_nonce(engine.proof_nonce())),
        ProofNonces::Required | ProofNonces::Off => Ok(()),
    }
}

/// The nonce of the next proof of whoever sent one, where it is another: for the header `DPoP-Nonce`.
pub fn next_nonce(engine: &Engine, call: &Call) -> Option<String> {
    let proof = call.proof.as_ref()?;
    let nonce = Some(engine.proof_nonce()).filter(|next| Some(next) != proof.nonce.as_ref());
    nonce.filter(|_| engine.settings().proof_nonces == ProofNonces::Required)
}
