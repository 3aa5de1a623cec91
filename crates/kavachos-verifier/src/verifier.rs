//! The verifier: a token and what came with it go in, a principal or a refusal comes out.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::request::Parts;
use kavachos_core::resource::Resource;
use kavachos_core::revocation::Fault;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Code, Presented, ProofRequest};

use crate::authorize::Allowed;
use crate::builder::Builder;
use crate::challenge::Challenger;
use crate::credentials::Credentials;
use crate::issuer::IssuerClient;
use crate::judgement::{Core, Refusal};
use crate::layer::VerifierLayer;
use crate::metadata::Metadata;
use crate::places::{Place, Places};
use crate::principal::Principal;
use crate::rejection::{Cause, Rejection};
use crate::reports::{Report, Reports};
use crate::settings::Settings;
use crate::stats::{Counters, Stats};
use crate::tasks::Tasks;
use crate::tokens::Held;

/// How long a request waits until its body may be read.
const ROOM_WITHIN: Duration = Duration::from_secs(5);

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
    /// The first that fails of: the checks of [`kavachos_core::token::Verification::verify`] in their order, the nonce, the replay.
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

    /// The places for calls that wait for a human.
    pub(crate) fn waiting(&self) -> &Places {
        &self.0.core.waiting
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

    /// The nonce that the next proof of a caller must repeat, for the header `DPoP-Nonce` of an answer (RFC 9449, section
    /// 8.2): a caller who is told it in time is never refused for the one before. `None` where none is asked for.
    pub fn nonce(&self) -> Option<String> {
        let nonces = self.0.core.nonces.as_ref()?;
        Some(nonces.current(self.0.core.clock.read().boot))
    }

    fn refuse_nonce(&self) -> Rejection {
        let message = "repeat the nonce of the header `DPoP-Nonce` in the proof";
        let challenge = self.challenger().other_nonce(message);
        let rejection = Rejection::new(Cause::Token(Code::ProofInvalid), message);
        let rejection = rejection.challenged(challenge);
        match self.nonce() {
            Some(nonce) => rejection.with_nonce(&nonce),
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
        match self.0.core.admit(held, shown) {
            Ok((held, key)) => {
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
        let uri = self.uri(request, credentials);
        self.admit(held, &presented(request, credentials, &uri, body))
    }

    /// Refuses, before its body is read, a request that no body makes good. Waits for room for the body, and gives it.
    pub(crate) async fn room_for_body(
        &self,
        held: &Held,
        request: &Parts,
        credentials: &Credentials<'_>,
    ) -> Result<Place<'_>, Rejection> {
        let core = &self.0.core;
        let uri = self.uri(request, credentials);
        let foreseen = core.foresee(held, &presented(request, credentials, &uri, None));
        foreseen.map_err(|refusal| self.refuse_token(&refusal))?;
        let human = &held.leaf.authority.subject;
        let room = core.bodies.within(ROOM_WITHIN, human).await;
        room.ok_or_else(|| {
            let message = "too many requests are being read: call again";
            let rejection = Rejection::new(Cause::Token(Code::RateLimited), message);
            rejection.retried_after(ROOM_WITHIN)
        })
    }

    /// A bearer's request is not looked at, so its URL need not be put together.
    fn uri(&self, request: &Parts, credentials: &Credentials<'_>) -> String {
        match credentials.proof {
            Some(_) => format!("{}{}", self.settings().base, request.uri.path()),
            None => String::new(),
        }
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

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.settings().issuer)
            .field("audience", &self.settings().audience)
            .finish_non_exhaustive()
    }
}

/// What the head of a request shows, and this of its body.
fn presented<'a>(
    request: &'a Parts,
    credentials: &Credentials<'a>,
    uri: &'a str,
    body: Option<[u8; 32]>,
) -> Presented<'a> {
    Presented {
        token: credentials.token,
        scheme: credentials.scheme,
        proof: credentials.proof,
        request: ProofRequest {
            method: request.method.as_str(),
            uri,
            token: None,
            body,
        },
    }
}
