//! A change as the batch that makes it: what it writes, what becomes of its human, and what its proof comes to.
//!
//! Promises: all of it, or nothing. What the change uses up stands first, so that it is there once; what becomes of the human
//! follows, and the proof last, of the human as they are behind all that.

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::ledger::{Actor as Name, Entry, Outcome, Record};
use kavachos_core::secret::Secret;
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, Take, guess_run, second_factor};

use super::change::{Arming, Change, NewHuman};
use super::context::{Context, take};
use super::route::Allowance;
use super::statement;
use crate::actor::{Actor, Person};
use crate::error::Result;
use crate::guesses::Guess;
use crate::mail::MAX_ASKED_FOR;
use crate::raising::Dying;
use crate::sign_in::{Account, SignedIn, Whence};

/// A batch that was put together, and what is answered once it is committed.
pub(super) struct Put {
    pub(super) batch: Batch,
    pub(super) signed_in: Option<SignedIn>,
    pub(super) device: Option<Secret>,
    pub(super) dying: Vec<Dying>,
}

impl Context {
    /// Puts a change into a batch, with its record.
    pub(super) async fn put(&self, kind: &'static str, change: Change) -> Result<Put> {
        for write in &change.writes {
            let own = statement::check_write(self.plugin.id, &write.sql);
            own.map_err(|why| self.defect(&format!("writes with `{}`: {why}", write.sql)))?;
        }
        let take = |(name, of): &(String, Allowance)| take(self.plugin.id, name, *of);
        let mut batch = Batch {
            takes: change
                .takes
                .iter()
                .map(take)
                .chain(self.mail_takes(&change))
                .collect(),
            entries: vec![self.entry(kind, &change).await?],
            ..Batch::default()
        };
        let program = self.program();
        let actor = self.actor().unwrap_or(&program);
        batch.reads = actor.reads();
        batch.writes.extend(actor.caller.still_vouched());
        let mut dying = Vec::new();
        // What the change uses up is there once; after that, all may be forgotten that the plugin keeps of the human.
        batch.writes.extend(change.writes.iter().cloned());
        let human = self
            .put_human(actor, &change, (&mut batch, &mut dying))
            .await?;
        let given_back = change.given_back.iter().flat_map(Guess::give_back);
        batch.writes.extend(given_back);
        if let Some((user, setting)) = &change.password {
            batch.writes.extend(setting.writes(*user, self.now()));
        }
        for mail in &change.mails {
            batch.writes.extend(self.engine.mail(mail)?);
        }
        if !change.as_if_mailed.is_empty() {
            self.engine.require_mail_room(MAX_ASKED_FOR).await?;
        }
        if let Some(factor) = change.factor {
            self.put_factor(actor, factor, (&mut batch, &mut dying))
                .await?;
        }
        let device = match (change.remembers, self.browser) {
            // One factor makes no browser known where two are asked for: a known one has guesses of its own.
            (Some(human), Some(_)) if !self.engine.has_second_factor(human).await? => {
                Some(self.engine.learn(human, &mut batch))
            }
            _ => None,
        };
        let signed_in = self
            .put_proof((actor, human), &change, (&mut batch, &mut dying))
            .await?;
        batch.writes.extend(change.end_of_dead());
        if self.actor().is_some() {
            self.engine.claim_once(actor, &mut batch, change.thing);
        }
        Ok(Put {
            batch,
            signed_in,
            device,
            dying,
        })
    }

    /// Adds to the batch what the change's proof comes to, of a human as they are behind what it does to them.
    async fn put_proof(
        &self,
        (actor, human): (&Actor, Option<UserRow>),
        change: &Change,
        (batch, dying): (&mut Batch, &mut Vec<Dying>),
    ) -> Result<Option<SignedIn>> {
        let Some(proof) = &change.proof else {
            return Ok(None);
        };
        let (account, human) = match human {
            Some(human) => (Account::JustShown, human),
            None => (Account::Settled, self.standing(proof.user(), batch).await?),
        };
        let (browser, proof) = change.after_turning(self.browser, proof);
        let whence = Whence { browser, account };
        let issuing = self.engine.issue(actor, whence, (&proof, human), batch);
        let issuing = issuing.await?;
        dying.extend(issuing.ended);
        Ok(Some(issuing.signed_in))
    }

