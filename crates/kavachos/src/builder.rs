//! How a [`Kavach`] is put together.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use kavachos_core::invalid::Invalid;
use kavachos_core::secret::Secret;
use kavachos_core::token::FeedRoot;
use kavachos_engine::fetch::{Fetcher, Loopback};
use kavachos_engine::hooks::Hook;
use kavachos_engine::plugin::{Plugin, PluginError, Plugins};
use kavachos_engine::{
    Checkpoint, CheckpointKeeper, Directory, Engine, FeedAccess, Parts, Providers, Runtime,
    Setback, Settings,
};
use kavachos_store::migration::{Migration, Pending};
#[cfg(feature = "postgres")]
use kavachos_store::postgres::{self, PostgresStore};
use kavachos_store::sqlite::{OpenError, Options, SqliteStore};
use kavachos_store::{Clock, Host, Rng, Store};
use rustls::pki_types::CertificateDer;

use crate::checkpoint_file::CheckpointFile;
use crate::fetch::GuardedFetcher;
use crate::kavach::Kavach;
#[cfg(feature = "mail")]
use crate::mail::{MailError, Mailer};
use crate::runtime::{SystemClock, SystemRng, TokioRuntime};

/// Why a [`Kavach`] could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The database cannot be used; says why and what to do.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The PostgreSQL database cannot be used; says why and what to do.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// Mail cannot be sent as it is configured; says what is wrong.
    #[cfg(feature = "mail")]
    #[error(transparent)]
    Mail(#[from] MailError),
    /// A plugin is wrong; says which and how.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The address under which clients know it is none.
    #[error("`public_url`: {0}")]
    PublicUrl(Invalid),
    /// An outside provider does not go with the public address; says which and why.
    #[error("`providers{}`: {}", .0.field(), .0.message())]
    Providers(Invalid),
    /// The database is not the one that the last checkpoint was taken of, or is an earlier state of it.
    #[error(
        "`{file}` was written with another state of this database: {setback}. What was revoked meanwhile would live again. \
         If a backup was put back, use `kavach restore`; if not, bring the database back that belongs to this file"
    )]
    Setback {
        /// The file of the checkpoint.
        file: String,
        /// How they differ.
        setback: Setback,
    },
    /// The last checkpoint cannot be read, so it is not known whether the database is what it was.
    #[error(
        "the checkpoint `{file}` cannot be read: {reason}. Without it nobody can tell whether an old backup was put back: \
         if it was not, move the file away"
    )]
    Checkpoint {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
    /// No checkpoint can be kept where they are to be.
    #[error(
        "no checkpoint can be kept ({reason}); without one nobody can tell later whether an old backup was put back: make \
         room there and have it writable, or name another file (`checkpoint.path`, which may be `off`)"
    )]
    CheckpointNotKept {
        /// The file, and why not.
        reason: String,
    },
    /// It was built outside of a tokio runtime.
    #[error("build it inside a tokio runtime, for example in a `#[tokio::main]` function")]
    NoRuntime,
    /// TLS cannot be used, so nothing could be fetched.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
    /// The task that opens the database was stopped.
    #[error("opening the database was interrupted")]
    Interrupted,
}

/// Whether this process tells webhooks of what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Couriers {
    Sent,
    Kept,
}

/// Whether this process does what a server does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upkeep {
    Done,
    Left,
}

/// Where checkpoints are kept.
#[derive(Debug, Clone)]
enum Checkpoints {
    Nowhere,
    /// In this file.
    In(CheckpointFile),
    /// In this file if it is there already.
    IfIn(CheckpointFile),
}

/// Collects what a [`Kavach`] is made of. Without a database named it works in memory, for tests.
#[must_use]
pub struct Builder {
    database: Database,
    settings: Settings,
    http: kavachos_http::Options,
    loopback: Loopback,
    authorities: Vec<CertificateDer<'static>>,
    master_key: Option<Secret>,
    couriers: Couriers,
    #[cfg(feature = "mail")]
    mail: Option<Mailer>,
    upkeep: Upkeep,
    checkpoints: Checkpoints,
    plugins: Vec<Arc<dyn Plugin>>,
    hooks: Vec<Arc<dyn Hook>>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    password_threads: Option<NonZeroUsize>,
    through: Option<Through>,
}

/// Puts something between the engine and its database.
type Through = Box<dyn FnOnce(Arc<dyn Store>) -> Arc<dyn Store> + Send>;

