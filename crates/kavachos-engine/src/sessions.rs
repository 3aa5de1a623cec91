//! Humans' sessions: opened by operators for humans who signed in elsewhere, listed, ended, and killed with their human.
//!
//! A session may do what is its human's alone ([`Person`](crate::actor::Person)); it ends when it is not used for a
//! while, after its life, when it is revoked, and for good when its human is banned or deleted.

use std::sync::Arc;

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::ledger::{Entry, Outcome, Pseudonym};
use kavachos_core::principal::{Status, User};
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::session::{self, SessionRow};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, handle, password};
use serde::Serialize;
use serde_json::json;

use crate::act::Act;
use crate::actor::{self, Actor, Credential, Person, Proof, Scope};
use crate::compile;
use crate::directory::{Changed, Lookup};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::page::{Page, PageOf};
use crate::raising::Dying;
use crate::revoked::Revoked;
use crate::roles::Claim;
use crate::users::{self, raised, stored_role};

/// In how many parts the idle time is told: a session that is used again within one of them is not noted.
const IDLE_PARTS: u32 = 168;
/// The most sessions that a human is shown at once.
const MAX_SHOWN: usize = 1_000;

/// A session, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The id.
    pub id: SessionId,
    /// The human.
    pub user_id: UserId,
    /// The first characters of its token.
    pub shown: String,
    /// `active`, `revoked` or `expired`; that its human was stopped is told with the human.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "revoked", "expired"])))]
    pub status: &'static str,
    /// Who opened it: an operator key, `system` where the human signed in.
    pub opened_by: String,
    /// By which methods the human signed in, `password+totp` for instance; `null` where an operator opened it.
    pub method: Option<String>,
    /// From which address it was opened.
    pub ip: Option<String>,
    /// With what it was opened, as that calls itself.
    pub user_agent: Option<String>,
    /// Who acts in the human's name in it; `null` in their own sessions.
    pub impersonated_by: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
    /// Until when it may approve: a while after the human proved who they are.
    pub fresh_until: Timestamp,
    /// When it was last used, to the hour.
    pub used_at: Timestamp,
    /// When it ends if it is not used again.
    pub idle_until: Timestamp,
    /// When it ends however much it is used.
    pub expires_at: Timestamp,
    /// When it was opened.
    pub created_at: Timestamp,
}

impl Engine {
    /// Opens a session for a human who proved elsewhere who they are. It counts as fresh.
    ///
    /// # Errors
    /// There is no such human, they are not active, have too many sessions, or may do more than the caller's ceiling.
    pub async fn open_session(&self, actor: &Actor, user: UserId) -> Result<Issued<Session>> {
        let secret = self.secret(SecretKind::Session);
        self.change(actor, Act::on_user("session.opened", user), || {
            self.plan_session(actor, user, &secret)
        })
        .await
    }

