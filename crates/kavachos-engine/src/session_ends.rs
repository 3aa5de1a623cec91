//! The end of all sessions of a human at once: when somebody asks for it, and with whatever changes what a session may.

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::principal::Role;
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, Write, known_device, password, session, sign_in, vouching};
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::feed::Telling;
use crate::issued::Issued;
use crate::mail::{EmailAddress, MAX_WAITING, Mail, MailKind};
use crate::raising::Dying;
use crate::revoked::Revoked;
use crate::roles::Claim;
use crate::sessions::own_session;
use crate::users::{raised, stored_role};

/// Where a human gets a link to a new password, where there are such links.
const RESETS: &str = "/api/auth/forgot-password";
/// The most sessions of one human that are ended at once.
const MAX_ENDED: usize = 10_000;

/// An act with the sessions that it ended: what hangs on each of them follows.
pub(crate) struct Ended {
    pub(crate) answer: Issued<Revoked>,
    pub(crate) sessions: Vec<SessionId>,
}

impl Ended {
    /// An act that ended none.
    pub(crate) fn of(answer: Issued<Revoked>) -> Self {
        Self {
            answer,
            sessions: Vec::new(),
        }
    }
}

impl Engine {
    /// Ends all sessions of a human. That there is none is no error.
    ///
    /// # Errors
    /// There is no such human, or they are not the caller's to sign out.
    pub async fn revoke_sessions(&self, actor: &Actor, user: UserId) -> Result<Revoked> {
        let act = Act::on_user("session.all_revoked", user);
        let plan = || self.plan_sessions_end(actor, user, None);
        Ok(self.stop_sessions(actor, (act, user), plan).await?.thing)
    }

    /// Ends all sessions of the human who asks, but the one with which they ask.
    ///
    /// # Errors
    /// The caller is no human with a session.
    pub async fn end_other_sessions(&self, actor: &Actor) -> Result<Revoked> {
        let own = own_session(actor)?;
        let act = Act::on_user("session.all_revoked", own.user);
        let plan = || self.plan_sessions_end(actor, own.user, Some(own.id));
        let ended = self.stop_sessions(actor, (act, own.user), plan).await?;
        Ok(ended.thing)
    }

    async fn plan_sessions_end(
        &self,
        actor: &Actor,
        user: UserId,
        kept: Option<SessionId>,
    ) -> Result<Plan<Ended>> {
        let by_role = match actor.person() {
            Some(person) => person.claim(Scope::SessionsWrite, user, "user")? == Claim::ByRole,
            None => {
                actor.require(Scope::SessionsWrite)?;
                false
            }
        };
        let row = self.user_row(user).await?;
        if by_role {
            actor.require_trust(stored_role(&row)?)?;
        }
        let done = Issued::without_token(Revoked::at(self.now()));
        let mut batch = Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        let sessions = self.end_sessions(&mut batch, &row, kept).await?;
        if sessions.is_empty() && row.external.is_none() {
            return Ok(Plan::Done(Ended::of(done)));
        }
        let (count, kills) = (sessions.len(), batch.kills.len());
        let details = json!({ "sessions": count, "revocations": kills, "kept": kept });
        let entry = self.user_act(actor, "session.all_revoked", (&row, &details, None))?;
        batch.entries.push(entry);
        let ended = Ended {
            answer: done,
            sessions,
        };
        Ok(Plan::commit(batch, ended))
    }

    /// Ends all sessions of the human that may still be used, but this one, with the batch; none is opened meanwhile.
    pub(crate) async fn end_sessions(
        &self,
        batch: &mut Batch,
        user: &UserRow,
        kept: Option<SessionId>,
    ) -> Result<Vec<SessionId>> {
        let (of, now) = ((user.id, user.kills), self.now());
        let usable = session::all_usable(of, now, MAX_ENDED);
        let mut usable = self.store().list(usable).await?;
        usable.retain(|row| Some(row.id) != kept);
        for row in &usable {
            let killed = raised(row.mark);
            batch.kills.push(killed);
            let end = [session::end(row.id), Dying::Session(row.id).begin(killed)];
            batch.writes.extend(end);
            batch.effects.push(Changed::Key(row.hash).into());
        }
        batch.writes.extend([
            session::none_usable_but(of, kept, now),
            // What an outside provider said of them until now is over, too.
            vouching::stop(user.id, now),
        ]);
        Ok(usable.into_iter().map(|row| row.id).collect())
    }

