//! The issuer's keys as they are known now: fetched again by age and for a name that is not known, but not more often
//! than a limit; one that is gone from the published set is gone here; and after an hour without any, all are.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kavachos_core::token::KeySet;
use tokio::sync::Mutex;

use crate::issuer::{CallError, IssuerClient};

/// How often keys are fetched without a reason.
pub(crate) const REFRESH: Duration = Duration::from_secs(10 * 60);
/// How often keys are fetched at most, whatever tokens are sent.
pub(crate) const SPACING: Duration = Duration::from_secs(30);
/// For how long keys are believed that could not be fetched again.
const BELIEVED: Duration = Duration::from_secs(60 * 60);

/// The keys of one purpose. Times are those since the start of the machine.
pub(crate) struct KeyRing {
    url: String,
    known: RwLock<Known>,
    /// Held while the keys are fetched: others who want them wait for the same answer.
    turn: Mutex<Duration>,
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<KeySet>,
    version: u64,
    seen: Duration,
}

/// The keys, and which set of them it is: what was read with another set is to be read again.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) set: Arc<KeySet>,
    pub(crate) version: u64,
}

impl KeyRing {
    /// Fetches the keys that are published at a URL for the first time.
    pub(crate) async fn fetch(
        client: &IssuerClient,
        url: String,
        at: Duration,
    ) -> Result<Self, CallError> {
        let keys = Arc::new(client.keys(&url).await?);
        let known = Known {
            keys,
            version: 1,
            seen: at,
        };
        Ok(Self {
            url,
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
        let keys = client.keys(&self.url).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if *known.keys != keys {
            known.keys = Arc::new(keys);
            known.version = known.version.saturating_add(1);
        }
        known.seen = at;
        Ok(true)
    }
}
