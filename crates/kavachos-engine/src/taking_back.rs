//! The address that was changed, taken back by whoever reads mail at the old one.
//!
//! Promises: when a human changes an address that is known to be theirs, the mail to it has a link, good once and for a week,
//! of which the hash is stored; opening it changes nothing. Following it gives the account that address again, and ends
//! all that *this was not me* ends ([`not_me`](crate::not_me)). Of several addresses that were left one after the other the
//! first goes before the later: whoever takes the account back by it ends their links, and none of theirs ends its. Nobody
//! who is signed in takes a link away, nor does who resets the password; an operator's change of the address does. See ADR 0035.

use std::time::Duration;

use kavachos_core::principal::Status;
use kavachos_store::former_address::{self, FormerAddressRow};
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, Write, password, session, user};

use crate::act::Act;
use crate::actor::Actor;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::not_me::{self, DOUBT};
use crate::raising::Dying;
use crate::revoked::Revoked;
use crate::turning::Turning;

/// How long a link is good.
const LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The one answer to links that are over, used, or were never made.
const GONE: Error = Error::Unauthenticated(
    "this link is over or was used, or somebody who had the account earlier took it back; ask whoever runs this server",
);

impl Engine {
    /// A link that takes this human's address back, where it is known to be theirs: its row, and where it leads.
    pub(crate) fn way_back(&self, left: &UserRow) -> Option<(Write, String)> {
        let email = left.email.clone()?;
        // Whoever reads mail at an address that nobody verified never had the account.
        left.email_verified_at?;
        let (token, hash) = self.new_link();
        let now = self.now();
        let row = FormerAddressRow {
            hash,
            user: left.id,
            email,
            expires_at: now.plus(LIFE),
            created_at: now,
        };
        let site = self.settings().issuer.as_str();
        let url = format!("{site}/restore-email?token={token}");
        Some((former_address::insert(&row), url))
    }

    /// Takes an account back by the link of the mail that told of another address: the old one is its address again, what is
    /// open of it ends, what was made in it by whoever was signed in, and the password until it is set anew.
    ///
    /// # Errors
    /// The link is over, was used, or was never made: one and the same answer. The account is stopped, or somebody else
    /// reads mail at the address as another account's by now.
    pub async fn restore_email(&self, stranger: Stranger<'_>, token: &str) -> Result<Revoked> {
        let actor = Actor::of_stranger(stranger);
        let plan = || self.plan_restored_email(&actor, not_me::hash_of(token));
        let act = Act::new("user.recovered");
        let dying = self.change(&actor, act, plan).await;
        self.recovered(stranger, dying).await
    }

    async fn plan_restored_email(&self, actor: &Actor, hash: [u8; 32]) -> Result<Plan<Vec<Dying>>> {
        let now = self.now();
        let link = self
            .store()
            .find(former_address::by_hash(hash, now))
            .await?;
        let link = link.ok_or(GONE)?;
        let human = self.user_row(link.user).await?;
        let id = human.id;
        if human.status_at(now) != Status::Active {
            return Err(Error::WrongState(
                "the account is stopped; ask whoever runs this server".to_owned(),
            ));
        }
        let mut batch = Batch {
            reads: vec![human.mark],
            writes: vec![
                former_address::forget_later(id, hash),
                former_address::consume(hash, now),
            ],
            ..Batch::default()
        };
        self.free_address(actor, (&human, &link.email), &mut batch)
            .await?;
        let mut dying = Vec::new();
        // What was added just before the change was so by whoever made it; for long, mail takes away no other factor.
        let is_late = now > link.created_at.plus(DOUBT);
        let since = if is_late {
            now
        } else {
            link.created_at.minus(DOUBT)
        };
        let turning = Turning::TakenBack {
            email: link.email,
            since,
        };
        self.turn_human(actor, (human, turning), (&mut batch, &mut dying))
            .await?;
        batch
            .writes
            .extend([session::end_dead(id), password::require_reset(id)]);
        Ok(Plan::commit(batch, dying))
    }

    /// Adds to the batch that nobody else has the address. Who never showed that they read mail there loses it: otherwise
    /// whoever changed it keeps it from its owner by an account of that address.
    async fn free_address(
        &self,
        actor: &Actor,
        (human, email): (&UserRow, &str),
        batch: &mut Batch,
    ) -> Result<()> {
        let other = self.store().find(user::by_email(email.to_owned())).await?;
        let Some(other) = other.filter(|other| other.id != human.id) else {
            return Ok(());
        };
        if other.email_verified_at.is_some() {
            return Err(Error::WrongState(
                "your old address belongs to another account by now; ask whoever runs this server"
                    .to_owned(),
            ));
        }
        let freed = UserRow {
            email: None,
            ..other
        };
        batch.effects.push(Changed::User(freed.id).into());
        let entry = self.user_record(actor, "user.updated", (&freed, 0))?;
        batch.entries.push(entry);
        batch.writes.push(user::update(freed));
        Ok(())
    }
}
