//! What the engine needs of the process around it, so that it runs on any target.

use std::time::Duration;

use kavachos_store::BoxFuture;

/// Spawning and sleeping. The facade implements it with tokio, tests with a runtime of their own.
pub trait Runtime: Send + Sync {
    /// Runs the future beside everything else, to its end or to the end of the process.
    fn spawn(&self, future: BoxFuture<'static, ()>);

    /// Is ready after the time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
