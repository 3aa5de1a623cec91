//! What stops humans and lets them go on: bans, with an end or without, and deletions.
//!
//! Promises: stopping a human stops everything below by derivation: only the row, the kill and the record are written, by
//! a commit of their own. A ban that has an end is over at that moment without anybody's doing; what was issued before
//! it stays dead. A deletion takes away what is personal, also what plugins keep.

use kavachos_core::id::UserId;
use kavachos_core::ledger::Entry;
use kavachos_core::principal::Status;
use kavachos_core::time::Timestamp;
use kavachos_store::user::UserRow;
use kavachos_store::{
    Batch, Write, connection, device_request, former_address, given_identity, guess_run,
    known_device, not_me, password, second_factor, session, sign_in, vouching,
};
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::revoked::Revoked;
use crate::session_ends::Ended;
use crate::text;
use crate::users::{User, kill_human, stored_role};

/// A ban.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ban {
    /// When it ends by itself; `None` for when somebody ends it.
    pub until: Option<Timestamp>,
    /// Why; it stands in the record.
    pub reason: Option<String>,
}

/// What stops or lets go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn<'a> {
    Ban(&'a Ban),
    Unban,
    Delete,
}

impl Turn<'_> {
    const fn kind(self) -> &'static str {
        match self {
            Self::Ban(_) => "user.banned",
            Self::Unban => "user.unbanned",
            Self::Delete => "user.deleted",
        }
    }

    /// Refuses it for a human of whom this is so already, or to whom it cannot be done.
    fn check(self, status: Status) -> Result<()> {
        let why = match (self, status) {
            (_, Status::Revoked) => "the user is deleted",
            (Self::Ban(_), Status::Banned) => "the user is banned already",
            (Self::Unban, Status::Active | Status::Suspended) => "the user is not banned",
            _ => return Ok(()),
        };
        Err(Error::WrongState(why.to_owned()))
    }

    /// The row after it.
    fn turned(self, row: &UserRow) -> UserRow {
        let mut next = row.clone();
        match self {
            Self::Ban(ban) => {
                next.status = Status::Banned;
                next.banned_until = ban.until;
            }
            Self::Unban => {
                next.status = Status::Active;
                next.banned_until = None;
            }
            Self::Delete => {
                next = UserRow {
                    status: Status::Revoked,
                    email: None,
                    name: None,
                    email_verified_at: None,
                    role: None,
                    banned_until: None,
                    ..next
                }
            }
        }
        if self != Self::Unban {
            next.kills = row.kills.saturating_add(1);
        }
        next
    }
}

impl Engine {
    /// Stops a human and everything below until the ban ends or they are unbanned. Keys made before stay dead for good.
    ///
    /// # Errors
    /// The human is banned already, deleted, or the last owner; the ban would be over; or the caller may not touch them.
    pub async fn ban_user(&self, actor: &Actor, id: UserId, ban: &Ban) -> Result<Issued<Revoked>> {
        text::future(ban.until, self.now()).map_err(|error| {
            kavachos_core::invalid::Invalid::at("until", error.message().to_owned())
        })?;
        if let Some(reason) = &ban.reason {
            text::plain("reason", reason, text::MAX_REASON_BYTES)?;
        }
        self.turn_user(actor, id, Turn::Ban(ban)).await
    }

    /// Lets a banned human's grants live again; their keys and their agents' keys do not.
    ///
    /// # Errors
    /// The human is not banned, or the caller may not touch them.
    pub async fn unban_user(&self, actor: &Actor, id: UserId) -> Result<Issued<User>> {
        let turned = self.turn_user(actor, id, Turn::Unban).await?;
        let row = self.user_row(id).await?;
        Ok(turned.with(User::of(row, self.now())?))
    }

    /// Deletes a human for good and stops everything below. A tombstone stays; the records stay.
    ///
    /// # Errors
    /// There is no such human, they are the last owner, or the caller may not touch them. Deleting twice is no error.
    pub async fn delete_user(&self, actor: &Actor, id: UserId) -> Result<Revoked> {
        Ok(self.turn_user(actor, id, Turn::Delete).await?.thing)
    }

