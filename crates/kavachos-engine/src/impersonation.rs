//! Impersonation: somebody else acts in a human's name, to see what they see.
//!
//! Promises: it is a session of its own, for an hour at the most, which cannot be renewed and is never fresh, so it
//! approves nothing, changes no key, factor or address, and delegates nothing; it has no role, so it reaches no third
//! human. Every record of an act in it names both, and whoever sees the session sees who it really is. It ends with the
//! key or the session of who opened it, and nobody opens one for a human who is trusted with as much as they are.

use std::time::Duration;

use kavachos_core::id::{KeyId, UserId};
use kavachos_core::ledger;
use kavachos_core::principal::{Status, User};
use kavachos_core::revocation::Mark;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::session::SessionRow;
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, Write, handle, session};
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Caller, Person, Scope, Session as Opened};
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::mail::{EmailAddress, Mail, MailKind};
use crate::roles;
use crate::sessions::Session;
use crate::text;
use crate::users::stored_role;

/// How long it lasts at the most.
pub const MAX_IMPERSONATION: Duration = Duration::from_secs(60 * 60);

/// Who acts in a human's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impersonator {
    /// The program that embeds the engine.
    Program,
    /// An operator.
    Key(KeyId),
    /// Another human.
    Human(UserId),
}

/// That somebody acts in a human's name, compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impersonation {
    /// Who.
    pub by: Impersonator,
    /// With which key or session of theirs it stands and falls.
    pub mark: Option<Mark>,
}

impl Impersonator {
    /// Who this caller would be.
    fn of(actor: &Actor) -> Option<Self> {
        match &actor.caller {
            Caller::Local => Some(Self::Program),
            Caller::Operator(key) => Some(Self::Key(key.id)),
            Caller::Person(person) => Some(Self::Human(person.user.id)),
            Caller::Agent(_)
            | Caller::ToolServer(_)
            | Caller::Provided(_)
            | Caller::Root(_)
            | Caller::Stranger => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let key = || text.parse().map(Self::Key).ok();
        let human = || text.parse().map(Self::Human).ok();
        (text == "system")
            .then_some(Self::Program)
            .or_else(key)
            .or_else(human)
    }
}

impl std::fmt::Display for Impersonator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program => f.write_str("system"),
            Self::Key(id) => id.fmt(f),
            Self::Human(id) => id.fmt(f),
        }
    }
}

/// What is stored of it. One that cannot be read is damage, never a session of the human's own.
pub(crate) fn stored(row: &SessionRow) -> Result<Option<Impersonation>> {
    let Some(text) = &row.impersonator else {
        return Ok(None);
    };
    let damaged = || Error::Internal("a stored impersonation cannot be read".to_owned());
    let by = Impersonator::parse(text).ok_or_else(damaged)?;
    let mark = row.impersonator_mark;
    if mark.is_none() && by != Impersonator::Program {
        return Err(damaged());
    }
    Ok(Some(Impersonation { by, mark }))
}

impl Engine {
    /// Opens a session in which the caller acts in a human's name.
    ///
    /// # Errors
    /// There is no such human, they are not active, are trusted with as much as the caller, or have too many sessions.
    pub async fn impersonate(
        &self,
        actor: &Actor,
        user: UserId,
        reason: &str,
    ) -> Result<Issued<Session>> {
        text::plain("reason", reason, text::MAX_REASON_BYTES)?;
        let secret = self.secret(SecretKind::Session);
        let act = Act::on_user("session.impersonated", user);
        let plan = || self.plan_impersonation(actor, (user, reason), &secret);
        self.change(actor, act, plan).await
    }

