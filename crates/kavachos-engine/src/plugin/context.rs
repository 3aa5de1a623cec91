//! What a plugin's handler has at hand: its caller, the use cases, its own tables, and time.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::select;
use kavachos_core::counter::Refusal;
use kavachos_core::id::{AgentId, RequestId, UserId};
use kavachos_core::ledger::{Actor as Name, Entry, Outcome, Record};
use kavachos_core::time::Timestamp;
use kavachos_store::{Batch, CommitError, FromRow, Query, Take, Write};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::route::Allowance;
use super::{Installed, statement};
use crate::act::Act;
use crate::actor::Actor;
use crate::engine::{Engine, MAX_CONFLICTS};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::mail::Mail;

/// The most rows that a plugin reads at once.
const MAX_ROWS: usize = 1_000;
/// How many tasks of plugins run beside the requests.
const MAX_TASKS: usize = 256;
/// How often a task is asked whether the server ends.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The first byte of the keys of plugins' counters; those of decisions begin otherwise.
const COUNTER: u8 = 3;

/// Who calls a route.
#[derive(Debug, Clone)]
pub enum Calling {
    /// Someone whose credential was checked.
    Known(Actor),
    /// Someone without one, at an open route.
    Stranger(Visitor),
}

/// Someone who showed no credential.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The id of the request.
    pub request: RequestId,
    /// The address that the call came from.
    pub ip: Option<IpAddr>,
    /// What the caller says it is.
    pub user_agent: Option<String>,
}

/// What a handler has at hand.
#[derive(Clone)]
pub struct Context {
    engine: Engine,
    plugin: Arc<Installed>,
    calling: Calling,
}

/// What a plugin changes: its own rows, limits to take from, and what the record says. Everything, or nothing.
#[derive(Debug, Clone, Default)]
#[must_use = "a change that is not returned changes nothing"]
pub struct Change {
    thing: String,
    writes: Vec<Write>,
    takes: Vec<(String, Allowance)>,
    agent: Option<AgentId>,
    human: Option<UserId>,
    details: Option<Value>,
    mails: Vec<Mail>,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What was made or done, as the plugin named it.
    pub thing: String,
    /// It was done before under the same `Idempotency-Key`, and nothing was done now.
    pub replayed: bool,
}

impl Change {
    /// A change that makes or does this thing: the id of what is created, for instance. The name is kept with an
    /// `Idempotency-Key`.
    pub fn of(thing: impl Into<String>) -> Self {
        Self {
            thing: thing.into(),
            ..Self::default()
        }
    }

    /// Writes to a table of the plugin. A write that changes another number of rows than it states is a conflict: the
    /// change is planned again. So put into its WHERE clause what the plan relied on.
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Takes one from a limit, which is counted exactly and over restarts: `account:user_01...`, for instance. Where
    /// nothing is left, nothing is done, and the caller is told when there will be.
    pub fn taking(mut self, name: impl Into<String>, of: Allowance) -> Self {
        self.takes.push((name.into(), of));
        self
    }

    /// Queues a mail, which is sent if and only if this change is committed.
    pub fn mailing(mut self, mail: Mail) -> Self {
        self.mails.push(mail);
        self
    }

    /// The agent that the record is about.
    pub fn about_agent(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// The human that the record is about; in the ledger they stand under their pseudonym.
    pub fn about_human(mut self, human: UserId) -> Self {
        self.human = Some(human);
        self
    }

    /// What else the record says, for ever and for everyone who may read the ledger: nothing personal.
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl Context {
    pub(super) fn new(engine: Engine, plugin: Arc<Installed>, calling: Calling) -> Self {
        Self {
            engine,
            plugin,
            calling,
        }
    }

    /// The caller; `None` at an open route.
    pub fn actor(&self) -> Option<&Actor> {
        match &self.calling {
            Calling::Known(actor) => Some(actor),
            Calling::Stranger(_) => None,
        }
    }

    /// The caller, at a route that is not open.
    ///
    /// # Errors
    /// Nobody is known here: a defect of the plugin.
    pub fn known(&self) -> Result<&Actor> {
        let why = "a handler asks for the caller of an open route";
        self.actor().ok_or_else(|| Error::Internal(why.to_owned()))
    }

    /// The program itself, for what the plugin does on its own authority after it found out who calls: opening a session,
    /// for instance. It may do everything. Its records keep where the call came from.
    pub fn program(&self) -> Actor {
        let visitor = self.calling.visitor();
        Actor {
            ip: visitor.ip,
            user_agent: visitor.user_agent,
            ..Actor::local(visitor.request)
        }
    }

    /// The address that the call came from.
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.calling {
            Calling::Known(actor) => actor.ip,
            Calling::Stranger(visitor) => visitor.ip,
        }
    }

    /// The use cases. Give them [`Context::known`], and they allow what the caller may.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Randomness that is good for secrets.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        self.engine.random()
    }

    /// Reads the plugin's own tables, at most 1,000 rows.
    ///
    /// # Errors
    /// The query reads something else, allows for more rows, or finds more; or those of the store.
    pub async fn read<T: FromRow>(&self, query: Query) -> Result<Vec<T>> {
        let own = statement::check_read(self.plugin.id, &query.sql);
        own.map_err(|why| self.defect(&format!("reads with `{}`: {why}", query.sql)))?;
        if query.max_rows > MAX_ROWS {
            return Err(self.defect(&format!("reads more than {MAX_ROWS} rows at once")));
        }
        Ok(self.engine.store().list(query.of()).await?)
    }

