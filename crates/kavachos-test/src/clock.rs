//! A clock that stands still until a test moves it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos::Timestamp;
use kavachos::store::Clock;

/// When the clock of a test starts: Saturday, 21 November 2026, 10:00 UTC.
pub const START: &str = "2026-11-21T10:00:00Z";

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Hands>);

/// What the wall clock says, and how long the machine has been running.
#[derive(Debug, Clone, Copy)]
struct Hands {
    wall: Timestamp,
    running: Duration,
}

impl Default for ManualClock {
    fn default() -> Self {
        let start = START.parse().expect("the start is a time");
        Self(Mutex::new(Hands {
            wall: start,
            running: Duration::ZERO,
        }))
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands();
        hands.wall = hands.wall.plus(by);
        hands.running = hands.running.saturating_add(by);
    }

    /// Sets the wall clock to a time in RFC 3339, later or earlier. No time passes by that.
    pub fn set(&self, time: &str) {
        self.hands().wall = time.parse().expect("a test names a time in RFC 3339");
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.hands().wall
    }

    fn running(&self) -> Duration {
        self.hands().running
    }
}
