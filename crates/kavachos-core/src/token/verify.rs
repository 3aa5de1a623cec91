//! All checks of a leaf, in the one order in which they are made.
//!
//! [`Verification::verify`] is the whole. A verifier with a cache makes the first step ([`Leaf::open`]) once for each
//! token and the others ([`Verification::admit`]) on each use: what was true of a signature stays true, what was true of
//! time, lease, revocation and proof does not.

use super::CLOCK_SKEW;
use super::claims::Life;
use super::failure::{Code, Failure};
use super::key_set::KeySet;
use super::leaf::Leaf;
use super::name::Issuer;
use super::possession::{Proof, ProofRequest};
use super::root::Root;
use crate::revocation::LiveSet;
use crate::time::Timestamp;
use crate::tool_server::{self, Audience};

/// Under which scheme a token was shown (RFC 9110, section 11.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: DPoP`.
    Dpop,
}

/// A token as it came with a request.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The token.
    pub token: &'a str,
    /// The scheme before it.
    pub scheme: Scheme,
    /// The proof that came with it.
    pub proof: Option<&'a str>,
    /// The request; its `token` is filled in here.
    pub request: ProofRequest<'a>,
}

/// What a tool server holds tokens against.
#[derive(Debug, Clone, Copy)]
pub struct Verification<'a> {
    /// Whose tokens are accepted.
    pub issuer: &'a Issuer,
    /// The issuer's keys.
    pub keys: &'a KeySet,
    /// Who the tool server is.
    pub audience: &'a Audience,
    /// Whether callers prove that a token is theirs.
    pub proof: tool_server::Proof,
    /// What was killed, as far as it is known; `None` when that is not known well enough: the lease is over.
    pub revocations: Option<&'a LiveSet>,
}

/// A leaf that holds, and the proof that came with it, which must not be seen again.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The leaf.
    pub leaf: Leaf,
    /// The proof of its key; `None` of a bearer.
    pub proof: Option<Proof>,
}

