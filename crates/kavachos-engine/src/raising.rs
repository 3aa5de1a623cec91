//! Kills that go on in steps: of a human, whose root grants and sessions are raised after the human, of a session, whose
//! handles for tool servers of others are, of what a human made, and of all clients of a host. Those servers know no handle of
//! the human or the session itself; who acts in another's name, and what somebody approved, hangs on the session in which they did.
//!
//! Promises: who is killed is dead first, by a commit of their own that nothing they do can hold up; from then on nothing
//! is given in their name that would have to be raised. The rest follows in steps of bounded size, and the answer says
//! `partial` until the last is made. A step that is left, by a crash too, is made by the upkeep.

use std::time::Duration;

use kavachos_core::client::ClientId;
use kavachos_core::id::{SessionId, UserId};
use kavachos_core::ledger::{Actor as Name, Entry, Outcome, Record};
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;
use kavachos_core::tool_server::TTL_SECONDS;
use kavachos_store::begun_kill::{self, BegunKill};
use kavachos_store::grant::{self, GivenGrant};
use kavachos_store::maker::{Ending, Extent};
use kavachos_store::oauth_client::{self, StandingClient};
use kavachos_store::session::{self, DeadSession};
use kavachos_store::session_handle::{self, SessionHandle};
use kavachos_store::{Batch, CommitError, Effect, Write, user};
use serde_json::json;

use crate::act::Act;
use crate::actor::Actor;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::Result;
use crate::feed::Telling;
use crate::made::Left;
use crate::revoked::{Reach, Revoked};
use crate::users::raised;

/// How many handles one step raises.
const STEP: usize = 250;
/// How many steps an answer waits for.
const STEPS_BEFORE_ANSWER: usize = 16;
/// How many steps of one kill the upkeep makes at a time.
const STEPS_PER_TURN: usize = 64;
/// How many kills the upkeep takes up at a time.
const KILLS_PER_TURN: usize = 64;
/// How long any token lives: what is not raised ends by itself.
pub(crate) const LONGEST_TOKEN: Duration = Duration::from_secs(*TTL_SECONDS.end() as u64);

/// Whose kill goes on in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dying {
    /// A human: banned, deleted or narrowed.
    Human(UserId),
    /// A session that was ended.
    Session(SessionId),
    /// What a human made; who is begun with the time until which they did in place of a generation.
    Made(UserId, Extent),
    /// All clients of a host, which was denied.
    Host(ClientId),
}

/// Whether all steps are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    All,
    Some,
}

/// What became of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Made,
    /// Something of it moved meanwhile.
    Overtaken,
}

/// One handle to raise.
struct Hanging {
    mark: Mark,
    /// Its place in the order of the steps.
    place: String,
    effects: Vec<Effect>,
}

impl From<GivenGrant> for Hanging {
    fn from(grant: GivenGrant) -> Self {
        Self {
            mark: grant.mark,
            place: grant.id.to_string(),
            effects: Changed::grant(grant.id, grant.receiver).into(),
        }
    }
}

impl From<DeadSession> for Hanging {
    fn from(session: DeadSession) -> Self {
        Self {
            mark: session.mark,
            place: session.id.to_string(),
            effects: vec![Changed::Key(session.hash).into()],
        }
    }
}

impl From<SessionHandle> for Hanging {
    fn from(handle: SessionHandle) -> Self {
        Self {
            mark: handle.mark,
            place: handle.server.to_string(),
            effects: Vec::new(),
        }
    }
}

impl From<StandingClient> for Hanging {
    fn from((id, handle, generation): StandingClient) -> Self {
        Self {
            mark: Mark { handle, generation },
            effects: vec![Changed::client(&id).into()],
            place: id,
        }
    }
}

impl Dying {
    /// Begins the steps. Belongs into the batch that raises them to this generation.
    pub(crate) fn begin(&self, killed: Mark) -> Write {
        begun_kill::begin(self.id(), killed.generation)
    }

