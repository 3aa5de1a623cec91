//! The follower of the revocation log, driven over the network: it asks, and it listens.

use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use kavachos_core::json::Object;
use kavachos_core::revocation::{
    Fault, Follower, Instance, Lease, MAX_SNAPSHOT_MARKS, Need, Nonce, PollAnswer, Progress,
    Record, SnapshotAnswer,
};
use kavachos_core::token::Code;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::http::{Bounds, Chunks};
use crate::issuer::{CallError, IssuerClient};
use crate::keys::KeyRing;
use crate::settings::Settings;
use crate::sse::Lines;
use crate::stats::Counters;
use crate::system::{Clock, random};

/// What an issuer calls a follower without a key; one with a key it calls by its audience.
const ANYONE: &str = "anonymous";
/// A snapshot may be long: so many bytes for each mark.
const MARK_BYTES: usize = 96;
/// For a snapshot to come.
const SNAPSHOT_TIME: Duration = Duration::from_secs(30);
/// The shortest time that a poll is given.
const POLL_TIME: Duration = Duration::from_secs(1);
/// After so long without a byte, a comment included, the stream is taken for dead.
const SILENCE: Duration = Duration::from_secs(45);

/// What is known of revocations, and how more is learnt.
pub(crate) struct Feed {
    follower: RwLock<Follower>,
    /// The keys by which heads of the log are signed.
    pub(crate) keys: KeyRing,
    /// Somebody wants a poll before it is due.
    pub(crate) wanted: Notify,
}

/// Why nothing was learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedError {
    Call(CallError),
    Fault(Fault),
    Keys(CallError),
    NoRandomness,
    KeysForgotten,
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Keys(error) => write!(f, "the keys of the feed: {error}"),
            Self::NoRandomness => f.write_str("this machine gives no random bytes"),
            Self::KeysForgotten => f.write_str("the keys of the feed were not seen for an hour"),
        }
    }
}

impl FeedError {
    /// Whether other keys might help.
    fn is_about_keys(&self) -> bool {
        match self {
            Self::Fault(Fault::BadHead(failure)) => failure.code == Code::UnknownKey,
            Self::Fault(Fault::OtherEpoch) => true,
            Self::KeysForgotten => true,
            _ => false,
        }
    }
}

impl From<CallError> for FeedError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl Feed {
    /// A feed that knows nothing yet; `None` when there is no randomness.
    pub(crate) fn new(settings: &Settings, client: &IssuerClient, keys: KeyRing) -> Option<Self> {
        let name = if client.is_known() {
            settings.audience.as_str()
        } else {
            ANYONE
        };
        let name = name.parse().ok()?;
        let instance: Instance = URL_SAFE_NO_PAD.encode(random::<16>()?).parse().ok()?;
        let mut follower = Follower::new(settings.issuer.clone(), name, instance, settings.lease);
        if let Some(epoch) = keys.epoch() {
            follower.require_epoch(epoch);
        }
        Some(Self {
            follower: RwLock::new(follower),
            keys,
            wanted: Notify::new(),
        })
    }

