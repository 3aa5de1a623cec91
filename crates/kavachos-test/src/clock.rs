//! A clock that stands still until a test moves it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kavachos::Timestamp;
use kavachos::store::Clock;

/// When the clock of a test starts: Saturday, 21 November 2026, 10:00 UTC.
pub const START: &str = "2026-11-21T10:00:00Z";

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl Default for ManualClock {
    fn default() -> Self {
        let start = START.parse().expect("the start is a time");
        Self(Mutex::new(start))
    }
}

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.plus(by);
    }

    /// Sets the clock to a time in RFC 3339, later or earlier.
    pub fn set(&self, time: &str) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = time.parse().expect("a test names a time in RFC 3339");
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