    async fn plan_impersonation(
        &self,
        actor: &Actor,
        (user, reason): (UserId, &str),
        secret: &Secret,
    ) -> Result<Plan<Issued<Session>>> {
        actor.require(Scope::UsersImpersonate)?;
        actor.require(Scope::SessionsWrite)?;
        let human = self.user_row(user).await?;
        let role = stored_role(&human)?;
        actor.require_trust(role)?;
        if actor.person().is_some_and(|person| person.user.id == user) {
            return Err(Error::WrongState(
                "this is you; your own session may do more".to_owned(),
            ));
        }
        // Keys are trusted with as much as their scopes; a human only with those below them.
        if actor
            .person()
            .is_some_and(|person| person.user.role <= role)
        {
            return Err(Error::Forbidden(format!(
                "you are trusted with no more than this account, which has the role `{role}`"
            )));
        }
        if let Some(done) = self.done_before(actor).await? {
            let id = done.parse().map_err(Error::Invalid)?;
            let row = self.session_row(id).await?;
            return Ok(Plan::Done(Issued::replay(self.session_view(actor, row))));
        }
        // Whoever holds the session sees and stops whatever the human may.
        actor.covers(&compile::permissions(human.permissions.as_deref())?)?;
        if human.status_at(self.now()) != Status::Active {
            return Err(Error::WrongState("the user is not active".to_owned()));
        }
        self.refuse_too_many_sessions(&human).await?;
        let row = self.impersonation_row(actor, &human, secret)?;
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![
                session::open(row.clone(), self.settings().sessions_per_user),
                handle::born(row.mark),
            ],
            effects: vec![Changed::Key(row.hash).into()],
            ..Batch::default()
        };
        batch.reads.push(human.mark);
        let details = json!({ "session": row.id, "until": row.expires_at });
        let about = (&human, &details, Some(reason));
        let entry = self.user_act(actor, "session.impersonated", about)?;
        batch.entries.push(entry);
        let told = self.told_of(&human, &row, reason)?;
        batch.writes.extend(told.into_iter().flatten());
        self.claim_once(actor, &mut batch, row.id.to_string());
        let issued = Issued::new(self.session_view(actor, row), secret.clone());
        Ok(Plan::commit(batch, issued))
    }

    /// The mail that tells the human, where mail is sent and they have an address.
    fn told_of(
        &self,
        human: &UserRow,
        row: &SessionRow,
        reason: &str,
    ) -> Result<Option<[Write; 2]>> {
        let to = human.email.as_deref().and_then(|email| email.parse().ok());
        let Some(to) = to.filter(|_: &EmailAddress| self.can_mail()) else {
            return Ok(None);
        };
        let mail = Mail::new(to, MailKind::Impersonated)
            .with("name", human.name.clone().unwrap_or_default())
            .with("by", row.impersonator.clone().unwrap_or_default())
            .with("until", row.expires_at.to_string())
            .with("reason", reason);
        self.mail(&mail).map(Some)
    }

    fn impersonation_row(
        &self,
        actor: &Actor,
        human: &UserRow,
        secret: &Secret,
    ) -> Result<SessionRow> {
        let nobody = || Error::Forbidden("this needs an operator key or a session".to_owned());
        let by = Impersonator::of(actor).ok_or_else(nobody)?;
        let own = self.new_session_row(actor, human, secret);
        let end = self.now().plus(MAX_IMPERSONATION).min(own.expires_at);
        let session = actor.person().and_then(Person::session);
        Ok(SessionRow {
            // What whoever acts has proved; of the human in whose name it is nothing was.
            two_factors: session.is_some_and(|own| own.two_factors),
            impersonator: Some(by.to_string()),
            impersonator_mark: actor.caller.mark(),
            // The human proved nothing.
            signed_in_at: Timestamp::MIN,
            expires_at: actor.ends_at().map_or(end, |theirs| theirs.min(end)),
            ..own
        })
    }

    /// Who really calls in a session, if they still may; an error of `None` is that they may not.
    pub(crate) async fn impersonator(
        &self,
        session: &Opened,
        human: &User,
    ) -> Result<std::result::Result<Option<ledger::Actor>, Ended>> {
        let Some(Impersonation { by, mark }) = session.impersonation else {
            return Ok(Ok(None));
        };
        if let Some(mark) = mark
            && !self.is_current(mark).await?
        {
            return Ok(Err(Ended));
        }
        Ok(match by {
            Impersonator::Program => Ok(Some(ledger::Actor::System)),
            Impersonator::Key(id) => Ok(Some(ledger::Actor::Key(id))),
            Impersonator::Human(id) => {
                let other = self.known_user(id).await?;
                let may = other.is_live(self.now())
                    && roles::has(other.role, Scope::UsersImpersonate)
                    && other.role > human.role;
                may.then_some(Some(ledger::Actor::Person(other.pseudonym)))
                    .ok_or(Ended)
            }
        })
    }

    /// Whether a handle is still at this generation.
    async fn is_current(&self, mark: Mark) -> Result<bool> {
        let found = self.store().find(handle::current(&[mark.handle])).await?;
        Ok(found.is_some_and(|(_, generation)| generation == mark.generation))
    }
}

/// That an impersonation is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

impl Person {
    /// What must still be so when the writer comes to a batch of this human's: neither session nor human was stopped,
    /// nor who acts in their name.
    pub(crate) fn reads(&self) -> impl Iterator<Item = Mark> {
        let impersonation = self.impersonation().and_then(|one| one.mark);
        let own = self.mark().into_iter().chain([self.user.mark]);
        own.chain(impersonation)
    }

    /// That somebody acts in the human's name.
    pub(crate) fn impersonation(&self) -> Option<Impersonation> {
        self.session().and_then(|session| session.impersonation)
    }
}

impl Actor {
    /// When the caller's own credential ends.
    fn ends_at(&self) -> Option<Timestamp> {
        match &self.caller {
            Caller::Operator(key) => key.expires_at,
            Caller::Person(person) => Some(person.ends_at()),
            _ => None,
        }
    }
}
