//! The judgement: what is known of keys, revocations and proofs, and what follows from it for a token. Shared by the
//! handles of a verifier and its tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kavachos_core::revocation::Reading;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Code, Failure, Leaf, Presented, Proof, Thumbprint, Verification};
use kavachos_core::tool_server::Proof as Policy;

use crate::challenge::Challenger;
use crate::feed::Feed;
use crate::issuer::IssuerClient;
use crate::keys::{KeyRing, Keys};
use crate::metadata::Metadata;
use crate::nonces::Nonces;
use crate::places::Places;
use crate::replay::{Holder, Replays, Unusable};
use crate::settings::Settings;
use crate::stats::{Counters, Stats};
use crate::system::Clock;
use crate::tokens::{Held, Tokens};

/// What a verifier knows.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) client: IssuerClient,
    pub(crate) keys: KeyRing,
    pub(crate) feed: Feed,
    pub(crate) tokens: Tokens,
    pub(crate) replays: Mutex<Replays>,
    pub(crate) nonces: Option<Nonces>,
    /// For requests whose body is read here.
    pub(crate) bodies: Places,
    /// For calls that wait for a human.
    pub(crate) waiting: Places,
    pub(crate) challenger: Challenger,
    pub(crate) metadata: Metadata,
    pub(crate) counters: Arc<Counters>,
    pub(crate) trouble: Mutex<Option<String>>,
}

/// Why a token that was read is not accepted.
pub(crate) enum Refusal {
    Failure(Failure),
    /// The proof has no nonce of this process, or an old one.
    OtherNonce,
    /// Its agent, or its human's agents, have used too many proofs.
    TooMany,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Core {
    /// The token as it was read, now or before. Whoever uses it asks next whether it stands.
    pub(crate) fn hold(&self, token: &str) -> Result<Arc<Held>, Failure> {
        if let Some(held) = self.tokens.get(token, self.keys.version()) {
            self.counters.cache_hits.count();
            return Ok(held);
        }
        let keys = self.current_keys(self.clock.read())?;
        let leaf = Leaf::open(token, &self.settings.issuer, &keys.set)?;
        // What does not stand takes no space.
        self.stands(&leaf)?;
        let agent = leaf.authority.agent();
        let held = Arc::new(Held {
            text: token.into(),
            // No leaf is read without one.
            agent: agent.ok_or_else(|| Failure::new(Code::Malformed, "the chain is empty"))?,
            leaf,
            keys: keys.version,
        });
        self.tokens.put(&held);
        Ok(held)
    }

    fn current_keys(&self, now: Reading) -> Result<Keys, Failure> {
        self.keys.current(now.boot).ok_or_else(|| {
            Failure::new(
                Code::RevocationStale,
                "the issuer's keys have not been seen for an hour",
            )
        })
    }

    /// Whether a leaf is good now: time, audience, lease, revocation.
    pub(crate) fn stands(&self, leaf: &Leaf) -> Result<Timestamp, Failure> {
        self.at_present(|verification, now| verification.stands(leaf, now).map(|()| now))
    }

    /// Whether a token was shown as it must be, but for what only the body tells. Uses nothing up.
    pub(crate) fn foresee(&self, held: &Held, shown: &Presented<'_>) -> Result<(), Refusal> {
        let proof = self.at_present(|verification, now| {
            let proof = match verification.proof {
                Policy::DpopBody => Policy::Dpop,
                policy => policy,
            };
            let without_body = Verification {
                proof,
                ..*verification
            };
            without_body.admit(&held.leaf, shown, now)
        })?;
        let Some(proof) = proof else { return Ok(()) };
        self.check_nonce(&proof)?;
        match self.replays().has_seen(&proof) {
            true => Err(replayed().into()),
            false => Ok(()),
        }
    }

    /// Accepts a token that was held a while ago, perhaps before a long body came: what has changed since counts.
    pub(crate) fn admit(
        &self,
        held: Arc<Held>,
        shown: &Presented<'_>,
    ) -> Result<(Arc<Held>, Option<Thumbprint>), Refusal> {
        let held = self.hold_still(held)?;
        let admitted = self
            .at_present(|verification, now| Ok((verification.admit(&held.leaf, shown, now)?, now)));
        let key = match admitted? {
            (Some(proof), now) => {
                self.use_up(&held, &proof, now)?;
                Some(proof.key)
            }
            (None, _) => None,
        };
        Ok((held, key))
    }

    /// The same token, read again if the issuer's keys are others by now.
    pub(crate) fn hold_still(&self, held: Arc<Held>) -> Result<Arc<Held>, Failure> {
        if held.keys == self.keys.version() {
            return Ok(held);
        }
        self.hold(&held.text)
    }

    /// Judges by what is known of revocations at this moment, which does not change meanwhile.
    fn at_present<T>(
        &self,
        judge: impl FnOnce(&Verification<'_>, Timestamp) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let follower = self.feed.follower();
        let reading = self.clock.read();
        let keys = self.current_keys(reading)?;
        let verification = Verification {
            issuer: &self.settings.issuer,
            keys: &keys.set,
            audience: &self.settings.audience,
            proof: self.settings.proof,
            revocations: follower.revocations(&reading),
        };
        judge(&verification, follower.now(&reading))
    }

    fn replays(&self) -> MutexGuard<'_, Replays> {
        self.replays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_nonce(&self, proof: &Proof) -> Result<(), Refusal> {
        let Some(nonces) = &self.nonces else {
            return Ok(());
        };
        let boot = self.clock.read().boot;
        let known = proof.nonce.as_deref();
        match known.is_some_and(|nonce| nonces.accepts(nonce, boot)) {
            true => Ok(()),
            false => Err(Refusal::OtherNonce),
        }
    }

    fn use_up(&self, held: &Held, proof: &Proof, now: Timestamp) -> Result<(), Refusal> {
        self.check_nonce(proof)?;
        let user = Holder {
            agent: held.agent,
            human: &held.leaf.authority.subject,
        };
        match self.replays().use_up(proof, user, now) {
            Ok(()) => Ok(()),
            Err(Unusable::TooMany) => Err(Refusal::TooMany),
            Err(Unusable::Replayed) => Err(replayed().into()),
            Err(Unusable::Forgotten) => {
                let message = "the proof is too old: make one for each request";
                Err(Failure::new(Code::ProofInvalid, message).into())
            }
        }
    }

    /// Fetches the keys of tokens again, if that was not done a short while ago.
    pub(crate) async fn refresh_keys(&self) {
        let at = self.clock.read().boot;
        match self.keys.refresh(&self.client, at).await {
            Ok(true) => self.counters.key_refreshes.count(),
            Ok(false) => {}
            Err(error) => {
                self.counters.key_refresh_failures.count();
                self.note(Some(format!("the issuer's keys: {error}")));
            }
        }
    }

    /// Notes what went wrong, or that nothing does any more.
    pub(crate) fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(crate) fn stats(&self) -> Stats {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let remembered = self.replays().len();
        let follower = self.feed.follower();
        let reading = self.clock.read();
        Stats {
            cached_tokens: count(self.tokens.len()),
            remembered_proofs: count(remembered),
            revocations: (follower.revocations(&reading)).map_or(0, |set| count(set.len())),
            lease: follower.left(&reading),
            ..self.counters.read()
        }
    }
}

fn replayed() -> Failure {
    let message = "the proof was used before: make one for each request";
    Failure::new(Code::ProofReplayed, message)
}
