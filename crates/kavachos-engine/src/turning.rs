//! What a proof, or the loss of one, makes of a human: their address is verified, or all that they had open ends.
//!
//! Promises: what was made before it was known who reads the mail of an account is worth nothing afterwards, in the same
//! commit, unless whoever reads it shows that they made it; a password that was reset leaves nothing open that was open
//! before, and no agent and no grant that somebody made in the account by signing in.

use std::time::Duration;

use kavachos_core::time::Timestamp;
use kavachos_store::maker::{Ending, Extent};
use kavachos_store::user::UserRow;
use kavachos_store::{
    Batch, former_identity, given_identity, guess_run, known_device, not_me, password,
    second_factor, session, sign_in, user, vouching,
};

use crate::actor::Actor;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::Result;
use crate::made::begin_ending;
use crate::providers::Unlinking;
use crate::raising::Dying;
use crate::readdressing::Leaving;
use crate::users::kill_human;

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
    /// They have another address from now on, and read mail sent to it.
    Readdressed { email: String },
    /// They have an address of before again, which somebody else may have changed: what was made in their sessions ends, and
    /// ways in that were added since this time.
    TakenBack { email: String, since: Timestamp },
    /// They read mail sent to their address, and nobody else made anything in their name.
    Verified,
    /// They read mail sent to their address, and whoever made the account may be somebody else.
    Claimed,
    /// Their sessions end, and the keys of their agents.
    SignedOut,
    /// Somebody else may have been in their sessions: what was made in them ends too, and ways in that were added since
    /// this time, if it is known since when.
    Recovered(Option<Timestamp>),
}

impl Turning {
    /// Whether nothing stays open that was.
    pub(crate) const fn ends_sessions(&self) -> bool {
        matches!(
            self,
            Self::Claimed
                | Self::SignedOut
                | Self::Recovered(_)
                | Self::Readdressed { .. }
                | Self::TakenBack { .. }
        )
    }

    /// Whether the links of mails about sign-ins are worth nothing any more: whoever reads that mail has taken the account, or
    /// taken it back. Until then nobody who was in it takes them away.
    const fn ends_doubt(&self) -> bool {
        matches!(
            self,
            Self::Claimed | Self::Recovered(Some(_)) | Self::TakenBack { .. }
        )
    }

    /// The kind of its record.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Verified | Self::Claimed => "user.email_verified",
            Self::Addressed { .. } | Self::Readdressed { .. } => "user.updated",
            Self::SignedOut => "user.signed_out",
            Self::Recovered(_) | Self::TakenBack { .. } => "user.recovered",
        }
    }

    /// Who says that the human has another address, where they have.
    const fn leaving(&self) -> Option<Leaving> {
        match self {
            Self::Readdressed { .. } => Some(Leaving::Themselves),
            Self::TakenBack { .. } => Some(Leaving::TakenBack),
            Self::Addressed { .. }
            | Self::Verified
            | Self::Claimed
            | Self::SignedOut
            | Self::Recovered(_) => None,
        }
    }

    /// Since when ways in are doubted that were added, where any are.
    fn doubts(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            // Where it is not known since when, nothing that was added is doubted: a reset skips no second factor.
            Self::Recovered(since) => {
                Some(since.unwrap_or_else(|| now.plus(Duration::from_micros(1))))
            }
            Self::TakenBack { since, .. } => Some(*since),
            Self::Addressed { .. }
            | Self::Readdressed { .. }
            | Self::Verified
            | Self::Claimed
            | Self::SignedOut => None,
        }
    }

    /// Whether an identity at a provider goes, and why.
    const fn unlinks(&self) -> Option<Unlinking> {
        match self {
            Self::Claimed => Some(Unlinking::Claimed),
            Self::Recovered(_) | Self::TakenBack { .. } => Some(Unlinking::Recovered),
            Self::Addressed { .. }
            | Self::Readdressed { .. }
            | Self::Verified
            | Self::SignedOut => None,
        }
    }
}