/// Where everything is kept.
struct Database {
    sqlite: Options,
    /// If there is one, it is meant.
    #[cfg(feature = "postgres")]
    postgres: Option<postgres::Options>,
    pending: Pending,
}

impl Database {
    /// Names an SQLite database, and forgets any other.
    fn sqlite(&mut self) -> &mut Options {
        #[cfg(feature = "postgres")]
        {
            self.postgres = None;
        }
        &mut self.sqlite
    }

    /// Those of plugins, after our own.
    fn add_migrations(&mut self, steps: &[Migration]) {
        self.sqlite.migrations.extend_from_slice(steps);
        #[cfg(feature = "postgres")]
        if let Some(options) = &mut self.postgres {
            options.migrations.extend_from_slice(steps);
        }
    }

    fn open(mut self, host: Host) -> Result<Arc<dyn Store>, BuildError> {
        #[cfg(feature = "postgres")]
        if let Some(mut options) = self.postgres {
            options.pending = self.pending;
            return Ok(Arc::new(PostgresStore::open(&options, host)?));
        }
        self.sqlite.pending = self.pending;
        Ok(Arc::new(SqliteStore::open(&self.sqlite, host)?))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            database: Database {
                sqlite: Options::memory(),
                #[cfg(feature = "postgres")]
                postgres: None,
                pending: Pending::Apply,
            },
            settings: Settings::default(),
            http: kavachos_http::Options::default(),
            loopback: Loopback::Refused,
            authorities: Vec::new(),
            master_key: None,
            couriers: Couriers::Sent,
            #[cfg(feature = "mail")]
            mail: None,
            upkeep: Upkeep::Done,
            checkpoints: Checkpoints::Nowhere,
            plugins: Vec::new(),
            hooks: Vec::new(),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            password_threads: None,
            through: None,
        }
    }
}

impl Builder {
    /// Keeps everything in this SQLite file, which is created if it is not there. One process owns it.
    pub fn sqlite(mut self, path: impl Into<PathBuf>) -> Self {
        self.database.sqlite().path = Some(path.into());
        self
    }

    /// Keeps everything in memory, gone at the end: for tests.
    pub fn sqlite_in_memory(mut self) -> Self {
        self.database.sqlite().path = None;
        self
    }

    /// Keeps everything in this PostgreSQL database, `postgres://user:password@host/database`. One process writes it.
    #[cfg(feature = "postgres")]
    pub fn postgres(mut self, url: impl Into<String>) -> Self {
        self.database.postgres = Some(postgres::Options::url(url));
        self
    }

