//! Runtimes of their own, which stand for processes: one that is busy does not hold up another, and with its end
//! everything in it ends, connections included. Waiting for what another does is bounded.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::timeout;

/// What takes longer hangs. No promise is measured by it.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);
/// The longest that an end may take.
const LONGEST_END: Duration = Duration::from_secs(10);

/// Waits until this holds; between two looks others go on.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            yield_now().await;
        }
    };
    let waited = timeout(LONGEST, wait).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {LONGEST:?}"));
}

/// A runtime with one thread of its own.
pub(crate) struct Process(Option<Runtime>);

impl Process {
    pub(crate) fn start() -> Self {
        let mut builder = Builder::new_multi_thread();
        Self(Some(
            builder.worker_threads(1).enable_all().build().unwrap(),
        ))
    }

    /// What comes of this in there.
    pub(crate) async fn run<F>(&self, work: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.as_ref().unwrap().spawn(work).await.unwrap()
    }

    /// Ends it; when this returns, nothing in it runs any more.
    pub(crate) async fn stop(mut self) {
        let runtime = self.0.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LONGEST_END));
        ended.await.unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
