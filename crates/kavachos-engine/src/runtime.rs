//! What the engine needs of the process around it, so that it runs on any target; and what it makes of that.

use std::pin::pin;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use kavachos_store::BoxFuture;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// Work that keeps a core for so long that nothing else may wait behind it: the hash of a password, say.
pub trait Work: Send {
    /// Whether anybody still waits for it. If not, it need not be done.
    fn is_wanted(&self) -> bool;

    /// Does it.
    fn run(self: Box<Self>);
}

/// What nobody waits for is wanted for what it does.
impl<F: FnOnce() + Send> Work for F {
    fn is_wanted(&self) -> bool {
        true
    }

    fn run(self: Box<Self>) {
        self();
    }
}

/// Work that somebody waits for.
struct Awaited<T, F> {
    answer: oneshot::Sender<T>,
    work: F,
}

impl<T: Send, F: FnOnce() -> T + Send> Work for Awaited<T, F> {
    fn is_wanted(&self) -> bool {
        !self.answer.is_canceled()
    }

    fn run(self: Box<Self>) {
        // Whoever goes away meanwhile misses nothing.
        let _ = self.answer.send((self.work)());
    }
}

/// As much work waits already as may; none was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as much work waits as may")]
pub struct Busy;

/// Spawning, sleeping, and work that keeps a core. The facade implements it with tokio and with threads of its own, tests
/// with a runtime of theirs.
pub trait Runtime: Send + Sync {
    /// Runs the future beside everything else, to its end or to the end of the process.
    fn spawn(&self, future: BoxFuture<'static, ()>);

    /// Is ready after the time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Does this as soon as what was given before it is done, where it delays nothing that is spawned. A panic of it ends
    /// itself and nothing else. What is not wanted any more when its turn comes is dropped, and takes
    /// nobody's place until then; so is what has not begun when the process ends.
    ///
    /// # Errors
    /// So much waits already that this was not taken.
    fn blocking(&self, work: Box<dyn Work>) -> std::result::Result<(), Busy>;
}

impl Engine {
    /// Does work that keeps a core for long, beside everything else, and waits for what it comes to. When nobody waits any
    /// more before it begins, it is not done.
    ///
    /// # Errors
    /// [`Error::Busy`] when too much of it waits already; [`Error::Internal`] when it panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let taken = self.runtime().blocking(Box::new(Awaited { answer, work }));
        taken.map_err(|Busy| Error::Busy)?;
        let lost = |_| Error::Internal("work ended without a result".to_owned());
        answered.await.map_err(lost)
    }

    /// Waits for this, but not for longer; `None` when it took longer, and it is dropped.
    pub async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(self.sleep(limit))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}
