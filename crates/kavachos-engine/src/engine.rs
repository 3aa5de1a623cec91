//! The engine: one value that holds a tenant's store, directory, clock, randomness and limits.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kavachos_core::id::{Id, Named};
use kavachos_core::id_token::RsaCheck;
use kavachos_core::ledger::{Actor as Name, Blinding, Entry, Outcome, Record};
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::{Batch, Clock, CommitError, Head, Health, Receipt, Rng, Store, mail};

use crate::act::Act;
use crate::actor::{Actor, Caller};
use crate::approvals::WAITING;
use crate::audit_export::EXPORTS;
use crate::checkpoint::CheckpointKeeper;
use crate::clients::Documents;
use crate::directory::{ALL_KILLS, Changed, Directory};
use crate::error::{Error, Result};
use crate::events::Listeners;
use crate::feed::Feed;
use crate::fetch::Fetcher;
use crate::flood::{Flood, Limits};
use crate::hooks::Hooks;
use crate::mail::{Mailing, Outbox};
use crate::own_data::OWN_EXPORTS;
use crate::plugin::{Plugins, ShutOut};
use crate::providers::ProviderKeys;
use crate::runtime::Runtime;
use crate::seats::Seats;
use crate::settings::Settings;
use crate::signing_keys::Ring;
use crate::webhooks::Couriers;

/// How often a change that met another one reads and decides again.
pub(crate) const MAX_CONFLICTS: usize = 8;

/// What an engine is made of. The directory must be the one that the store tells its changes to.
pub struct Parts {
    /// Where everything is stored.
    pub store: Arc<dyn Store>,
    /// The compiled things in memory; the store's observer.
    pub directory: Arc<Directory>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids, handles and credentials.
    pub rng: Arc<dyn Rng>,
    /// Tasks and sleeping.
    pub runtime: Arc<dyn Runtime>,
    /// What fetches the addresses that others chose.
    pub fetcher: Arc<dyn Fetcher>,
    /// What checks the RSA signatures of outside providers; one that says no to everything where there are none.
    pub rsa: RsaCheck,
    /// What other secrets are derived from; without one there are no webhooks.
    pub master_key: Option<Secret>,
    /// How mail is sent, if it is.
    pub mail: Option<Mailing>,
    /// Where checkpoints are kept, if they are.
    pub checkpoints: Option<Arc<dyn CheckpointKeeper>>,
    /// Limits.
    pub settings: Settings,
}

/// One tenant's engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    flood: Flood,
    listeners: Listeners,
    couriers: Couriers,
    outbox: Outbox,
    keyring: Ring,
    exports: Seats,
    own_exports: Seats,
    waiting: Seats,
    feed: Feed,
    hooks: Hooks,
    plugins: Plugins,
    plugin_tasks: Arc<AtomicUsize>,
    shut_out: ShutOut,
    provider_keys: ProviderKeys,
    documents: Documents,
    own_nonces: [u8; 32],
}

/// What goes on in the background keeps hold of an engine only while it does something, so that an engine that nobody
/// else has ends, also one that was never closed.
pub(crate) struct Background {
    shared: Weak<Shared>,
    runtime: Arc<dyn Runtime>,
}

impl Background {
    /// The engine, after a while; `None` once it is wound down or gone.
    pub(crate) async fn after(&self, pause: Duration) -> Option<Engine> {
        self.runtime.sleep(pause).await;
        let engine = Engine {
            shared: self.shared.upgrade()?,
        };
        (!engine.listeners().is_ending()).then_some(engine)
    }
}

/// A planned change: what to commit, and what to answer once it is committed.
pub(crate) struct Change<T> {
    pub(crate) batch: Batch,
    pub(crate) value: T,
}

/// A change that is on disk.
pub(crate) struct Committed {
    pub(crate) receipt: Receipt,
    /// Whether it killed something.
    pub(crate) stops: bool,
}

/// What a plan came to: something to commit, or an answer that changes nothing (a repeated request).
pub(crate) enum Plan<T> {
    Commit(Box<Change<T>>),
    Done(T),
}

impl<T> Plan<T> {
    pub(crate) fn commit(batch: Batch, value: T) -> Self {
        Self::Commit(Box::new(Change { batch, value }))
    }
}

impl Engine {
    /// An engine of these parts.
    pub fn new(parts: Parts) -> Self {
        Self::with(parts, Plugins::default())
    }