    /// As [`Engine::stop_in_steps`], for what ends sessions of a human with whatever else it does to them.
    pub(crate) async fn stop_sessions<P, F>(
        &self,
        actor: &Actor,
        (act, user): (Act, UserId),
        plan: P,
    ) -> Result<Issued<Revoked>>
    where
        P: Fn() -> F + Send,
        F: Future<Output = Result<Plan<Ended>>> + Send,
    {
        let (ended, committed) = self.committed(actor, act, plan).await?;
        let mut answer = ended.answer;
        let told = self.carried_through_all(user, &ended.sessions).await;
        answer.tell(match committed {
            Some(committed) if !committed.stops => Revoked::at(self.now()),
            _ => told,
        });
        Ok(answer)
    }

    /// As [`Engine::carried_through`], for a human and these sessions.
    pub(crate) async fn carried_through_all(
        &self,
        user: UserId,
        sessions: &[SessionId],
    ) -> Revoked {
        let mut told = self.carried_through(Dying::Human(user)).await;
        for session in sessions {
            told = told.and(self.carried_through(Dying::Session(*session)).await);
        }
        told
    }

    /// Has a human set a new password by mail before a password alone signs them in again. Their sessions end.
    ///
    /// # Errors
    /// There is no such human, they are deleted, or the caller may not touch them.
    pub async fn require_reset(&self, actor: &Actor, user: UserId) -> Result<Issued<Revoked>> {
        let act = Act::on_user("user.reset_required", user);
        let plan = || self.plan_reset(actor, user);
        self.stop_sessions(actor, (act, user), plan).await
    }

    async fn plan_reset(&self, actor: &Actor, user: UserId) -> Result<Plan<Ended>> {
        actor.require(Scope::UsersWrite)?;
        let row = self.user_row(user).await?;
        actor.require_trust(stored_role(&row)?)?;
        if let Some(done) = self.turned_before(actor).await? {
            return Ok(Plan::Done(Ended::of(done)));
        }
        if row.status == kavachos_core::principal::Status::Revoked {
            return Err(Error::WrongState("the user is deleted".to_owned()));
        }
        let mut batch = Batch {
            reads: actor.reads(),
            effects: vec![Changed::User(user).into()],
            ..Batch::default()
        };
        batch.writes.extend([
            password::require_reset(user),
            // What is half signed in was let so far by the old password, and a device was known to it.
            sign_in::forget_of(user),
            known_device::forget_of(user),
        ]);
        let sessions = self.end_sessions(&mut batch, &row, None).await?;
        batch.writes.extend(self.told_to_reset(&row).await?);
        let details = json!({ "sessions": sessions.len(), "revocations": batch.kills.len() });
        let entry = self.user_act(actor, "user.reset_required", (&row, &details, None))?;
        batch.entries.push(entry);
        self.claim_once(actor, &mut batch, self.foreseen().to_string());
        let ended = Ended {
            answer: Issued::without_token(Revoked::at(self.now())),
            sessions,
        };
        Ok(Plan::commit(batch, ended))
    }

    /// The mail that has a human with a password set another one, where mail can be sent to them.
    async fn told_to_reset(&self, row: &UserRow) -> Result<Vec<Write>> {
        let to = row.email.as_deref().filter(|_| self.can_mail());
        // Addresses of before these rules may be none by them.
        let to = to.and_then(|email| email.parse::<EmailAddress>().ok());
        let password = self.store().find(password::of(row.id)).await?;
        let (Some(to), Some(_)) = (to, password) else {
            return Ok(Vec::new());
        };
        // A mail server that is away keeps nobody from being stopped.
        if self.require_mail_room(MAX_WAITING).await.is_err() {
            return Ok(Vec::new());
        }
        let mail = Mail::new(to, MailKind::ResetRequired);
        let mut mail = mail.with("name", row.name.clone().unwrap_or_default());
        if self.plugins().takes(RESETS) {
            let site = self.settings().issuer.as_str();
            mail = mail.with("url", format!("{site}/forgot-password"));
        }
        Ok(self.mail(&mail)?.into())
    }

    /// Whether the human stands above the others: their sessions hold more than their own things.
    pub(crate) fn is_trusted(row: &UserRow) -> Result<bool> {
        Ok(stored_role(row)? != Role::Member)
    }
}