impl Verification<'_> {
    /// Holds a token and what came with it against all that there is.
    ///
    /// # Errors
    /// The first of these that fails, in this order: form, purpose, algorithm, key, signature ([`Leaf::open`]); depth
    /// and ends; time; audience; lease; revocation; proof.
    pub fn verify(&self, shown: &Presented<'_>, now: Timestamp) -> Result<Verified, Failure> {
        let leaf = Leaf::open(shown.token, self.issuer, self.keys)?;
        let proof = self.admit(&leaf, shown, now)?;
        Ok(Verified { leaf, proof })
    }

    /// The checks that are made on each use of a token that [`Leaf::open`] has read from these very bytes.
    ///
    /// # Errors
    /// [`Code::NotYetValid`], [`Code::Expired`], [`Code::AudienceMismatch`], [`Code::RevocationStale`],
    /// [`Code::Revoked`], [`Code::ProofMissing`], [`Code::ProofInvalid`].
    pub fn admit(
        &self,
        leaf: &Leaf,
        shown: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Option<Proof>, Failure> {
        self.stands(leaf, now)?;
        self.possessed(leaf, shown, now)
    }

    /// Whether a leaf is still good: what a handler that runs for long asks again before it changes anything.
    ///
    /// # Errors
    /// As [`Verification::admit`], without those of the proof.
    pub fn stands(&self, leaf: &Leaf, now: Timestamp) -> Result<(), Failure> {
        in_time(&leaf.life, now)?;
        if leaf.audience != *self.audience {
            let message = format!(
                "the token is for another tool server than `{}`",
                self.audience
            );
            return Err(Failure::new(Code::AudienceMismatch, message));
        }
        let revocations = self.revocations.ok_or_else(|| {
            Failure::new(
                Code::RevocationStale,
                "it is not known which tokens were revoked: the issuer has not been heard of for too long",
            )
        })?;
        revocations.check(&leaf.authority)
    }

    fn possessed(
        &self,
        leaf: &Leaf,
        shown: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Option<Proof>, Failure> {
        use tool_server::Proof as Policy;
        let Some(key) = leaf.bound_to else {
            return match (self.proof, shown.scheme) {
                (Policy::None | Policy::Optional, Scheme::Bearer) => Ok(None),
                (Policy::None | Policy::Optional, Scheme::Dpop) => Err(Failure::new(
                    Code::ProofInvalid,
                    "the token is bound to no key: show it as `Bearer`",
                )),
                (Policy::Dpop | Policy::DpopBody, _) => Err(Failure::new(
                    Code::ProofMissing,
                    "this tool server takes tokens that are bound to a key only",
                )),
            };
        };
        let text = match (shown.scheme, shown.proof) {
            (Scheme::Dpop, Some(text)) => text,
            _ => {
                return Err(Failure::new(
                    Code::ProofMissing,
                    "the token is bound to a key: show it as `DPoP`, with a proof (RFC 9449)",
                ));
            }
        };
        let request = ProofRequest {
            token: Some(shown.token),
            body: (shown.request.body).filter(|_| self.proof == Policy::DpopBody),
            ..shown.request
        };
        if self.proof == Policy::DpopBody && request.body.is_none() {
            return Err(Failure::new(
                Code::ProofInvalid,
                "the body of the request was not read, so no proof can fit it",
            ));
        }
        let proof = Proof::open(text, &request, now)?;
        if proof.key != key {
            return Err(other_key());
        }
        Ok(Some(proof))
    }
}

impl Root {
    /// The checks of a root that [`Root::open`] has read, but revocation, whose issuer asks its own store instead: time,
    /// and a proof of its key, always.
    ///
    /// # Errors
    /// [`Code::NotYetValid`], [`Code::Expired`], [`Code::ProofMissing`], [`Code::ProofInvalid`].
    pub fn is_held(&self, proof: Option<&Proof>, now: Timestamp) -> Result<(), Failure> {
        in_time(&self.life, now)?;
        let proof = proof.ok_or_else(proof_of_root_missing)?;
        if proof.key == self.key.thumbprint() {
            Ok(())
        } else {
            Err(other_key())
        }
    }

    /// All checks of a root, which only its issuer makes: signature and form, time, revocation, and a proof of its key
    /// without a token in it, always.
    ///
    /// # Errors
    /// The first of these that fails: those of [`Root::open`], [`Code::NotYetValid`], [`Code::Expired`],
    /// [`Code::Revoked`], [`Code::ProofMissing`], [`Code::ProofInvalid`].
    pub fn verify(
        shown: &Presented<'_>,
        issuer: &Issuer,
        keys: &KeySet,
        revocations: &LiveSet,
        now: Timestamp,
    ) -> Result<(Self, Proof), Failure> {
        let root = Self::open(shown.token, issuer, keys)?;
        in_time(&root.life, now)?;
        revocations.check(&root.authority)?;
        let text = shown.proof.ok_or_else(proof_of_root_missing)?;
        let proof = Proof::open(text, &shown.request, now)?;
        root.is_held(Some(&proof), now)?;
        Ok((root, proof))
    }
}

fn in_time(life: &Life, now: Timestamp) -> Result<(), Failure> {
    if life.issued_at > now.plus(CLOCK_SKEW) {
        return Err(Failure::new(
            Code::NotYetValid,
            "the token is from the future: is the clock of this machine right?",
        ));
    }
    if life.expires_at <= now {
        return Err(Failure::new(
            Code::Expired,
            "the token is over: get another one",
        ));
    }
    Ok(())
}

fn proof_of_root_missing() -> Failure {
    Failure::new(
        Code::ProofMissing,
        "a root is shown with a proof of its key (RFC 9449)",
    )
}

fn other_key() -> Failure {
    Failure::new(
        Code::ProofInvalid,
        "the proof is by another key than the token's",
    )
}
