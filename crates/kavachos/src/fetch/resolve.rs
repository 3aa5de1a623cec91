//! From a name to its addresses.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use kavachos_engine::fetch::FetchError;
use kavachos_store::BoxFuture;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many names are looked up at the same time. A look-up cannot be taken back, so one that hangs keeps its turn.
const MAX_LOOKUPS: usize = 32;

/// Looks names up; tests bring resolvers that lie.
pub(super) trait Resolve: Send + Sync {
    /// All addresses of a name.
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Vec<IpAddr>, FetchError>>;
}

/// The system's resolver.
pub(super) struct SystemResolver {
    turns: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Vec<IpAddr>, FetchError>> {
        // With its final dot a name is whole: nothing is tried below the machine's own domain.
        let name = if name.contains('.') {
            format!("{name}.")
        } else {
            name.to_owned()
        };
        let turns = Arc::clone(&self.turns);
        Box::pin(async move {
            let unresolved = |_| FetchError::Unresolved;
            let turn = turns.acquire_owned().await.map_err(unresolved)?;
            let lookup = spawn_blocking(move || {
                let _turn = turn;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                std::io::Result::Ok(found.map(|address| address.ip()).collect())
            });
            let found = lookup.await.map_err(|_| FetchError::Unresolved)?;
            found.map_err(|_| FetchError::Unresolved)
        })
    }
}
