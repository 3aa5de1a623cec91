//! The native process: its clock, its randomness, its tasks. The only place that touches them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kavachos_core::time::Timestamp;
use kavachos_engine::{Busy, Runtime, Work};
use kavachos_store::{BoxFuture, Clock, Rng};
use tokio::runtime::Handle;

use crate::long_work::LongWork;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that owns the system clock"
    )]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn running(&self) -> Duration {
        let boot = rustix::time::clock_gettime(RUNNING);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(boot.tv_nsec).unwrap_or(0))
    }
}

/// The clock that nobody sets. Where it goes on while the machine sleeps, so do the leases of others.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RUNNING: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// It may stand still in a sleep, so that what is remembered is remembered for longer.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RUNNING: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

/// The system's source of randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    /// Without randomness nothing that is made here would be secret: the process ends.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that owns the system's randomness"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            std::process::abort();
        }
    }
}

/// Tasks and sleeping with tokio; work that keeps a core on threads of its own.
#[derive(Debug, Clone)]
pub struct TokioRuntime {
    handle: Handle,
    work: Arc<LongWork>,
}

impl TokioRuntime {
    /// The runtime that is running this code; `None` outside of one.
    pub fn current() -> Option<Self> {
        Self::with_threads(LongWork::half_of_the_cores())
    }

    /// The same with so many threads for work that keeps a core.
    pub fn with_threads(threads: NonZeroUsize) -> Option<Self> {
        let handle = Handle::try_current().ok()?;
        let work = Arc::new(LongWork::new(threads));
        Some(Self { handle, work })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Runtime for TokioRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(future));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn blocking(&self, work: Box<dyn Work>) -> Result<(), Busy> {
        self.work.take(work)
    }
}