    async fn plan_session(
        &self,
        actor: &Actor,
        user: UserId,
        secret: &Secret,
    ) -> Result<Plan<Issued<Session>>> {
        actor.require(Scope::SessionsWrite)?;
        if actor.person().is_some() {
            return Err(Error::Forbidden(
                "nobody opens another's session but to impersonate them; `impersonate` does that, and shows it"
                    .to_owned(),
            ));
        }
        let user = self.user_row(user).await?;
        actor.require_trust(stored_role(&user)?)?;
        if let Some(done) = self.done_before(actor).await? {
            let id = done.parse().map_err(Error::Invalid)?;
            let row = self.session_row(id).await?;
            return Ok(Plan::Done(Issued::replay(self.session_view(actor, row))));
        }
        // Whoever holds the session may approve whatever the human may.
        actor.covers(&compile::permissions(user.permissions.as_deref())?)?;
        if user.status_at(self.now()) != Status::Active {
            return Err(Error::WrongState("the user is not active".to_owned()));
        }
        self.refuse_too_many_sessions(&user).await?;
        let row = self.new_session_row(actor, &user, secret);
        let limit = self.settings().sessions_per_user;
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![session::open(row.clone(), limit), handle::born(row.mark)],
            entries: vec![self.session_record(
                actor,
                "session.opened",
                (row.id, user.pseudonym),
            )?],
            effects: vec![Changed::Key(row.hash).into()],
            ..Batch::default()
        };
        batch.reads.push(user.mark);
        self.claim_once(actor, &mut batch, row.id.to_string());
        let issued = Issued::new(self.session_view(actor, row), secret.clone());
        Ok(Plan::commit(batch, issued))
    }

    pub(crate) fn new_session_row(
        &self,
        actor: &Actor,
        user: &UserRow,
        secret: &Secret,
    ) -> SessionRow {
        let now = self.now();
        SessionRow {
            id: self.id(),
            hash: secret.hash(),
            shown: secret.display_prefix().to_owned(),
            user: user.id,
            opened_by: actor.public_name(),
            status: Status::Active,
            user_kills: user.kills,
            mark: self.mark(HandleKind::Session),
            signed_in_at: now,
            used_at: now,
            expires_at: now.plus(self.settings().session_life),
            created_at: now,
            method: None,
            ip: None,
            user_agent: None,
            impersonator: None,
            impersonator_mark: None,
            two_factors: false,
        }
    }

    /// Says that there are too many; the insert makes sure of it.
    pub(crate) async fn refuse_too_many_sessions(&self, user: &UserRow) -> Result<()> {
        let usable = session::usable(user.id, user.kills, self.now());
        let limit = self.settings().sessions_per_user;
        match self.store().find(usable).await? {
            Some((usable,)) if usable >= limit => Err(Error::LimitExceeded {
                code: "session_limit_exceeded",
                message: format!(
                    "this human has {limit} sessions and may have no more; revoke one first"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The record of a session that a method opened.
    pub(crate) fn opened_record(
        &self,
        actor: &Actor,
        row: &SessionRow,
        subject: Pseudonym,
    ) -> Result<Entry> {
        let origin = actor.origin();
        let details = json!({ "session": row.id, "method": row.method });
        let mut record = origin.record(self.id(), "session.opened", Outcome::Allowed, "done");
        record.subject = Some(subject);
        record.details = Some(&details);
        self.seal(&record)
    }

    fn session_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        (id, subject): (SessionId, Pseudonym),
    ) -> Result<Entry> {
        let origin = actor.origin();
        let details = json!({ "session": id });
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.subject = Some(subject);
        record.details = Some(&details);
        self.seal(&record)
    }

    /// A human's sessions, newest first: for operators, and for the human.
    ///
    /// # Errors
    /// There is no such human, or they are not the caller's to see.
    pub async fn sessions(
        &self,
        actor: &Actor,
        user: UserId,
        page: PageOf<SessionId>,
    ) -> Result<Page<Session, SessionId>> {
        match actor.person() {
            Some(person) => drop(person.claim(Scope::SessionsWrite, user, "user")?),
            None => actor.require(Scope::SessionsWrite)?,
        }
        self.user_row(user).await?;
        let rows = session::page(user, page.after, page.limit);
        let rows = self.store().list(rows).await?;
        Page::of(rows, |row| row.id).shown(|row| Ok(self.session_view(actor, row)))
    }

    /// The session that asks, with its human.
    ///
    /// # Errors
    /// The caller is no human with a session.
    pub async fn own_session(&self, actor: &Actor) -> Result<(Session, users::User)> {
        let session = own_session(actor)?;
        let row = self.session_row(session.id).await?;
        let human = self.user_row(row.user).await?;
        Ok((
            self.session_view(actor, row),
            users::User::of(human, self.now())?,
        ))
    }

    /// Whether the human who asks has a password.
    ///
    /// # Errors
    /// The caller is no human with a session.
    pub async fn has_password(&self, actor: &Actor) -> Result<bool> {
        let of = password::of(own_session(actor)?.user);
        Ok(self.store().find(of).await?.is_some())
    }

    /// The sessions of the human who asks, newest first.
    ///
    /// # Errors
    /// The caller is no human with a session.
    pub async fn own_sessions(
        &self,
        actor: &Actor,
        page: PageOf<SessionId>,
    ) -> Result<Page<Session, SessionId>> {
        let human = actor.person().ok_or_else(no_session)?.user.id;
        self.sessions(actor, human, page).await
    }

    /// The sessions of the human who asks that may still be used: the one that asks first, then those used last.
    ///
    /// # Errors
    /// The caller is no human with a session.
    pub async fn own_live_sessions(&self, actor: &Actor) -> Result<Vec<Session>> {
        let human = self.user_row(own_session(actor)?.user).await?;
        let of = (human.id, human.kills);
        let usable = session::all_usable(of, self.now(), MAX_SHOWN);
        let usable = self.store().list(usable).await?.into_iter();
        let mut live: Vec<_> = usable.map(|row| self.session_view(actor, row)).collect();
        live.retain(|session| session.status == Status::Active.as_str());
        live.sort_by_key(|session| (!session.current, std::cmp::Reverse(session.used_at)));
        Ok(live)
    }

    /// Ends the session that asks.
    ///
    /// # Errors
    /// The caller is no human with a session.
    pub async fn sign_out(&self, actor: &Actor) -> Result<Revoked> {
        let session = own_session(actor)?.id;
        self.revoke_session(actor, session).await
    }

    /// Ends a session for good, and what it approved that was not used. Ending it twice is no error.
    ///
    /// # Errors
    /// There is none with this id, or it is not the caller's.
    pub async fn revoke_session(&self, actor: &Actor, id: SessionId) -> Result<Revoked> {
        let act = Act::on_session("session.revoked", id);
        let plan = || self.plan_session_end(actor, id);
        self.stop_in_steps(actor, (act, Dying::Session(id)), plan)
            .await
    }

    async fn plan_session_end(&self, actor: &Actor, id: SessionId) -> Result<Plan<Revoked>> {
        if actor.person().is_none() {
            actor.require(Scope::SessionsWrite)?;
        }
        let row = self.session_row(id).await?;
        self.require_session_end(actor, row.user).await?;
        let done = Revoked::at(self.now());
        if row.status == Status::Revoked {
            return Ok(Plan::Done(done));
        }
        let subject = self.user_row(row.user).await?.pseudonym;
        let killed = raised(row.mark);
        let batch = Batch {
            reads: actor.reads(),
            kills: vec![killed],
            writes: vec![session::end(id), Dying::Session(id).begin(killed)],
            entries: vec![self.session_record(actor, "session.revoked", (id, subject))?],
            effects: vec![Changed::Key(row.hash).into()],
            ..Batch::default()
        };
        Ok(Plan::commit(batch, done))
    }

    /// Refuses callers who are neither operators for sessions nor this human, nor trusted with more than they are.
    async fn require_session_end(&self, actor: &Actor, of: UserId) -> Result<()> {
        let Some(person) = actor.person() else {
            return actor.require(Scope::SessionsWrite);
        };
        match person.claim(Scope::SessionsWrite, of, "session")? {
            Claim::Own => Ok(()),
            Claim::ByRole => actor.require_trust(stored_role(&self.user_row(of).await?)?),
        }
    }

    pub(crate) async fn session_row(&self, id: SessionId) -> Result<SessionRow> {
        let row = self.store().find(session::by_id(id)).await?;
        row.ok_or(Error::NotFound("session"))
    }

    pub(crate) fn session_view(&self, actor: &Actor, row: SessionRow) -> Session {
        let settings = self.settings();
        let idle_until = row.used_at.plus(settings.session_idle).min(row.expires_at);
        Session {
            status: match row.status {
                Status::Active if idle_until <= self.now() => "expired",
                status => status.as_str(),
            },
            fresh_until: match row.impersonator {
                Some(_) => row.created_at,
                None => row.signed_in_at.plus(settings.session_fresh),
            },
            id: row.id,
            user_id: row.user,
            shown: row.shown,
            opened_by: row.opened_by,
            method: row.method,
            ip: row.ip,
            user_agent: row.user_agent,
            impersonated_by: row.impersonator,
            current: own_session(actor).is_ok_and(|session| session.id == row.id),
            used_at: row.used_at,
            idle_until,
            expires_at: row.expires_at,
            created_at: row.created_at,
        }
    }

    /// The human who calls with a session, if both are live.
    pub(crate) async fn person(&self, session: Arc<actor::Session>) -> Result<Option<Person>> {
        let user = self.known_user(session.user).await?;
        let now = self.now();
        let settings = self.settings();
        let unused = now.since(session.used_at);
        let live = session.status == Status::Active
            && now < session.expires_at
            && unused < settings.session_idle
            && user.is_live(now)
            && session.user_kills == user.kills;
        if !live {
            return Ok(None);
        }
        let Ok(impersonator) = self.impersonator(&session, &user).await? else {
            return Ok(None);
        };
        if unused >= settings.session_idle / IDLE_PARTS {
            self.touch(&session, now).await;
        }
        let fresh =
            impersonator.is_none() && now.since(session.signed_in_at) < settings.session_fresh;
        let proof = if fresh { Proof::Fresh } else { Proof::Stale };
        let owes = self.owed(&session, &user).await?;
        Ok(Some(Person {
            by: Credential::Session(session),
            user,
            proof,
            impersonator,
            owes,
        }))
    }

    /// Notes that a session is used. Where that cannot be written the session ends sooner, which is no reason to refuse.
    async fn touch(&self, session: &actor::Session, now: Timestamp) {
        let batch = Batch {
            writes: vec![session::touch(session.id, now)],
            effects: vec![Changed::Key(session.hash).into()],
            ..Batch::default()
        };
        if let Err(error) = self.store().commit(batch).await {
            tracing::warn!(?error, "the use of a session could not be noted");
        }
    }

    /// A human, from memory if they are there.
    pub(crate) async fn known_user(&self, id: UserId) -> Result<Arc<User>> {
        if let Some(user) = self.directory().user(id) {
            return Ok(user);
        }
        let load = self.directory().begin();
        let user = Arc::new(compile::user(&self.user_row(id).await?)?);
        self.directory().keep_user(load, &user);
        Ok(user)
    }
}

/// The session with which the caller calls.
pub(crate) fn own_session(actor: &Actor) -> Result<&Arc<actor::Session>> {
    let session = actor.person().and_then(Person::session);
    session.ok_or_else(no_session)
}

fn no_session() -> Error {
    Error::Forbidden("this needs a human's session".to_owned())
}
