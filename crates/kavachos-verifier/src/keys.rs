//! The issuer's keys as they are known now: fetched again by age and for a name that is not known, but not more often
//! than a limit; one that is gone from the published set is gone here; and after an hour without any, all are.
//!
//! Where a root is pinned, the keys of the feed come out of the document that it signed, and nothing else names any: not
//! the published set, not an older document, not another one of the same epoch.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kavachos_core::token::{FeedKeys, FeedRoot, Issuer, KeySet};
use tokio::sync::Mutex;

use crate::issuer::{CallError, IssuerClient};

/// How often keys are fetched without a reason.
pub(crate) const REFRESH: Duration = Duration::from_secs(10 * 60);
/// How often keys are fetched at most, whatever tokens are sent.
pub(crate) const SPACING: Duration = Duration::from_secs(30);
/// For how long keys are believed that could not be fetched again.
const BELIEVED: Duration = Duration::from_secs(60 * 60);

/// Where keys are learnt.
pub(crate) enum Source {
    /// A set that is published at this URL, which is believed because TLS says whose it is.
    Set(String),
    /// A document that a pinned root signed.
    Document(Document),
}

/// Where a document is, and by what it is believed.
pub(crate) struct Document {
    pub(crate) url: String,
    pub(crate) issuer: Issuer,
    pub(crate) roots: Vec<FeedRoot>,
    /// No document of an earlier epoch is believed, not the first one either.
    pub(crate) least_epoch: u64,
}

/// What was learnt.
struct Learnt {
    keys: KeySet,
    /// In which epoch they sign, if that is said.
    epoch: Option<u64>,
}

impl Source {
    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Set(url) => url,
            Self::Document(document) => &document.url,
        }
    }

    async fn learn(&self, client: &IssuerClient) -> Result<Learnt, CallError> {
        match self {
            Self::Set(url) => Ok(Learnt {
                keys: client.keys(url).await?,
                epoch: None,
            }),
            Self::Document(document) => document.learn(client).await,
        }
    }
}

impl Document {
    async fn learn(&self, client: &IssuerClient) -> Result<Learnt, CallError> {
        let bytes = client.document(&self.url).await?;
        let text = String::from_utf8(bytes)
            .map_err(|_| CallError::Unreadable("it is no document of feed keys".to_owned()))?;
        let read = FeedKeys::open(&text, &self.issuer, &self.roots);
        let FeedKeys { request, .. } =
            read.map_err(|failure| CallError::Unreadable(failure.to_string()))?;
        if request.epoch < self.least_epoch {
            return Err(CallError::Unreadable(format!(
                "the document is for epoch {}, and none before {} is believed: it may be an old one that is played back",
                request.epoch, self.least_epoch
            )));
        }
        Ok(Learnt {
            keys: request.keys,
            epoch: Some(request.epoch),
        })
    }
}

/// The keys of one purpose. Times are those since the start of the machine.
pub(crate) struct KeyRing {
    source: Source,
    known: RwLock<Known>,
    /// Held while the keys are fetched: others who want them wait for the same answer.
    turn: Mutex<Duration>,
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<KeySet>,
    /// INVARIANT: it never goes back.
    epoch: Option<u64>,
    version: u64,
    seen: Duration,
    /// Why they could not be had when they were last asked for.
    trouble: Option<CallError>,
}

impl Known {
    /// Takes over what was learnt, unless it goes back behind what is known.
    fn take(&mut self, learnt: Learnt, at: Duration) -> Result<(), CallError> {
        let is_other = *self.keys != learnt.keys;
        match (self.epoch, learnt.epoch) {
            (Some(known), Some(new)) if new < known => {
                return Err(CallError::Unreadable(format!(
                    "the document is for epoch {new}, and one for epoch {known} was believed before: it is an old one \
                     that is played back"
                )));
            }
            (Some(known), Some(new)) if new == known && is_other => {
                return Err(CallError::Unreadable(format!(
                    "the root signed two documents for epoch {known}: only the first one is believed"
                )));
            }
            _ => {}
        }
        if is_other {
            self.keys = Arc::new(learnt.keys);
            self.version = self.version.saturating_add(1);
        }
        self.epoch = learnt.epoch;
        self.seen = at;
        Ok(())
    }
}

/// The keys, and which set of them it is: what was read with another set is to be read again.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) set: Arc<KeySet>,
    pub(crate) version: u64,
}

impl KeyRing {
    /// Fetches the keys for the first time.
    pub(crate) async fn fetch(
        client: &IssuerClient,
        source: Source,
        at: Duration,
    ) -> Result<Self, CallError> {
        let learnt = source.learn(client).await?;
        let known = Known {
            keys: Arc::new(learnt.keys),
            epoch: learnt.epoch,
            version: 1,
            seen: at,
            trouble: None,
        };
        Ok(Self {
            source,
            known: RwLock::new(known),
            turn: Mutex::new(at),
        })
    }

    /// The keys; `None` when they were not seen for too long.
    pub(crate) fn current(&self, at: Duration) -> Option<Keys> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        (at.saturating_sub(known.seen) <= BELIEVED).then(|| Keys {
            set: Arc::clone(&known.keys),
            version: known.version,
        })
    }

    /// Which set it is.
    pub(crate) fn version(&self) -> u64 {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.version
    }

    /// In which epoch the keys sign, if a root says it.
    pub(crate) fn epoch(&self) -> Option<u64> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.epoch
    }

    /// Why they could not be had when they were last asked for.
    pub(crate) fn trouble(&self) -> Option<CallError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.trouble.clone()
    }

    /// Fetches the keys again, unless they were asked for a short while ago; gives whether they were asked for.
    pub(crate) async fn refresh(
        &self,
        client: &IssuerClient,
        at: Duration,
    ) -> Result<bool, CallError> {
        let mut asked = self.turn.lock().await;
        if at.saturating_sub(*asked) < SPACING {
            return Ok(false);
        }
        *asked = at;
        let learnt = self.source.learn(client).await;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let taken = learnt.and_then(|learnt| known.take(learnt, at));
        known.trouble = taken.clone().err();
        taken.map(|()| true)
    }
}