    /// Deletes the human who calls, with all that [`Engine::delete_user`] takes away.
    ///
    /// # Errors
    /// The caller is no human, is impersonated, is the last owner, or proved too long ago who they are.
    pub async fn delete_own_account(&self, actor: &Actor) -> Result<Revoked> {
        let own = actor.own_account()?;
        let act = Act::on_user(Turn::Delete.kind(), own);
        let plan = || async {
            self.require_fresh(actor)?;
            self.plan_turn(actor, self.user_row(own).await?, Turn::Delete)
                .await
        };
        Ok(self.stop_sessions(actor, (act, own), plan).await?.thing)
    }

    async fn turn_user(
        &self,
        actor: &Actor,
        id: UserId,
        turn: Turn<'_>,
    ) -> Result<Issued<Revoked>> {
        let act = Act::on_user(turn.kind(), id);
        let plan = || async {
            actor.require(Scope::UsersWrite)?;
            let row = self.user_row(id).await?;
            actor.require_trust(stored_role(&row)?)?;
            self.plan_turn(actor, row, turn).await
        };
        self.stop_sessions(actor, (act, id), plan).await
    }

    async fn plan_turn(&self, actor: &Actor, row: UserRow, turn: Turn<'_>) -> Result<Plan<Ended>> {
        if let Some(done) = self.turned_before(actor).await? {
            return Ok(Plan::Done(Ended::of(done)));
        }
        let done = Issued::without_token(Revoked::at(self.now()));
        if (turn, row.status) == (Turn::Delete, Status::Revoked) {
            return Ok(Plan::Done(Ended::of(done)));
        }
        turn.check(row.status_at(self.now()))?;
        let mut batch = Batch {
            reads: actor.reads(),
            effects: vec![Changed::User(row.id).into()],
            ..Batch::default()
        };
        let mut sessions = Vec::new();
        if turn == Turn::Unban {
            actor.covers(&compile::permissions(row.permissions.as_deref())?)?;
        } else {
            self.keep_an_owner(&mut batch, &row).await?;
            kill_human(&mut batch, &row);
            batch.writes.push(vouching::stop(row.id, self.now()));
            if Self::is_trusted(&row)? {
                // Who acts for others in their name does so by one of these sessions.
                sessions = self.end_sessions(&mut batch, &row, None).await?;
            }
        }
        batch
            .writes
            .push(kavachos_store::user::update(turn.turned(&row)));
        if turn == Turn::Delete {
            batch.writes.extend(self.forgotten(row.id)?);
        }
        let entry = self.turn_record(actor, (&row, turn), batch.kills.len())?;
        batch.entries.push(entry);
        self.claim_once(actor, &mut batch, self.foreseen().to_string());
        let ended = Ended {
            answer: done,
            sessions,
        };
        Ok(Plan::commit(batch, ended))
    }

    /// What takes away all that is kept of a human besides their row: how they sign in, from where they did, which
    /// applications they let in, and what plugins keep.
    fn forgotten(&self, human: UserId) -> Result<Vec<Write>> {
        let mut all = self.plugins().forget(human)?;
        all.extend([
            password::forget_of(human),
            second_factor::forget_of(human),
            given_identity::used(human),
            sign_in::forget_of(human),
            known_device::forget_of(human),
            guess_run::end_of(human),
            not_me::forget_of(human),
            former_address::forget_of(human),
            session::forget_places(human),
            device_request::forget_of(human),
        ]);
        all.extend(connection::forget_of(human));
        Ok(all)
    }

    fn turn_record(
        &self,
        actor: &Actor,
        (row, turn): (&UserRow, Turn<'_>),
        revocations: usize,
    ) -> Result<Entry> {
        let Turn::Ban(Ban { until, reason }) = turn else {
            return self.user_record(actor, turn.kind(), (row, revocations));
        };
        let mut details = json!({ "revocations": revocations });
        if let (Some(until), Some(members)) = (until, details.as_object_mut()) {
            members.insert("until".to_owned(), json!(until));
        }
        self.user_act(actor, turn.kind(), (row, &details, reason.as_deref()))
    }
}

impl Actor {
    /// The account of the human who calls, for what nobody does in another's name.
    pub(crate) fn own_account(&self) -> Result<UserId> {
        match self.person() {
            Some(person) if person.impersonator.is_none() => Ok(person.user.id),
            Some(_) => Err(Error::Forbidden(
                "nobody does this in another's name; the human does it in a session of their own"
                    .to_owned(),
            )),
            None => Err(Error::Forbidden("this needs a human's session".to_owned())),
        }
    }
}