    /// Under what it is stored that it is begun.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Human(id) => id.to_string(),
            Self::Session(id) => id.to_string(),
            Self::Made(id, extent) => format!("{}:{id}", word(*extent)),
            Self::Host(all) => all.to_string(),
        }
    }

    fn of(begun: &BegunKill) -> Option<Self> {
        let made = [Extent::Made, Extent::Given]
            .into_iter()
            .find_map(|extent| {
                let (known, id) = begun.id.split_once(':')?;
                (known == word(extent)).then_some((id, extent))
            });
        if let Some((id, extent)) = made {
            return id.parse().ok().map(|id| Self::Made(id, extent));
        }
        let human = begun.id.parse().map(Self::Human);
        human
            .or_else(|_| begun.id.parse().map(Self::Session))
            .or_else(|_| begun.id.parse().map(Self::Host))
            .ok()
    }
}

/// The extent, as it is stored.
const fn word(extent: Extent) -> &'static str {
    match extent {
        Extent::Made => "made",
        Extent::Given => "given",
    }
}

impl Engine {
    /// As [`Engine::stop`], for what is killed in steps.
    pub(crate) async fn stop_in_steps<T, P, F>(
        &self,
        actor: &Actor,
        (act, whose): (Act, Dying),
        plan: P,
    ) -> Result<T>
    where
        P: Fn() -> F + Send,
        F: Future<Output = Result<Plan<T>>> + Send,
        T: Telling + Send,
    {
        let (mut answer, committed) = self.committed(actor, act, plan).await?;
        let told = self.carried_through(whose).await;
        answer.tell(match committed {
            Some(committed) if !committed.stops => Revoked::at(self.now()),
            _ => told,
        });
        Ok(answer)
    }

    /// Makes the steps that an answer waits for, and says how far everything has reached.
    pub(crate) async fn carried_through(&self, whose: Dying) -> Revoked {
        let steps = self.raise_in_steps(&whose, STEPS_BEFORE_ANSWER).await;
        let steps = steps.unwrap_or_else(|error| {
            tracing::warn!(%error, "a kill is not carried through yet; the upkeep goes on with it");
            Steps::Some
        });
        let reached = self.reached_now();
        match steps {
            Steps::All => reached,
            Steps::Some => Revoked {
                effective_by: (self.now().plus(LONGEST_TOKEN)).max(reached.effective_by),
                state: Reach::Partial,
                ..reached
            },
        }
    }

