//! How a [`Kavach`] is put together.

use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use kavachos_engine::{Directory, Engine, Parts, Runtime, Settings};
use kavachos_store::sqlite::{Host, OpenError, Options, Pending, SqliteStore};
use kavachos_store::{Clock, Rng};

use crate::kavach::Kavach;
use crate::runtime::{SystemClock, SystemRng, TokioRuntime};

/// Why a [`Kavach`] could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The database cannot be used; says why and what to do.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// It was built outside of a tokio runtime.
    #[error("build it inside a tokio runtime, for example in a `#[tokio::main]` function")]
    NoRuntime,
    /// The task that opens the database was stopped.
    #[error("opening the database was interrupted")]
    Interrupted,
}

/// Collects what a [`Kavach`] is made of. Without a database named it works in memory, for tests.
#[must_use]
pub struct Builder {
    options: Options,
    settings: Settings,
    http: kavachos_http::Options,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            options: Options::memory(),
            settings: Settings::default(),
            http: kavachos_http::Options::default(),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
        }
    }
}

impl Builder {
    /// Keeps everything in this SQLite file, which is created if it is not there. One process owns it.
    pub fn sqlite(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.path = Some(path.into());
        self
    }

    /// Keeps everything in memory, gone at the end: for tests.
    pub fn sqlite_in_memory(mut self) -> Self {
        self.options.path = None;
        self
    }

    /// Changes how the database is opened, for example its largest size.
    pub fn store_options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// What to do with migrations that were not applied yet; by default they are applied.
    pub fn pending(mut self, pending: Pending) -> Self {
        self.options.pending = pending;
        self
    }

    /// Other limits than the defaults.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Proxies whose `X-Forwarded-For` is believed.
    pub fn trusted_proxies(mut self, proxies: Vec<IpNet>) -> Self {
        self.http.trusted_proxies = proxies;
        self
    }

    /// Under which address clients know the HTTP API; `http://localhost:3000` unless said.
    pub fn public_url(mut self, url: &str) -> Self {
        url.trim_end_matches('/')
            .clone_into(&mut self.http.public_url);
        self
    }

    /// Another clock than the system's, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of randomness than the system's, for tests.
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// Opens the database and starts.
    ///
    /// # Errors
    /// The database cannot be used, or no tokio runtime is running.
    pub async fn build(self) -> Result<Kavach, BuildError> {
        let runtime = TokioRuntime::current().ok_or(BuildError::NoRuntime)?;
        let directory = Arc::new(Directory::new(self.settings.directory_entries));
        let host = Host {
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            observer: Arc::clone(&directory) as Arc<_>,
        };
        let options = self.options;
        let open = runtime
            .handle()
            .spawn_blocking(move || SqliteStore::open(&options, host));
        let store = open.await.map_err(|_| BuildError::Interrupted)??;
        let engine = Engine::new(Parts {
            store: Arc::new(store),
            directory,
            clock: self.clock,
            rng: self.rng,
            runtime: Arc::new(runtime) as Arc<dyn Runtime>,
            settings: self.settings,
        });
        engine.start_upkeep();
        Ok(Kavach::new(engine, self.http))
    }
}