    /// Changes the plugin's own tables, with one record of this kind, in one commit. The plan reads and decides; where
    /// something else was changed meanwhile it is asked again, a few times. An error of it that refuses the caller is on
    /// record too.
    ///
    /// # Errors
    /// What the plan says; [`Error::TooManyCalls`] when a limit is reached; those of the store. Statements on other
    /// tables and kinds of others are a defect of the plugin, and nothing is done.
    pub async fn change<P, F>(&self, kind: &str, plan: P) -> Result<Changed>
    where
        P: Fn() -> F + Send,
        F: Future<Output = Result<Change>> + Send,
    {
        let mut kinds = self.plugin.kinds.iter();
        let Some(kind) = kinds.find(|known| **known == kind).copied() else {
            return Err(self.defect(&format!(
                "records the kind `{kind}`, which it does not name"
            )));
        };
        for _ in 0..MAX_CONFLICTS {
            if let Some(actor) = self.actor()
                && let Some(thing) = self.engine.done_before(actor).await?
            {
                let replayed = true;
                return Ok(Changed { thing, replayed });
            }
            let change = match plan().await {
                Err(error) if error.is_refusal() => return Err(self.refused(kind, error).await?),
                change => change?,
            };
            let thing = change.thing.clone();
            let batch = self.batch(kind, change).await?;
            match self.engine.store().commit(batch).await {
                Ok(_) => {
                    let replayed = false;
                    return Ok(Changed { thing, replayed });
                }
                Err(CommitError::Conflict { .. }) => {
                    if let Some(actor) = self.actor() {
                        self.engine.require_same_key(actor).await?;
                    }
                }
                Err(CommitError::Refused { refusal, .. }) => return Err(too_many(refusal)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::WrongState(
            "others change this at the same time; nothing was done, try again".to_owned(),
        ))
    }

    /// Runs this beside the request, until it is done or the server ends.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many tasks run already.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let seat = Seat::take(self.engine.plugin_tasks())?;
        let background = self.engine.background();
        self.engine.spawn(async move {
            let _seat = seat;
            let ended = async { while background.after(LOOK_EVERY).await.is_some() {} };
            select(pin!(task), pin!(ended)).await;
        });
        Ok(())
    }

    async fn batch(&self, kind: &'static str, change: Change) -> Result<Batch> {
        for write in &change.writes {
            let own = statement::check_write(self.plugin.id, &write.sql);
            own.map_err(|why| self.defect(&format!("writes with `{}`: {why}", write.sql)))?;
        }
        let entry = self.entry(kind, &change).await?;
        let mails = change.mails.iter().map(|mail| self.engine.mail(mail));
        let mails = mails.collect::<Result<Vec<_>>>()?;
        let take = |(name, of): (String, Allowance)| take(self.plugin.id, &name, of);
        let mut batch = Batch {
            takes: change.takes.into_iter().map(take).collect(),
            writes: [change.writes, mails].concat(),
            entries: vec![entry],
            ..Batch::default()
        };
        if let Some(actor) = self.actor() {
            batch.reads = actor.reads();
            self.engine.claim_once(actor, &mut batch, change.thing);
        }
        Ok(batch)
    }

    async fn entry(&self, kind: &'static str, change: &Change) -> Result<Entry> {
        let subject = match change.human {
            Some(human) => self.engine.pseudonym(human).await?,
            None => None,
        };
        let program = self.program();
        let actor = self.actor().unwrap_or(&program);
        let origin = actor.origin();
        let id = self.engine.id();
        let mut record: Record<'_> = origin.record(id, kind, Outcome::Allowed, "done");
        if self.actor().is_none() {
            record.actor = Name::Stranger;
        }
        record.agent = change.agent;
        record.subject = subject;
        record.details = change.details.as_ref();
        self.engine.seal(&record)
    }

    /// A refusal on record: of a stranger without filling the disk.
    async fn refused(&self, kind: &'static str, error: Error) -> Result<Error> {
        match &self.calling {
            Calling::Known(actor) => self.engine.refused(actor, Act::new(kind), error).await,
            Calling::Stranger(visitor) => {
                let code = error.code();
                self.engine.note_stranger(visitor.as_stranger(), code);
                Ok(error)
            }
        }
    }

    fn defect(&self, what: &str) -> Error {
        Error::Internal(format!("the plugin `{}` {what}", self.plugin.id))
    }
}

impl Calling {
    /// Where the call came from, whoever calls.
    pub(super) fn visitor(&self) -> Visitor {
        match self {
            Self::Known(actor) => Visitor {
                request: actor.request,
                ip: actor.ip,
                user_agent: actor.user_agent.clone(),
            },
            Self::Stranger(visitor) => visitor.clone(),
        }
    }
}

impl Visitor {
    pub(super) fn as_stranger(&self) -> Stranger<'_> {
        Stranger {
            ip: self.ip,
            user_agent: self.user_agent.as_deref(),
            request: self.request,
        }
    }
}

/// One take from a limit of a plugin; another allowance is another counter.
pub(super) fn take(plugin: &str, name: &str, of: Allowance) -> Take {
    let period = of.per.as_secs();
    let digest = Sha256::digest(format!("{plugin}\n{period}\n{name}"));
    let key: Vec<u8> = [COUNTER].into_iter().chain(digest).collect();
    Take {
        counter: key.into(),
        rule: of.rule(),
        n: 1,
    }
}

pub(super) fn too_many(refusal: Refusal) -> Error {
    let retry_after = match refusal {
        Refusal::RetryAfter(wait) => wait,
        Refusal::Exhausted => Duration::from_secs(1),
    };
    Error::TooManyCalls { retry_after }
}

/// A task's place among [`MAX_TASKS`].
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(seats: &Arc<AtomicUsize>) -> Result<Self> {
        let more = |taken: usize| (taken < MAX_TASKS).then_some(taken + 1);
        seats
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Error::Busy)?;
        Ok(Self(Arc::clone(seats)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
