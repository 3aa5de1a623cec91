//! What a proof, or the loss of one, makes of a human: their address is verified, or all that they had open ends.
//!
//! Promises: what was made before it was known who reads the mail of an account is worth nothing afterwards, in the same
//! commit, unless whoever reads it shows that they made it; a password that was reset leaves nothing open that was open
//! before.

use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::revocation::Mark;
use kavachos_store::user::UserRow;
use kavachos_store::{
    Batch, agent, known_device, password, second_factor, session, sign_in, user, vouching,
};

use crate::actor::Actor;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::users::{kill_human, raised};

/// What becomes of a human.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turning {
    /// They had no address, and have one from now on.
    Addressed {
        email: String,
        name: Option<String>,
        /// They read mail sent to it.
        verified: bool,
    },
    /// They read mail sent to their address, and nobody else made anything in their name.
    Verified,
    /// They read mail sent to their address, and whoever made the account may be somebody else.
    Claimed,
    /// Their sessions end, and their keys.
    SignedOut,
}

impl Turning {
    /// Whether nothing stays open that was.
    pub(crate) const fn ends_sessions(&self) -> bool {
        matches!(self, Self::Claimed | Self::SignedOut)
    }
}

impl Engine {
    /// Adds to the batch what becomes of the human, and tells how they are after it.
    pub(crate) async fn turn_human(
        &self,
        actor: &Actor,
        (human, turning): (UserRow, Turning),
        batch: &mut Batch,
    ) -> Result<UserRow> {
        let mut next = human.clone();
        match &turning {
            Turning::Verified | Turning::Claimed => {
                next.email_verified_at = next.email_verified_at.or_else(|| Some(self.now()));
            }
            Turning::Addressed {
                email,
                name,
                verified,
            } => {
                next.email = Some(email.clone());
                next.name = name.clone().or(next.name);
                next.email_verified_at = verified.then(|| self.now());
            }
            Turning::SignedOut => {}
        }
        if turning.ends_sessions() {
            next.kills = human.kills.saturating_add(1);
            kill_human(batch, &human);
            batch.writes.extend([
                sign_in::forget_of(human.id),
                known_device::forget_of(human.id),
                vouching::stop(human.id, self.now()),
            ]);
        }
        batch.writes.push(user::update(next.clone()));
        batch.effects.push(Changed::User(human.id).into());
        if turning == Turning::Claimed {
            batch.writes.extend(self.plugins().forget(human.id)?);
            batch.writes.extend([
                second_factor::forget_of(human.id),
                password::forget_of(human.id),
            ]);
            self.stop_agents_of_stranger(actor, &human, batch).await?;
        }
        let about = (&next, batch.kills.len());
        let kind = match turning {
            Turning::Verified | Turning::Claimed => "user.email_verified",
            Turning::Addressed { .. } => "user.updated",
            Turning::SignedOut => "user.signed_out",
        };
        batch.entries.push(self.user_record(actor, kind, about)?);
        next.version = next.version.saturating_add(1);
        Ok(next)
    }

    /// Revokes the agents that were made by whoever signed in before the address was verified. Where nobody ever did, an
    /// operator made them.
    async fn stop_agents_of_stranger(
        &self,
        actor: &Actor,
        human: &UserRow,
        batch: &mut Batch,
    ) -> Result<()> {
        let signed_in = self.store().find(session::any_by_method(human.id)).await?;
        if signed_in.is_none() {
            return Ok(());
        }
        let agents = self.store().list(agent::owned_by_user(human.id)).await?;
        if agents.len() > agent::MAX_STOPPED {
            let most = agent::MAX_STOPPED;
            let why =
                format!("this account has more than {most} agents: revoke some of them first");
            return Err(Error::WrongState(why));
        }
        batch
            .writes
            .push(agent::revoke_owned_by_user(human.id, agents.len() as u64));
        for (id, handle, generation) in agents {
            batch.kills.push(raised(Mark { handle, generation }));
            batch.effects.push(Changed::Agent(id).into());
            batch.entries.push(self.stopped_with(actor, human, id)?);
        }
        batch.writes.push(user::recount_agents(human.id, 0));
        Ok(())
    }

    fn stopped_with(
        &self,
        actor: &Actor,
        human: &UserRow,
        agent: kavachos_core::id::AgentId,
    ) -> Result<Entry> {
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "agent.revoked", Outcome::Allowed, "done");
        record.agent = Some(agent);
        record.subject = Some(human.pseudonym);
        record.reason = Some("it was made before the e-mail address was verified");
        self.seal(&record)
    }
}
