//! The verifier: a token and what came with it go in, a principal or a refusal comes out.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use kavachos_core::resource::Resource;
use kavachos_core::revocation::{Fault, Reading};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{
    Code, Failure, Leaf, Presented, Proof, ProofRequest, Thumbprint, Verification,
};

use crate::authorize::Allowed;
use crate::builder::Builder;
use crate::challenge::Challenger;
use crate::credentials::Credentials;
use crate::feed::Feed;
use crate::issuer::IssuerClient;
use crate::keys::{KeyRing, Keys};
use crate::layer::VerifierLayer;
use crate::metadata::Metadata;
use crate::nonces::Nonces;
use crate::principal::Principal;
use crate::rejection::{Cause, Rejection};
use crate::replay::{Replays, Unusable};
use crate::reports::{Report, Reports};
use crate::settings::Settings;
use crate::stats::{Counters, Stats};
use crate::system::Clock;
use crate::tasks::Tasks;
use crate::tokens::{Held, Tokens};

/// Holds tokens of one issuer against one tool server, without a call to the issuer.
///
/// Clones are handles to the same verifier. With the last of them, principals included, its tasks end.
#[derive(Clone)]
pub struct Verifier(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    reports: Option<Reports>,
    /// Ends the tasks when it is dropped.
    _tasks: Tasks,
}

/// What the tasks share with the handles.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) client: IssuerClient,
    pub(crate) keys: KeyRing,
    pub(crate) feed: Feed,
    pub(crate) tokens: Tokens,
    pub(crate) replays: Mutex<Replays>,
    pub(crate) nonces: Option<Nonces>,
    pub(crate) challenger: Challenger,
    pub(crate) metadata: Metadata,
    pub(crate) counters: Arc<Counters>,
    pub(crate) trouble: Mutex<Option<String>>,
}