    /// An engine of these parts with these plugins and hooks.
    pub fn with(parts: Parts, plugins: Plugins) -> Self {
        let flood = Flood::new(Limits {
            denials: parts.settings.denials_per_minute,
            reports: parts.settings.reports_per_minute,
            refreshes: parts.settings.refreshes_per_minute,
        });
        let mut own_nonces = [0; 32];
        parts.rng.fill(&mut own_nonces);
        Self {
            shared: Arc::new(Shared {
                parts,
                flood,
                listeners: Listeners::default(),
                couriers: Couriers::default(),
                outbox: Outbox::default(),
                keyring: Ring::default(),
                exports: Seats::new(EXPORTS),
                own_exports: Seats::new(OWN_EXPORTS),
                waiting: Seats::new(WAITING),
                feed: Feed::default(),
                hooks: Hooks::new(plugins.hooks()),
                plugins,
                plugin_tasks: Arc::default(),
                shut_out: ShutOut::default(),
                provider_keys: ProviderKeys::default(),
                documents: Documents::default(),
                own_nonces,
            }),
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.shared.parts.clock.now()
    }

    /// How long the machine has been running, by the clock that nobody sets.
    pub(crate) fn running(&self) -> Duration {
        self.shared.parts.clock.running()
    }

    /// The heads of the ledger and of the revocation log.
    pub fn head(&self) -> Head {
        self.shared.parts.store.head()
    }

    /// Whether changes can be committed.
    pub fn health(&self) -> Health {
        self.shared.parts.store.health()
    }

    /// Whether changes can be committed. After a failure it tries to record that they can again, so that room on a disk
    /// is noticed even when everybody else was told to stay away.
    pub async fn readiness(&self) -> Health {
        if matches!(self.health(), Health::Failing(_)) {
            let kind = "ledger.recovered";
            let record = Record::new(self.id(), kind, Outcome::Allowed, "done", Name::System);
            if let Ok(entry) = self.seal(&record)
                && let Err(error) = self.record(entry).await
            {
                tracing::warn!(%error, "the ledger still cannot be written");
            }
        }
        self.health()
    }

    /// The limits in force.
    pub fn settings(&self) -> &Settings {
        &self.shared.parts.settings
    }

    /// Ends what would go on for ever: streams of events and of revocations, the upkeep, and deliveries to webhooks after
    /// those under way.
    pub fn wind_down(&self) {
        self.shared.listeners.end();
        self.directory().kills().ring(ALL_KILLS);
    }

    /// Writes what is only counted so far, commits what is queued and closes the store.
    pub async fn close(&self) {
        self.wind_down();
        self.flush_refusals().await;
        self.keep_checkpoint().await;
        self.shared.parts.store.close().await;
    }

    /// Closes the store, and writes nothing before.
    pub async fn release(&self) {
        self.shared.parts.store.close().await;
    }

    pub(crate) fn store(&self) -> &(dyn Store + 'static) {
        &*self.shared.parts.store
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.shared.parts.directory
    }

    /// What fetches the addresses that others chose. Nothing else may.
    pub fn fetcher(&self) -> &dyn Fetcher {
        &*self.shared.parts.fetcher
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.shared.listeners
    }

    pub(crate) fn exports(&self) -> &Seats {
        &self.shared.exports
    }

    pub(crate) fn own_exports(&self) -> &Seats {
        &self.shared.own_exports
    }

    /// The places of those who wait for answers to requests for approval.
    pub(crate) fn waiting(&self) -> &Seats {
        &self.shared.waiting
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    pub(crate) fn hooks(&self) -> &Hooks {
        &self.shared.hooks
    }

    pub(crate) fn plugins(&self) -> &Plugins {
        &self.shared.plugins
    }

    /// How many tasks of plugins run.
    pub(crate) fn plugin_tasks(&self) -> &Arc<AtomicUsize> {
        &self.shared.plugin_tasks
    }

    pub(crate) fn shut_out(&self) -> &ShutOut {
        &self.shared.shut_out
    }

    /// What nonces are made of where there is no master key.
    pub(crate) fn own_nonces(&self) -> &[u8; 32] {
        &self.shared.own_nonces
    }

    pub(crate) fn documents(&self) -> &Documents {
        &self.shared.documents
    }

    pub(crate) fn provider_keys(&self) -> &ProviderKeys {
        &self.shared.provider_keys
    }

    /// How RSA signatures of others are checked here.
    pub fn rsa(&self) -> RsaCheck {
        self.shared.parts.rsa
    }

    pub(crate) fn couriers(&self) -> &Couriers {
        &self.shared.couriers
    }

    pub(crate) fn mailing(&self) -> Option<&Mailing> {
        self.shared.parts.mail.as_ref()
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.shared.outbox
    }

    pub(crate) fn keyring(&self) -> &Ring {
        &self.shared.keyring
    }

    pub(crate) fn checkpoints(&self) -> Option<&dyn CheckpointKeeper> {
        self.shared.parts.checkpoints.as_deref()
    }

    pub(crate) fn master_key(&self) -> Option<&Secret> {
        self.shared.parts.master_key.as_ref()
    }

    pub(crate) fn flood(&self) -> &Flood {
        &self.shared.flood
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.parts.runtime.spawn(Box::pin(future));
    }

    pub(crate) fn background(&self) -> Background {
        Background {
            shared: Arc::downgrade(&self.shared),
            runtime: Arc::clone(&self.shared.parts.runtime),
        }
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.shared.parts.runtime
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.shared.parts.runtime.sleep(duration).await;
    }

    /// A new id.
    pub fn id<K: Named>(&self) -> Id<K> {
        Id::new(self.now(), self.random())
    }

    /// Randomness that is good for secrets.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let [bytes] = self.randoms();
        bytes
    }

    fn randoms<const N: usize, const COUNT: usize>(&self) -> [[u8; N]; COUNT] {
        let mut bytes = [[0; N]; COUNT];
        self.shared.parts.rng.fill(bytes.as_flattened_mut());
        bytes
    }

    /// A new handle at generation 1.
    pub(crate) fn mark(&self, kind: HandleKind) -> Mark {
        Mark {
            handle: Handle {
                kind,
                bytes: self.random(),
            },
            generation: 1,
        }
    }

    pub(crate) fn secret(&self, kind: SecretKind) -> Secret {
        Secret::new(kind, self.random())
    }

    /// Seals a record with fresh randomness.
    pub(crate) fn seal(&self, record: &Record<'_>) -> Result<Entry> {
        // One call to the system, not two: every decision comes here.
        let [blind, salt]: [[u8; 16]; 2] = self.randoms();
        record
            .seal(Blinding { blind, salt })
            .map_err(Error::Invalid)
    }

    /// Plans and commits a change; on a conflict it plans again, at most `MAX_CONFLICTS` times.
    /// A refusal is recorded before it is answered.
    pub(crate) async fn change<T, P, F>(&self, actor: &Actor, act: Act, plan: P) -> Result<T>
    where
        P: Fn() -> F + Send,
        F: Future<Output = Result<Plan<T>>> + Send,
        T: Send,
    {
        let (value, _) = self.committed(actor, act, plan).await?;
        Ok(value)
    }

    /// As [`Engine::change`], with what was committed, if anything was.
    pub(crate) async fn committed<T, P, F>(
        &self,
        actor: &Actor,
        act: Act,
        plan: P,
    ) -> Result<(T, Option<Committed>)>
    where
        P: Fn() -> F + Send,
        F: Future<Output = Result<Plan<T>>> + Send,
        T: Send,
    {
        for _ in 0..MAX_CONFLICTS {
            let mut change = match plan().await {
                Ok(Plan::Commit(change)) => change,
                Ok(Plan::Done(value)) => return Ok((value, None)),
                Err(error) if error.is_refusal() => {
                    return Err(self.refused(actor, act, error).await?);
                }
                Err(error) => return Err(error),
            };
            let still = actor.caller.still_vouched();
            change.batch.writes.splice(0..0, still);
            match self.commit(act, change.batch).await {
                Ok(committed) => return Ok((change.value, Some(committed))),
                Err(CommitError::Conflict { .. }) => self.require_same_key(actor).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended)
    }

    /// Commits what was planned, and tells those who must know what it stopped.
    pub(crate) async fn commit(
        &self,
        act: Act,
        mut batch: Batch,
    ) -> std::result::Result<Committed, CommitError> {
        let stops = !batch.kills.is_empty();
        if stops {
            batch.effects.push(Changed::Kills.into());
        }
        let counted: Vec<bool> = batch.writes.iter().map(mail::counts).collect();
        let receipt = match self.store().commit(batch).await {
            // To plan again would find as many mails waiting.
            Err(CommitError::Conflict { write: Some(index) })
                if counted.get(index) == Some(&true) =>
            {
                tracing::warn!("so many mails wait that no more are queued");
                return Err(CommitError::Busy);
            }
            receipt => receipt?,
        };
        if stops {
            // Before the answer: a kill that somebody was told of is never missing in a checkpoint.
            self.keep_checkpoint().await;
        }
        if stops && self.hooks().any() {
            self.tell_stopped(act.stopped());
        }
        Ok(Committed { receipt, stops })
    }

    /// Refuses a caller whose credential was revoked or changed while its change was planned.
    pub(crate) async fn require_same_key(&self, actor: &Actor) -> Result<()> {
        let caller = self.renewed(&actor.caller).await?;
        if caller.reads() == actor.caller.reads() {
            return Ok(());
        }
        Err(match caller {
            Caller::Agent(_) => Error::Unauthenticated("the agent or its key is not live"),
            Caller::Local
            | Caller::Operator(_)
            | Caller::Person(_)
            | Caller::ToolServer(_)
            | Caller::Provided(_)
            | Caller::Root(_)
            | Caller::Stranger => Error::WrongState(
                "your key or account was changed meanwhile; nothing was done, try again".to_owned(),
            ),
        })
    }

    /// Commits one record by itself.
    pub(crate) async fn record(&self, entry: Entry) -> Result<Receipt> {
        let batch = Batch {
            entries: vec![entry],
            ..Batch::default()
        };
        self.store().commit(batch).await.map_err(Error::from)
    }
}