    /// Goes on with the kills that are begun: what an answer did not wait for, and what a crash left.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn finish_kills(&self) -> Result<()> {
        let begun = self.store().list(begun_kill::all(KILLS_PER_TURN)).await?;
        for whose in begun.iter().filter_map(Dying::of) {
            self.raise_in_steps(&whose, STEPS_PER_TURN).await?;
        }
        Ok(())
    }

    async fn raise_in_steps(&self, whose: &Dying, steps: usize) -> Result<Steps> {
        let mut size = STEP;
        for _ in 0..steps {
            let begun = self.store().find(begun_kill::of(whose.id())).await?;
            let Some(begun) = begun else {
                return Ok(Steps::All);
            };
            size = match self.raise_step(whose, &begun, size).await? {
                Step::Made => STEP,
                // The fewer it names, the fewer can move; and what moved is raised by that.
                Step::Overtaken => (size / 2).max(1),
            };
        }
        let left = self.store().find(begun_kill::of(whose.id())).await?;
        Ok(left.map_or(Steps::All, |_| Steps::Some))
    }

    async fn raise_step(&self, whose: &Dying, begun: &BegunKill, size: usize) -> Result<Step> {
        let batch = match *whose {
            Dying::Made(human, extent) => {
                let until = i64::try_from(begun.generation).unwrap_or(i64::MAX);
                let ending = Ending {
                    human,
                    extent,
                    until: Timestamp::from_micros(until),
                };
                self.ending_step(ending, begun, size).await?
            }
            Dying::Human(_) | Dying::Session(_) | Dying::Host(_) => {
                self.raising_step(whose, begun, size).await?
            }
        };
        match self.store().commit(batch).await {
            Ok(_) => {
                self.keep_checkpoint().await;
                Ok(Step::Made)
            }
            Err(CommitError::Conflict { .. }) => Ok(Step::Overtaken),
            Err(error) => Err(error.into()),
        }
    }

    async fn ending_step(&self, ending: Ending, begun: &BegunKill, size: usize) -> Result<Batch> {
        let mut batch = Batch::default();
        let left = self.end_made(ending, size, &mut batch).await?;
        // What has ended is found no more, so each step begins where the one before it ended.
        batch.writes.push(match left {
            Left::Something => begun_kill::advance(begun, begun.reached.clone()),
            Left::Nothing => begun_kill::finish(begun),
        });
        if !batch.kills.is_empty() {
            batch.effects.push(Changed::Kills.into());
        }
        Ok(batch)
    }

    async fn raising_step(&self, whose: &Dying, begun: &BegunKill, size: usize) -> Result<Batch> {
        let hanging = self.hanging(whose, &begun.reached, size).await?;
        let last = hanging.last().filter(|_| hanging.len() == size);
        let mut batch = Batch {
            writes: vec![match last {
                Some(last) => begun_kill::advance(begun, last.place.clone()),
                None => begun_kill::finish(begun),
            }],
            kills: hanging.iter().map(|one| raised(one.mark)).collect(),
            ..Batch::default()
        };
        if let Dying::Human(id) = *whose {
            // Shown as what they are: a handle that was raised is no live session's.
            batch.writes.push(session::end_dead(id));
        }
        if !hanging.is_empty() {
            let entry = self.step_record(whose, hanging.len()).await?;
            batch.entries.push(entry);
            batch.effects.push(Changed::Kills.into());
        }
        let effects = hanging.into_iter().flat_map(|one| one.effects);
        batch.effects.extend(effects);
        Ok(batch)
    }

    /// What hangs on who is killed, after this place.
    async fn hanging(&self, whose: &Dying, reached: &str, limit: usize) -> Result<Vec<Hanging>> {
        let reached = reached.to_owned();
        Ok(match *whose {
            Dying::Human(id) => {
                let given = grant::given_after(id, reached.clone(), self.now(), limit);
                let given = self.store().list(given).await?;
                let mut all: Vec<_> = given.into_iter().map(Hanging::from).collect();
                // The ids of sessions stand behind those of grants, in the order of the steps too.
                let left = limit.saturating_sub(all.len());
                let dead = session::dead_after(id, reached, self.now(), left);
                let dead = self.store().list(dead).await?;
                all.extend(dead.into_iter().map(Hanging::from));
                all
            }
            Dying::Session(id) => {
                let handles = session_handle::after(id, reached, limit);
                let handles = self.store().list(handles).await?;
                handles.into_iter().map(Hanging::from).collect()
            }
            Dying::Host(ref all) => {
                let host = all.whole_host().unwrap_or_default();
                let standing = oauth_client::of_host_after(host, reached, limit);
                let standing = self.store().list(standing).await?;
                standing.into_iter().map(Hanging::from).collect()
            }
            Dying::Made(..) => Vec::new(),
        })
    }

    async fn step_record(&self, whose: &Dying, count: usize) -> Result<Entry> {
        let (kind, human, details) = match *whose {
            Dying::Human(id) | Dying::Made(id, _) => (
                "user.grants_raised",
                Some(id),
                json!({ "revocations": count }),
            ),
            Dying::Session(id) => {
                let session = self.store().find(session::by_id(id)).await?;
                (
                    "session.handles_raised",
                    session.map(|session| session.user),
                    json!({ "revocations": count, "session": id }),
                )
            }
            Dying::Host(ref all) => (
                "client.handles_raised",
                None,
                json!({ "revocations": count, "client": all }),
            ),
        };
        let human = match human {
            Some(id) => self.store().find(user::by_id(id)).await?,
            None => None,
        };
        let mut record = Record::new(self.id(), kind, Outcome::Allowed, "done", Name::System);
        record.subject = human.map(|human| human.pseudonym);
        record.details = Some(&details);
        self.seal(&record)
    }
}