/// Why a token that was read is not accepted.
enum Refusal {
    Failure(Failure),
    /// The proof has no nonce of this process, or an old one.
    OtherNonce,
    /// Its key has used too many proofs.
    TooMany,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Verifier {
    /// Starts to say what the verifier is for: tokens of `issuer`, made out to `audience`.
    pub fn builder(issuer: impl Into<String>, audience: impl Into<String>) -> Builder {
        Builder::new(issuer.into(), audience.into())
    }

    pub(crate) fn new(core: Arc<Core>, reports: Option<Reports>, tasks: Tasks) -> Self {
        Self(Arc::new(Handle {
            core,
            reports,
            _tasks: tasks,
        }))
    }

    /// Holds a token, and what came with it, against all that there is. A plain function: it calls nobody.
    ///
    /// A token by a key that is not known yet is refused, and is accepted after [`Verifier::learn_keys`]; the layer
    /// does that by itself.
    ///
    /// # Errors
    /// The first that fails of: the checks of [`Verification::verify`] in their order, the nonce, the replay.
    pub fn verify(&self, shown: &Presented<'_>) -> Result<Principal, Rejection> {
        let held = self.hold(shown.token)?;
        self.admit(held, shown)
    }

    /// [`Verifier::verify`] for the head of a request, for frameworks that have no tower layers. `body` is the
    /// [digest](kavachos_core::token::body_digest) of its body, where proofs must name it.
    ///
    /// # Errors
    /// As there, and where the request has no token, or none that can be read.
    pub fn verify_request(
        &self,
        request: &Parts,
        body: Option<[u8; 32]>,
    ) -> Result<Principal, Rejection> {
        let credentials = self.credentials(request)?;
        let held = self.hold(credentials.token)?;
        self.admit_request(held, request, &credentials, body)
    }

    /// Fetches the issuer's keys again, at most every 30 seconds; gives whether there are others now.
    pub async fn learn_keys(&self) -> bool {
        let before = self.0.core.keys.version();
        self.0.core.refresh_keys().await;
        self.0.core.keys.version() != before
    }

    /// A layer that lets requests with a good token through, with their [`Principal`] in the extensions.
    pub fn layer(&self) -> VerifierLayer {
        VerifierLayer::new(self.clone())
    }

    /// The metadata of the tool server (RFC 9728), for a router that the layer does not stand before.
    pub fn metadata(&self) -> &Metadata {
        &self.0.core.metadata
    }

    /// What the verifier has done, and how it stands.
    pub fn stats(&self) -> Stats {
        self.0.core.stats()
    }

    /// What went wrong last between this verifier and its issuer; `None` when all is well.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.0.core.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the verifier is closed for good: the issuer contradicts what it has signed before. A human must look at the
    /// issuer before this process is started again.
    pub fn alarm(&self) -> Option<Fault> {
        self.0.core.feed.follower().alarm().cloned()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.core.settings
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.core.counters
    }

    pub(crate) fn client(&self) -> &IssuerClient {
        &self.0.core.client
    }

    pub(crate) fn challenger(&self) -> &Challenger {
        &self.0.core.challenger
    }

    /// Whether a resource is this tool server's.
    pub(crate) fn has(&self, resource: &Resource) -> bool {
        let scopes = &self.settings().scopes;
        scopes.is_empty() || scopes.iter().any(|scope| scope.matches(resource))
    }

    /// A refusal with the challenge that goes with it.
    pub(crate) fn refuse(&self, cause: Cause, message: impl Into<Cow<'static, str>>) -> Rejection {
        let message = message.into();
        let challenge = self.challenger().challenge(cause, &message);
        let rejection = Rejection::new(cause, message).challenged(challenge);
        match cause {
            Cause::Token(Code::RevocationStale) => {
                rejection.retried_after(self.settings().lease.duration() / 3)
            }
            _ => rejection,
        }
    }

    fn refuse_token(&self, refusal: &Refusal) -> Rejection {
        self.counters().rejected.count();
        match refusal {
            Refusal::Failure(failure) => {
                self.refuse(Cause::Token(failure.code), failure.message().to_owned())
            }
            Refusal::OtherNonce => self.refuse_nonce(),
            Refusal::TooMany => {
                let message = "too many proofs were used lately: call less often";
                let rejection = Rejection::new(Cause::Token(Code::RateLimited), message);
                rejection.retried_after(Duration::from_secs(5))
            }
        }
    }

    fn refuse_nonce(&self) -> Rejection {
        let message = "repeat the nonce of the header `DPoP-Nonce` in the proof";
        let challenge = self.challenger().other_nonce(message);
        let rejection = Rejection::new(Cause::Token(Code::ProofInvalid), message);
        let rejection = rejection.challenged(challenge);
        match &self.0.core.nonces {
            Some(nonces) => rejection.with_nonce(&nonces.current(self.0.core.clock.read().boot)),
            None => rejection,
        }
    }

    /// The credentials of a request.
    pub(crate) fn credentials<'a>(&self, request: &'a Parts) -> Result<Credentials<'a>, Rejection> {
        Credentials::of(request).map_err(|rejection| {
            self.counters().rejected.count();
            self.refuse(rejection.cause(), rejection.message().to_owned())
        })
    }

    /// The token as it was read, now or before, if it stands.
    pub(crate) fn hold(&self, token: &str) -> Result<Arc<Held>, Rejection> {
        let held = self.0.core.hold(token);
        held.map_err(|failure| self.refuse_token(&failure.into()))
    }

    /// Accepts a token that is held, if it was shown as it must be.
    pub(crate) fn admit(
        &self,
        held: Arc<Held>,
        shown: &Presented<'_>,
    ) -> Result<Principal, Rejection> {
        match self.0.core.admit(&held, shown) {
            Ok(key) => {
                self.counters().accepted.count();
                Ok(Principal::new(self.clone(), held, key))
            }
            Err(refusal) => Err(self.refuse_token(&refusal)),
        }
    }

    /// [`Verifier::admit`] for the head of a request.
    pub(crate) fn admit_request(
        &self,
        held: Arc<Held>,
        request: &Parts,
        credentials: &Credentials<'_>,
        body: Option<[u8; 32]>,
    ) -> Result<Principal, Rejection> {
        // A bearer's request is not looked at, so its URL need not be put together.
        let uri = match credentials.proof {
            Some(_) => format!("{}{}", self.settings().base, request.uri.path()),
            None => String::new(),
        };
        let shown = Presented {
            token: credentials.token,
            scheme: credentials.scheme,
            proof: credentials.proof,
            request: ProofRequest {
                method: request.method.as_str(),
                uri: &uri,
                token: None,
                body,
            },
        };
        self.admit(held, &shown)
    }

    /// Whether a token that was accepted still stands; gives the time at which it does.
    pub(crate) fn stands(&self, held: &Held) -> Result<Timestamp, Rejection> {
        let core = &self.0.core;
        let again = core
            .hold(&held.text)
            .and_then(|held| core.stands(&held.leaf));
        again.map_err(|failure| {
            self.refuse(Cause::Token(failure.code), failure.message().to_owned())
        })
    }

    pub(crate) fn recheck(&self, held: &Held) -> Result<(), Rejection> {
        self.stands(held).map(drop)
    }

    pub(crate) fn count(&self, decided: &Result<Allowed, Rejection>) {
        let counters = self.counters();
        match decided {
            Ok(_) => counters.allowed.count(),
            Err(_) => counters.denied.count(),
        }
    }

    /// Reports a decision, where that is wanted.
    pub(crate) fn report(&self, report: impl FnOnce(Timestamp) -> Report) {
        if let Some(reports) = &self.0.reports {
            let now = self.0.core.clock.read();
            reports.take(report(self.0.core.feed.follower().now(&now)));
        }
    }
}

impl Core {
    /// The token as it was read, now or before. Whoever uses it asks next whether it stands.
    fn hold(&self, token: &str) -> Result<Arc<Held>, Failure> {
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
    fn stands(&self, leaf: &Leaf) -> Result<Timestamp, Failure> {
        self.at_present(|verification, now| verification.stands(leaf, now).map(|()| now))
    }

    fn admit(&self, held: &Held, shown: &Presented<'_>) -> Result<Option<Thumbprint>, Refusal> {
        let admitted = self
            .at_present(|verification, now| Ok((verification.admit(&held.leaf, shown, now)?, now)));
        match admitted? {
            (Some(proof), now) => self.use_up(&proof, now).map(|()| Some(proof.key)),
            (None, _) => Ok(None),
        }
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

    fn use_up(&self, proof: &Proof, now: Timestamp) -> Result<(), Refusal> {
        if let Some(nonces) = &self.nonces {
            let boot = self.clock.read().boot;
            let known = proof.nonce.as_deref();
            if !known.is_some_and(|nonce| nonces.accepts(nonce, boot)) {
                return Err(Refusal::OtherNonce);
            }
        }
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        match replays.use_up(proof, now) {
            Ok(()) => Ok(()),
            Err(Unusable::TooMany) => Err(Refusal::TooMany),
            Err(Unusable::Replayed) => {
                let message = "the proof was used before: make one for each request";
                Err(Failure::new(Code::ProofReplayed, message).into())
            }
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

    fn stats(&self) -> Stats {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let remembered = self
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
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

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.settings().issuer)
            .field("audience", &self.settings().audience)
            .finish_non_exhaustive()
    }
}
