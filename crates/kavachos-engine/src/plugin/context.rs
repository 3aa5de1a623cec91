//! What a plugin's handler has at hand: its caller, the use cases, its own tables, and time.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::select;
use kavachos_core::counter::Refusal;
use kavachos_core::id::{RequestId, UserId};
use kavachos_core::ledger::{Actor as Name, Outcome};
use kavachos_core::time::Timestamp;
use kavachos_store::password::PasswordRow;
use kavachos_store::{Batch, CommitError, FromRow, Query, Take, Write, password};
use sha2::{Digest, Sha256};

use super::change::{Change, Changed, NewHuman};
use super::route::Allowance;
use super::serve::takes_of_source;
use super::{Installed, statement};
use crate::act::Act;
use crate::actor::Actor;
use crate::engine::{Engine, MAX_CONFLICTS};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::guesses::{Guess, Guessing, PASSWORD};
use crate::master;
use crate::sign_in::Browser;
use crate::text;
use crate::users::{NewUser, User};

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

/// What [`Context::admit`] counts calls by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted<'a> {
    /// Whatever has this name: `upgrade:user_01...`, for instance.
    Name(&'a str),
    /// The network that a call comes from, for what has this name.
    Source(&'a str),
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
    pub(super) engine: Engine,
    pub(super) plugin: Arc<Installed>,
    calling: Calling,
    pub(super) browser: Option<Browser>,
}

impl Context {
    pub(super) fn new(
        engine: Engine,
        plugin: Arc<Installed>,
        (calling, browser): (Calling, Option<Browser>),
    ) -> Self {
        Self {
            engine,
            plugin,
            calling,
            browser,
        }
    }

    /// Pays for one guess at an account, as whoever guesses names it; `human` where there is such an account. Whoever
    /// turns out to be right gets it back with [`SignIn::after`](crate::SignIn::after). What is shown proves nothing unless
    /// the guess [is judged](Guess::is_judged).
    ///
    /// # Errors
    /// [`Error::TooManyCalls`] when the budget of the account is used up; those of the store.
    pub async fn guess(&self, account: &str, human: Option<UserId>) -> Result<Guess> {
        self.pay(Guessing::Secret(self.plugin.id), (account, human))
            .await
    }

    /// The same for a guess at the human's password, whose wrong ones in a row are counted over all methods that take it.
    ///
    /// # Errors
    /// As with [`Context::guess`].
    pub async fn guess_password(&self, account: &str, human: Option<UserId>) -> Result<Guess> {
        self.pay(Guessing::Secret(PASSWORD), (account, human)).await
    }

    /// Pays for one guess at a code of six digits: of those all accounts together have few.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`] when the budget of the account, or of all codes, is used up; those of the store.
    pub async fn guess_code(&self, account: &str, human: Option<UserId>) -> Result<Guess> {
        let code = Guessing::Code(self.plugin.id);
        self.pay(code, (account, human)).await
    }

    /// The budget of an account, for whoever needs to answer for no guess at it any more.
    pub fn forgiven(&self, account: &str) -> Guess {
        Guess::of_strangers(account)
    }

    async fn pay(&self, guessing: Guessing, who: (&str, Option<UserId>)) -> Result<Guess> {
        let device = self.browser.and_then(|browser| browser.device);
        let from = (device, self.ip());
        self.engine.pay_for_guess(guessing, who, from).await
    }

    /// Refuses where strangers get no accounts.
    ///
    /// # Errors
    /// They get none here.
    pub fn require_sign_ups(&self) -> Result<()> {
        self.engine.require_sign_ups()
    }

    /// What is stored of a human's password.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn password_of(&self, human: UserId) -> Result<Option<PasswordRow>> {
        Ok(self.engine.store().find(password::of(human)).await?)
    }

    /// The human with this e-mail address.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn human_by_email(&self, email: &str) -> Result<Option<User>> {
        let row = kavachos_store::user::by_email(email.to_owned());
        let row = self.engine.store().find(row).await?;
        row.map(|row| User::of(row, self.now())).transpose()
    }

    /// The human who calls with a session.
    ///
    /// # Errors
    /// Nobody does; those of the store.
    pub async fn own_account(&self) -> Result<User> {
        let person = self.actor().and_then(Actor::person);
        let why = "this needs a human's session";
        let person = person.ok_or_else(|| Error::Forbidden(why.to_owned()))?;
        User::of(self.engine.user_row(person.user.id).await?, self.now())
    }

    /// Refuses a human who did not prove who they are a short while ago.
    ///
    /// # Errors
    /// They did not.
    pub fn require_fresh(&self) -> Result<()> {
        self.engine.require_fresh(self.known()?)
    }

    /// Whether the human has a second factor.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has_second_factor(&self, human: UserId) -> Result<bool> {
        self.engine.has_second_factor(human).await
    }

    /// Whether the human has a password, or another plugin keeps something of them: by that they could show who they are.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_known_elsewhere(&self, human: UserId) -> Result<bool> {
        if self.password_of(human).await?.is_some() {
            return Ok(true);
        }
        for (id, told) in self.engine.plugins().tell(human)? {
            if id != self.plugin.id && !self.engine.store().query(told.query).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses to take the last factor from a human of whom one is demanded.
    ///
    /// # Errors
    /// It is the last one; those of the store.
    pub async fn keep_a_factor(&self, human: UserId) -> Result<()> {
        self.engine.keep_a_factor(human).await
    }

    /// Refuses to go on where no mail can be sent. Ask it before looking for accounts, so that the answer tells nothing of
    /// them.
    ///
    /// # Errors
    /// None can be sent.
    pub fn require_mail(&self) -> Result<()> {
        if self.engine.can_mail() {
            return Ok(());
        }
        Err(Error::MailUnavailable)
    }

    /// A page of this server, for a link in a mail. It comes from the configuration alone.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.engine.settings().issuer.as_str())
    }

    /// A human to be created by a change.
    ///
    /// # Errors
    /// The address or the name cannot be accepted.
    pub fn new_human(&self, email: Option<&str>, name: Option<&str>) -> Result<NewHuman> {
        if let Some(name) = name {
            text::plain("name", name, text::MAX_NAME_BYTES)?;
        }
        let row = self.engine.new_user_row(NewUser {
            email: email.map(text::new_email).transpose()?,
            name: name.map(str::to_owned),
            ..NewUser::default()
        })?;
        Ok(NewHuman { row })
    }

    /// Puts a refusal about a known human on record, and gives it back: a wrong password, for instance. Callers must be
    /// bounded before ([`Context::guess`]).
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn failed(&self, kind: &str, human: UserId, error: Error) -> Result<Error> {
        let kind = self.own_kind(kind)?;
        let program = self.program();
        let origin = self.actor().unwrap_or(&program).origin();
        let mut record = origin.record(self.engine.id(), kind, Outcome::Denied, error.code());
        if self.actor().is_none() {
            record.actor = Name::Stranger;
        }
        record.subject = self.engine.pseudonym(human).await?;
        let entry = self.engine.seal(&record)?;
        self.engine.record(entry).await?;
        Ok(error)
    }

    /// Gives back the refusal of a wrong guess: on record where there is such an account, and after as much work for the disk
    /// where there is none.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn wrong_guess(
        &self,
        kind: &str,
        (guess, human): (&Guess, Option<UserId>),
        error: Error,
    ) -> Result<Error> {
        if let Some(human) = human {
            return self.failed(kind, human, error).await;
        }
        self.engine.pass_over_guess(guess).await?;
        let visitor = self.calling.visitor();
        self.engine
            .note_stranger(visitor.as_stranger(), error.code());
        Ok(error)
    }

    fn own_kind(&self, kind: &str) -> Result<&'static str> {
        let mut kinds = self.plugin.kinds.iter();
        kinds.find(|known| **known == kind).copied().ok_or_else(|| {
            self.defect(&format!(
                "records the kind `{kind}`, which it does not name"
            ))
        })
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
        let kind = self.own_kind(kind)?;
        for _ in 0..MAX_CONFLICTS {
            if let Some(actor) = self.actor()
                && let Some(thing) = self.engine.done_before(actor).await?
            {
                return Ok(Changed {
                    thing,
                    replayed: true,
                    signed_in: None,
                    device: None,
                });
            }
            let change = match plan().await {
                Err(error) if error.is_refusal() => return Err(self.refused(kind, error).await?),
                change => change?,
            };
            let thing = change.thing.clone();
            let act = Act::new(kind);
            let put = match self.put(kind, change).await {
                Err(error) if error.is_refusal() => return Err(self.refused(kind, error).await?),
                put => put?,
            };
            match self.engine.commit(act, put.batch).await {
                Ok(_) => {
                    for dying in put.dying {
                        self.engine.carried_through(dying).await;
                    }
                    return Ok(Changed {
                        thing,
                        replayed: false,
                        signed_in: put.signed_in,
                        device: put.device,
                    });
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
        Err(Error::Contended)
    }

    /// Counts an attempt in the plugin's own tables before it is looked at, without a record: one write, which says how many
    /// rows it changes. Whether it did.
    ///
    /// # Errors
    /// It writes to another table, a defect of the plugin; those of the store.
    pub async fn attempt(&self, write: Write) -> Result<bool> {
        let own = statement::check_write(self.plugin.id, &write.sql);
        own.map_err(|why| self.defect(&format!("writes with `{}`: {why}", write.sql)))?;
        let batch = Batch {
            writes: vec![write],
            ..Batch::default()
        };
        match self.engine.store().commit(batch).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes one from each of these limits before anything else is done, without a record, whatever comes of it: for what is
    /// dear, and for what tells something also where nothing is changed. What counts only where something is changed is for
    /// [`Change::taking`].
    ///
    /// # Errors
    /// [`Error::TooManyCalls`] when one of them is reached, and then nothing is taken; those of the store.
    pub async fn admit(&self, limits: &[(Counted<'_>, Allowance)]) -> Result<()> {
        let id = self.plugin.id;
        let takes = limits.iter().flat_map(|(counted, of)| match counted {
            Counted::Name(name) => vec![take(id, name, *of)],
            Counted::Source(name) => takes_of_source(id, (name, self.ip()), *of),
        });
        self.engine.admit_takes(takes.collect()).await
    }

    /// A code over these parts that nobody makes without the master key; another one for each plugin and purpose. For what
    /// is too short to be stored as a plain hash.
    ///
    /// # Errors
    /// There is no master key.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Result<[u8; 32]> {
        let master = self.engine.needed_master_key()?;
        let id = self.plugin.id.as_bytes();
        let name = [b"kavachos plugin 1\n", id, b"\n", purpose.as_bytes()];
        let key = master::derived(master, &name);
        // Each part with its length, so that no two lists of parts read the same.
        let mut framed = Vec::new();
        for part in parts {
            framed.extend((part.len() as u64).to_be_bytes());
            framed.extend(*part);
        }
        Ok(master::mac(&key, &[&framed]))
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

    pub(super) fn defect(&self, what: &str) -> Error {
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