    /// Changes how an SQLite database is opened, for example its largest size.
    pub fn store_options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(self.database.sqlite());
        self
    }

    /// What to do with migrations that were not applied yet; by default they are applied.
    pub fn pending(mut self, pending: Pending) -> Self {
        self.database.pending = pending;
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

    /// Under which address clients know the HTTP API, which is also the issuer of tokens and of the feed of revocations;
    /// `http://localhost:3000` unless said.
    pub fn public_url(mut self, url: &str) -> Self {
        url.trim_end_matches('/')
            .clone_into(&mut self.http.public_url);
        self
    }

    /// Whose pages people see: the name of the product, its colour, and a style sheet on top of ours.
    pub fn brand(mut self, brand: kavachos_http::Brand) -> Self {
        self.http.brand = brand;
        self
    }

    /// The largest file that `POST /api/v1/import` takes; 16 GiB unless said.
    pub fn max_import_bytes(mut self, bytes: u64) -> Self {
        self.http.max_import_bytes = bytes;
        self
    }

    /// Whether webhooks, and whatever else is fetched from an address that someone chose, may go to this machine itself,
    /// also without TLS. By default they may not: it is for development and tests.
    pub fn fetching_from_loopback(mut self, loopback: Loopback) -> Self {
        self.loopback = loopback;
        self
    }

    /// Authorities that are trusted for TLS besides the public ones, where something is fetched. To which addresses that may
    /// go, they do not change.
    pub fn fetching_with_authorities(mut self, authorities: Vec<CertificateDer<'static>>) -> Self {
        self.authorities = authorities;
        self
    }

    /// The key of which other secrets are derived (`kv_master_...`); without one there are no webhooks. Keep it apart from
    /// the database: with both, whoever has them can sign what webhooks are told.
    pub fn master_key(mut self, key: Option<Secret>) -> Self {
        self.master_key = key;
        self
    }

    /// Sends mail so; without this, what needs mail is refused. What waits to be sent is sealed under a key of the master
    /// key, so that is needed too.
    #[cfg(feature = "mail")]
    pub fn mail(mut self, mailer: Mailer) -> Self {
        self.mail = Some(mailer);
        self
    }

    /// Tells webhooks nothing and sends no mail: that is left to the process that opens the database next.
    pub fn without_couriers(mut self) -> Self {
        self.couriers = Couriers::Kept;
        self
    }

    /// Does nothing by itself, tells webhooks nothing and sends no mail: for whoever repairs a database.
    pub fn at_rest(mut self) -> Self {
        self.couriers = Couriers::Kept;
        self.upkeep = Upkeep::Left;
        self
    }

    /// Notes in this file, outside of the database, how far its logs have come: before every kill is answered, and every
    /// few seconds. A database that is not as far as the file says is not opened: it was put back from a backup, and
    /// `kavach restore` makes it safe. Nor is any while the file cannot be written, unless it is of this epoch already.
    pub fn checkpoints_in(mut self, file: impl Into<PathBuf>) -> Self {
        self.checkpoints = Checkpoints::In(CheckpointFile::new(file));
        self
    }

    /// The same if the file is there already: for commands that work on the database of a server.
    pub fn checkpoints_if_in(mut self, file: impl Into<PathBuf>) -> Self {
        self.checkpoints = Checkpoints::IfIn(CheckpointFile::new(file));
        self
    }

    /// Asks this hook before anything is allowed, and tells it what happened. Hooks are asked in the order in which they
    /// are given, those of plugins after them.
    pub fn hook(mut self, hook: impl Hook + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Builds this plugin in: its tables, routes, kinds of records and hooks. What is wrong with it is said by
    /// [`Builder::build`].
    pub fn plugin(mut self, plugin: impl Plugin + 'static) -> Self {
        self.plugins.push(Arc::new(plugin));
        self
    }

    /// Builds these plugins in, in this order.
    pub fn plugins(mut self, plugins: impl IntoIterator<Item = Arc<dyn Plugin>>) -> Self {
        self.plugins.extend(plugins);
        self
    }

    /// How long all hooks together may take over one call before it is denied; 100 ms unless said.
    pub fn hook_time_limit(mut self, limit: Duration) -> Self {
        self.settings.hook_time_limit = limit;
        self
    }

    /// How many threads hash passwords; half of the cores unless said. They are threads of their own, and others go first,
    /// so that many who sign in at once do not delay decisions.
    pub fn password_threads(mut self, threads: NonZeroUsize) -> Self {
        self.password_threads = Some(threads);
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

    /// Who may follow the log of revocations; whoever has a key for it unless said.
    pub fn feed(mut self, access: FeedAccess) -> Self {
        self.settings.feed = access;
        self
    }

    /// The root key that is kept offline, without whose signature no other key signs heads of the log of revocations;
    /// without one those keys rotate by age.
    pub fn feed_root(mut self, root: FeedRoot) -> Self {
        self.settings.feed_root = Some(root);
        self
    }

    /// The outside providers whose humans may use their tokens here; none unless said.
    pub fn providers(mut self, providers: Providers) -> Self {
        self.settings.providers = providers;
        self
    }

    /// What stands between the engine and its database: it is given the opened database, and what it returns is used.
    /// For whoever measures, or makes it fail on purpose.
    pub fn store_through(
        mut self,
        through: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store> + Send + 'static,
    ) -> Self {
        self.through = Some(Box::new(through));
        self
    }

    /// Opens the database and starts.
    ///
    /// # Errors
    /// The database cannot be used, the public address is none, or no tokio runtime is running.
    pub async fn build(self) -> Result<Kavach, BuildError> {
        let runtime = match self.password_threads {
            Some(threads) => TokioRuntime::with_threads(threads),
            None => TokioRuntime::current(),
        };
        let runtime = runtime.ok_or(BuildError::NoRuntime)?;
        let mut settings = self.settings;
        settings.issuer = (self.http.public_url.parse()).map_err(BuildError::PublicUrl)?;
        (settings.providers.check(&settings.issuer)).map_err(BuildError::Providers)?;
        let fetcher = GuardedFetcher::trusting(self.loopback, self.authorities)
            .map_err(|error| BuildError::Tls(error.to_string()))?;
        let fetcher: Arc<dyn Fetcher> = Arc::new(fetcher);
        #[cfg(feature = "mail")]
        let mail = (self.mail)
            .map(|mailer| mailer.through(Arc::clone(&fetcher)))
            .transpose()?;
        #[cfg(not(feature = "mail"))]
        let mail = None;
        let directory = Arc::new(Directory::new(settings.directory_entries));
        let host = Host {
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            observer: Arc::clone(&directory) as Arc<_>,
        };
        let need = self.checkpoints.need();
        let (known, checkpoints) = self.checkpoints.read()?;
        let plugins = Plugins::new(&self.plugins, self.hooks)?;
        let mut database = self.database;
        database.add_migrations(plugins.migrations());
        let open = runtime.handle().spawn_blocking(move || database.open(host));
        let store = open.await.map_err(|_| BuildError::Interrupted)??;
        let store = match self.through {
            Some(through) => through(store),
            None => store,
        };
        let parts = Parts {
            store,
            directory,
            clock: self.clock,
            rng: self.rng,
            runtime: Arc::new(runtime) as Arc<dyn Runtime>,
            fetcher,
            rsa: crate::rsa::verifies,
            master_key: self.master_key,
            mail,
            checkpoints: checkpoints
                .clone()
                .map(|file| Arc::new(file) as Arc<dyn CheckpointKeeper>),
            settings,
        };
        let engine = Engine::with(parts, plugins);
        if let (Some(known), Some(file)) = (&known, &checkpoints) {
            hold_against(&engine, known, file).await?;
        }
        engine.expect_followers_of_before().await;
        if self.upkeep == Upkeep::Done {
            begin_checkpoints(&engine, need, known.as_ref()).await?;
            engine.start_upkeep();
        }
        if self.couriers == Couriers::Sent {
            engine.start_webhooks();
            engine.start_mails();
        }
        Ok(Kavach::new(engine, self.http))
    }
}

/// Whether a process goes on that cannot keep checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// It does: it is over soon.
    Wanted,
    /// It does not start, unless there is one that does for now.
    Needed,
}

impl Checkpoints {
    const fn need(&self) -> Need {
        match self {
            Self::In(_) => Need::Needed,
            Self::Nowhere | Self::IfIn(_) => Need::Wanted,
        }
    }

    /// The last checkpoint, if there is one, and where the next ones go.
    fn read(self) -> Result<(Option<Checkpoint>, Option<CheckpointFile>), BuildError> {
        let unreadable = |file: &CheckpointFile, error: std::io::Error| BuildError::Checkpoint {
            file: file.path().display().to_string(),
            reason: error.to_string(),
        };
        let read = |file: &CheckpointFile| file.read().map_err(|error| unreadable(file, error));
        match self {
            Self::Nowhere => Ok((None, None)),
            Self::In(file) => Ok((read(&file)?, Some(file))),
            Self::IfIn(file) => {
                let known = read(&file)?;
                let is_there = known.is_some();
                Ok((known, is_there.then_some(file)))
            }
        }
    }
}

/// Keeps the first checkpoint of this process. Where it cannot be, on a full disk say, the last one does for now if it is of
/// this log and epoch: an earlier state still shows by it. One of an earlier epoch lets any backup of this one pass.
async fn begin_checkpoints(
    engine: &Engine,
    need: Need,
    known: Option<&Checkpoint>,
) -> Result<(), BuildError> {
    let head = engine.head();
    let does = known.is_some_and(|known| (known.log, known.epoch) == (head.log, head.epoch));
    if need == Need::Wanted || does {
        engine.keep_checkpoint().await;
        return Ok(());
    }
    let Err(reason) = engine.try_to_keep_checkpoint().await else {
        return Ok(());
    };
    engine.release().await;
    Err(BuildError::CheckpointNotKept { reason })
}

/// Refuses a database that lost something, and leaves it as it is.
async fn hold_against(
    engine: &Engine,
    known: &Checkpoint,
    file: &CheckpointFile,
) -> Result<(), BuildError> {
    let shown = file.path().display().to_string();
    let refused = match engine.hold_against(known).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(setback)) => BuildError::Setback {
            file: shown,
            setback,
        },
        Err(error) => BuildError::Checkpoint {
            file: shown,
            reason: format!("the database could not be compared with it ({error})"),
        },
    };
    engine.release().await;
    Err(refused)
}
