//! What the process around us provides: the time and randomness. Passed in, so that tests own both.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::time::Timestamp;

use crate::contract::Observer;

/// The current time. It may jump either way: what must not go back is made monotone where it is used.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// How long the machine has been running. Nobody sets it: it goes forward alone, and never faster than time does.
    fn running(&self) -> Duration;
}

/// Cryptographically secure randomness.
pub trait Rng: Send + Sync {
    /// Fills all of `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// What a store needs from the process around it.
#[derive(Clone)]
pub struct Host {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Names a new log.
    pub rng: Arc<dyn Rng>,
    /// Is told what changed.
    pub observer: Arc<dyn Observer>,
}