impl Engine {
    /// The human with the address that they have from now on, and whether it is theirs.
    fn addressed(&self, human: &UserRow, turning: &Turning) -> UserRow {
        let mut next = human.clone();
        match turning {
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
            Turning::Readdressed { email } | Turning::TakenBack { email, .. } => {
                next.email = Some(email.clone());
                next.email_verified_at = Some(self.now());
            }
            Turning::SignedOut | Turning::Recovered(_) => {}
        }
        next
    }

    /// Adds to the batch what becomes of the human, and tells how they are after it.
    pub(crate) async fn turn_human(
        &self,
        actor: &Actor,
        (human, turning): (UserRow, Turning),
        (batch, dying): (&mut Batch, &mut Vec<Dying>),
    ) -> Result<UserRow> {
        let mut next = self.addressed(&human, &turning);
        if let Some(leaving) = turning.leaving() {
            let left = self.readdressed((&human, &next), leaving)?;
            batch.writes.extend(left);
        }
        if turning.ends_sessions() {
            next.kills = human.kills.saturating_add(1);
            kill_human(batch, &human);
            dying.push(Dying::Human(human.id));
            batch.writes.extend([
                sign_in::forget_of(human.id),
                known_device::forget_of(human.id),
                vouching::stop(human.id, self.now()),
            ]);
        }
        if turning.ends_doubt() {
            batch.writes.push(not_me::forget_of(human.id));
        }
        if let Some(why) = turning.unlinks() {
            self.take_identity(actor, (&mut next, why), batch)?;
        }
        let revocations = batch.kills.len();
        batch.writes.push(user::update(next.clone()));
        batch.effects.push(Changed::User(human.id).into());
        if turning == Turning::Claimed {
            self.end_of_stranger(&human, (batch, dying)).await?;
        }
        if let Some(since) = turning.doubts(self.now()) {
            batch
                .writes
                .push(second_factor::forget_since(human.id, since));
            batch
                .writes
                .extend(self.plugins().distrust(human.id, since)?);
            let ending = self.ending_of(&human, Extent::Made);
            begin_ending(ending, (batch, dying));
        }
        let about = (&next, revocations);
        let kind = turning.kind();
        batch.entries.push(self.user_record(actor, kind, about)?);
        next.version = next.version.saturating_add(1);
        Ok(next)
    }

    /// Adds the end of what was made by whoever signed in before the address was verified, and of what was made for them.
    /// Where nobody ever did, operators made it all, and it stays.
    async fn end_of_stranger(
        &self,
        human: &UserRow,
        (batch, dying): (&mut Batch, &mut Vec<Dying>),
    ) -> Result<()> {
        batch.writes.extend(self.plugins().forget(human.id)?);
        batch.writes.extend([
            second_factor::forget_of(human.id),
            password::forget_of(human.id),
            guess_run::end_of(human.id),
        ]);
        let extent = match self.came_in(human).await? {
            true => Extent::Given,
            false => Extent::Made,
        };
        let ending = self.ending_of(human, extent);
        begin_ending(ending, (batch, dying));
        Ok(())
    }

    /// Whether somebody came in as this human. Sessions are forgotten; the password of whoever signed up is not, nor is the
    /// identity at a provider of whoever called with its tokens. One that an operator gave says nothing until it is used.
    async fn came_in(&self, human: &UserRow) -> Result<bool> {
        let id = human.id;
        let password = self.store().find(password::of(id)).await?;
        let session = self.store().find(session::any_by_method(id)).await?;
        if password.is_some() || session.is_some() {
            return Ok(true);
        }
        if self
            .store()
            .find(given_identity::unused(id))
            .await?
            .is_some()
        {
            return Ok(false);
        }
        let former = self.store().find(former_identity::any_of(id)).await?;
        Ok(human.external.is_some() || former.is_some())
    }

    fn ending_of(&self, human: &UserRow, extent: Extent) -> Ending {
        Ending {
            human: human.id,
            extent,
            until: self.now(),
        }
    }
}
