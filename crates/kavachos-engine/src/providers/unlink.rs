//! The end of what ties an account to an identity at a provider.
//!
//! Promises: from the commit on, the identity enters the account no more, and what was opened by then is over; it makes
//! nobody new, who might do more than the account might, until somebody gives it a place by hand: its owner with a fresh
//! session and its token, or an operator. Each end is on record, and the human is told by mail. Nobody takes their own last
//! way in: they show another one by the session in which they ask for it.

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::principal::Status;
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, Write, former_identity, sign_in, user};
use serde_json::json;

use super::proof::{METHOD, linking};
use crate::act::Act;
use crate::actor::Actor;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::mail::{EmailAddress, Mail, MailKind};
use crate::revoked::Revoked;
use crate::roles::ANONYMOUS;
use crate::session_ends::Ended;
use crate::users::{External, kill_human};

/// What mails call an identity at a provider.
const NAME: &str = "an account at another provider";

/// Why an account loses its identity at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unlinking {
    /// The human or an operator takes it away.
    Asked,
    /// Whoever reads mail sent to the address takes the account over.
    Claimed,
    /// Whoever reads mail sent to the address gets the account back.
    Recovered,
}

impl Unlinking {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Claimed => "claimed",
            Self::Recovered => "recovered",
        }
    }
}

impl Engine {
    /// Takes the identity at a provider from the account of the human who calls. All its sessions end, also this one.
    ///
    /// # Errors
    /// The caller has no session that is fresh; the account has no such identity; or the session shows no other way in.
    pub async fn unlink_provider(&self, actor: &Actor) -> Result<Revoked> {
        let id = linking(actor)?;
        let act = Act::on_user("user.unlinked", id);
        let plan = || self.plan_unlink(actor, id);
        Ok(self.stop_sessions(actor, (act, id), plan).await?.thing)
    }

    async fn plan_unlink(&self, actor: &Actor, id: UserId) -> Result<Plan<Ended>> {
        self.require_fresh(actor)?;
        let row = self.user_row(id).await?;
        if row.external.is_none() {
            return Err(Error::NotFound("identity at a provider"));
        }
        if !enters_otherwise(actor) {
            return Err(Error::WrongState(
                "this session does not show that you have another way in than your provider: sign in by it anew, with a \
                 password or a passkey for instance, and then take the provider away"
                    .to_owned(),
            ));
        }
        let mut next = row.clone();
        let mut batch = Batch {
            reads: actor.reads(),
            effects: vec![Changed::User(id).into()],
            ..Batch::default()
        };
        kill_human(&mut batch, &row);
        let sessions = self.unlink(actor, (&row, &mut next), &mut batch).await?;
        batch.writes.push(user::update(next));
        let answer = Issued::without_token(Revoked::at(self.now()));
        Ok(Plan::commit(batch, Ended { answer, sessions }))
    }

    /// Adds to the batch that an account loses its identity because somebody asks for it, and all its sessions. The batch
    /// has to kill the human's mark and to store `next`.
    pub(crate) async fn unlink(
        &self,
        actor: &Actor,
        (row, next): (&UserRow, &mut UserRow),
        batch: &mut Batch,
    ) -> Result<Vec<SessionId>> {
        if row.status_at(self.now()) != Status::Active {
            return Err(Error::WrongState(
                "the user is not active: whoever is stopped stays known to their provider's name"
                    .to_owned(),
            ));
        }
        self.take_identity(actor, (next, Unlinking::Asked), batch)?;
        // What is half signed in was let so far by the provider's word.
        batch.writes.push(sign_in::forget_of(row.id));
        self.end_sessions(batch, row, None).await
    }

    /// Takes the outside identity from a human, if they have one. The batch has to store the row.
    pub(crate) fn take_identity(
        &self,
        actor: &Actor,
        (row, why): (&mut UserRow, Unlinking),
        batch: &mut Batch,
    ) -> Result<()> {
        let Some(identity) = row.external.take() else {
            return Ok(());
        };
        let details = json!({ "provider": identity.0, "why": why.as_str() });
        let entry = self.user_act(actor, "user.unlinked", (row, &details, None))?;
        batch.entries.push(entry);
        let told = self.told_of_identity(row, MailKind::FactorRemoved)?;
        batch.writes.extend(told);
        let remembered = former_identity::remember(row.id, identity, self.now());
        batch.writes.push(remembered);
        Ok(())
    }

    /// The mail that an account has an identity at a provider from now on, or none; where mail can be sent to it.
    pub(super) fn told_of_identity(&self, row: &UserRow, kind: MailKind) -> Result<Vec<Write>> {
        let to = row.email.as_deref().filter(|_| self.can_mail());
        // Addresses of before these rules may be none by them.
        let to = to.and_then(|email| email.parse::<EmailAddress>().ok());
        let mail = |to| self.mail(&Mail::new(to, kind).with("method", NAME));
        let told = to.map(mail).transpose()?;
        Ok(told.into_iter().flatten().collect())
    }

    /// Refuses to make somebody new of an identity that was taken from an account.
    pub(crate) async fn refuse_former(&self, external: &External) -> Result<()> {
        let former = former_identity::of(external.pair());
        match self.store().find(former).await? {
            None => Ok(()),
            Some(_) => Err(Error::Forbidden(
                "this identity was taken from an account here, and makes no other one: sign in to the account in another \
                 way and link it again, or have an operator create the user"
                    .to_owned(),
            )),
        }
    }
}

/// Whether the caller's session was opened in a way by which they come in again without the provider.
fn enters_otherwise(actor: &Actor) -> bool {
    let session = actor.person().and_then(|person| person.session());
    let first = session
        .and_then(|session| session.method.as_deref())
        .and_then(|methods| methods.split('+').next());
    first.is_some_and(|method| !method.starts_with(METHOD) && method != ANONYMOUS)
}