    pub(crate) fn follower(&self) -> RwLockReadGuard<'_, Follower> {
        self.follower.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Follower> {
        (self.follower.write()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once for what is needed: what is new, or everything.
    pub(crate) async fn ask(
        &self,
        client: &IssuerClient,
        clock: &dyn Clock,
        lease: Lease,
    ) -> Result<Progress, FeedError> {
        let nonce = random::<16>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let nonce: Option<Nonce> = nonce.and_then(|nonce| nonce.parse().ok());
        let nonce = nonce.ok_or(FeedError::NoRandomness)?;
        let need = self.follower().need();
        let progress = match need {
            Need::Snapshot => self.ask_for_all(client, clock, nonce).await,
            Need::Nothing | Need::Poll => {
                let time = (lease.duration() / 3).max(POLL_TIME);
                self.ask_for_new(client, clock, nonce, time).await
            }
        };
        if progress.as_ref().is_err_and(FeedError::is_about_keys) {
            let asked = self.refresh_keys(client, clock.read().boot).await;
            if let (false, Some(error)) = (asked.map_err(FeedError::Keys)?, self.keys.trouble()) {
                return Err(FeedError::Keys(error));
            }
        }
        progress
    }

    /// Fetches the keys again, unless they were asked for a short while ago; gives whether they were asked for. If a root
    /// says in which epoch they sign, heads of another one count no more, nor does a lease that one gave.
    pub(crate) async fn refresh_keys(
        &self,
        client: &IssuerClient,
        at: Duration,
    ) -> Result<bool, CallError> {
        let asked = self.keys.refresh(client, at).await?;
        let mut follower = self.change();
        // Read while nobody else changes the follower: of two who fetched, the later epoch stays.
        if let Some(epoch) = self.keys.epoch() {
            follower.require_epoch(epoch);
        }
        Ok(asked)
    }

    async fn ask_for_new(
        &self,
        client: &IssuerClient,
        clock: &dyn Clock,
        nonce: Nonce,
        time: Duration,
    ) -> Result<Progress, FeedError> {
        let question = self.change().begin(nonce, clock.read());
        let asked = client.post("/api/v1/revocations/head", &question, time);
        let Object(answer): Object<PollAnswer> = asked.await?;
        let mut follower = self.change();
        let now = clock.read();
        // Looked up now: keys that were replaced while the answer was on its way sign nothing any more.
        let keys = (self.keys.current(now.boot)).ok_or(FeedError::KeysForgotten)?;
        (follower.answer(&answer, &keys.set, &now)).map_err(FeedError::Fault)
    }

    async fn ask_for_all(
        &self,
        client: &IssuerClient,
        clock: &dyn Clock,
        nonce: Nonce,
    ) -> Result<Progress, FeedError> {
        let question = self.change().begin_snapshot(nonce, clock.read());
        // Both consist of characters that stand for themselves in a query.
        let path = format!(
            "/api/v1/revocations/snapshot?nonce={}&instance={}",
            question.nonce, question.instance
        );
        let bounds = Bounds {
            time: SNAPSHOT_TIME,
            bytes: MAX_SNAPSHOT_MARKS * MARK_BYTES,
        };
        let Object(answer): Object<SnapshotAnswer> = client.get(&path, bounds).await?;
        let mut follower = self.change();
        let now = clock.read();
        // Looked up now: keys that were replaced while the answer was on its way sign nothing any more.
        let keys = (self.keys.current(now.boot)).ok_or(FeedError::KeysForgotten)?;
        (follower.snapshot(&answer, &keys.set, &now)).map_err(FeedError::Fault)
    }

    /// Takes what is pushed until the connection ends.
    pub(crate) async fn listen(
        &self,
        client: &IssuerClient,
        counters: &Counters,
    ) -> Result<(), FeedError> {
        let since = self.follower().head().rseq;
        let path = format!("/api/v1/revocations/stream?since={since}");
        let mut chunks: Chunks = client.stream(&path).await?;
        let mut lines = Lines::default();
        loop {
            let broken = |reason: &str| CallError::Unreadable(reason.to_owned());
            let next = timeout(SILENCE, chunks.next()).await;
            let Some(chunk) = next.map_err(|_| broken("it fell silent"))? else {
                return Ok(());
            };
            let chunk = chunk.map_err(|error| CallError::Unreachable(error.to_string()))?;
            let data = lines
                .take(&chunk)
                .map_err(|_| broken("a line has no end"))?;
            for record in data {
                let record: Record =
                    serde_json::from_slice(&record).map_err(|error| broken(&error.to_string()))?;
                self.take(&record);
                counters.pushes.count();
            }
        }
    }

    fn take(&self, record: &Record) {
        let mut follower = self.change();
        follower.pushed(record);
        if follower.need() != Need::Nothing {
            self.wanted.notify_one();
        }
    }
}