    /// Adds what becomes of a human to the batch, and tells how they are after it.
    async fn put_human(
        &self,
        actor: &Actor,
        change: &Change,
        (batch, dying): (&mut Batch, &mut Vec<Dying>),
    ) -> Result<Option<UserRow>> {
        if let Some(NewHuman { row }) = &change.creates {
            let born = self.engine.user_born(&self.program(), row)?;
            batch.writes.extend(born.writes);
            batch.entries.splice(0..0, born.entries);
            batch.effects.extend(born.effects);
            return Ok(Some(row.clone()));
        }
        let Some((user, turning)) = &change.turns else {
            return Ok(None);
        };
        let human = self.standing(*user, batch).await?;
        let turned = (human, turning.clone());
        let human = self.engine.turn_human(actor, turned, (batch, dying));
        Ok(Some(human.await?))
    }

    /// Adds to the batch that a second factor is asked for from now on, or no more. Where it is, all sessions end that did
    /// not pass it: all but the one that turns it on.
    async fn put_factor(
        &self,
        actor: &Actor,
        (user, arming): (UserId, Arming),
        (batch, dying): (&mut Batch, &mut Vec<Dying>),
    ) -> Result<()> {
        match arming {
            Arming::Disarmed => {
                batch
                    .writes
                    .push(second_factor::disarm(user, self.plugin.id));
                batch.writes.push(guess_run::end(user, self.plugin.id));
            }
            Arming::Armed => {
                let factor = second_factor::arm(user, self.plugin.id, self.now());
                batch.writes.push(factor);
                let own = actor.person().and_then(Person::session);
                let human = self.engine.user_row(user).await?;
                let ended = self
                    .engine
                    .end_sessions(batch, &human, own.map(|own| own.id));
                dying.extend(ended.await?.into_iter().map(Dying::Session));
            }
        }
        Ok(())
    }

    /// One from the limit of each address that gets a mail because somebody asked for it. How many methods send mail makes
    /// no difference to whoever gets it, but for the one that gets them back into their account.
    fn mail_takes(&self, change: &Change) -> Vec<Take> {
        let per_hour = self.engine.settings().mails_per_recipient;
        let of = Allowance::new(per_hour, Duration::from_secs(60 * 60));
        let mails = change.mails.iter().filter(|mail| mail.kind.is_asked_for());
        let mails = mails.map(|mail| (&mail.to, mail.kind));
        let none = change.as_if_mailed.iter().map(|(to, kind)| (to, *kind));
        let all = mails.chain(none);
        all.map(|(to, kind)| take(kind.counts_as(), to.as_str(), of))
            .collect()
    }

    /// A human as they are stored; the batch holds only while they are not killed.
    async fn standing(&self, user: UserId, batch: &mut Batch) -> Result<UserRow> {
        let human = self.engine.user_row(user).await?;
        batch.reads.push(human.mark);
        Ok(human)
    }

    async fn entry(&self, kind: &'static str, change: &Change) -> Result<Entry> {
        let subject = match change.human {
            Some(human) => self.engine.pseudonym(human).await?,
            None => None,
        };
        let program = self.program();
        let actor = self.actor().unwrap_or(&program);
        let origin = actor.origin();
        let id = self.engine.id();
        let mut record: Record<'_> = origin.record(id, kind, Outcome::Allowed, "done");
        if self.actor().is_none() {
            record.actor = Name::Stranger;
        }
        record.agent = change.agent;
        record.subject = subject;
        record.details = change.details.as_ref();
        self.engine.seal(&record)
    }
}
