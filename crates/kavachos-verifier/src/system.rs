//! The time and the randomness of this machine. Nothing else in this crate asks for either.

use std::time::Duration;

use kavachos_core::revocation::Reading;
use kavachos_core::time::Timestamp;

/// Tells the time in two ways. [`SystemClock`] is the one of the machine; a test has its own.
pub trait Clock: Send + Sync + 'static {
    /// What both clocks say now: the wall clock, and how long the machine has been running, sleep included.
    fn read(&self) -> Reading;
}

/// The clocks of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(
    clippy::disallowed_methods,
    reason = "this is where the verifier, which runs without KavachOS, asks the machine"
)]
impl Clock for SystemClock {
    #[inline]
    fn read(&self) -> Reading {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let boot = rustix::time::clock_gettime(CLOCK);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        Reading {
            boot: Duration::new(seconds, u32::try_from(boot.tv_nsec).unwrap_or(0)),
            wall: Timestamp::MIN.plus(since.unwrap_or_default()),
        }
    }
}

/// A clock that goes on while the machine sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// The wall clock beside it notices sleep.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

/// Random bytes of the system; `None` when it gives none, and then nothing can be asked that must be fresh.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the verifier, which runs without KavachOS, asks the machine"
)]
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_go_forward_and_two_draws_differ() {
        let clock = SystemClock;
        let before = clock.read();
        assert!(before.wall > "2020-01-01T00:00:00Z".parse().unwrap());
        assert!(clock.read().boot >= before.boot && before.boot > Duration::ZERO);
        assert_ne!(random::<16>(), random::<16>());
    }
}
