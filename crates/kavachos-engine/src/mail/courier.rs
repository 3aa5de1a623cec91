//! Who carries mail: takes what is due out of the queue, hands it to the sender, and tries again.
//!
//! INVARIANT (nothing is lost): a row goes only after its mail was sent or its giving up is on record. A crash in between
//! sends a mail twice.
//!
//! A slow server holds one of [`AT_ONCE`] places and nothing else: those who queue mail wait for nobody.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use kavachos_core::id::MailId;
use kavachos_core::ledger::{Actor as Name, Outcome, Record};
use kavachos_core::time::Timestamp;
use kavachos_store::mail::{self, MailRow};
use kavachos_store::{Batch, Write};
use serde_json::json;

use super::{Mailing, Moment, PURPOSE, Sealed, SendError};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// How often it is looked whether there is a mail to send; that is in memory.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many of these looks go to the database after a mail was planned, which may be committed meanwhile: 30 seconds.
const LOOKS: u32 = 300;
/// How many mails are under way at the same time.
const AT_ONCE: usize = 8;
/// How many rows one look reads: those under way stand among them.
const MAX_READ: usize = AT_ONCE * 2;
/// How long a sender may take over one mail.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before what came of a mail is written down again, where that failed.
const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait after each failure, in seconds: fourteen attempts within 43 hours, of a mail that is worth it so long.
const DELAYS: [u64; 13] = [
    5, 15, 45, 120, 300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800,
];
/// The longest wait that the other side may ask for.
const MAX_DELAY: Duration = Duration::from_secs(60 * 60);

/// What is known of the queue in memory.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Mails that are under way. INVARIANT: at most [`AT_ONCE`].
    busy: Mutex<HashSet<MailId>>,
    /// How many more looks go to the database.
    looks: AtomicU32,
    sent: AtomicU64,
    put_off: AtomicU64,
    given_up: AtomicU64,
}

/// How many mails this process sent, has to try again, and gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailCounts {
    /// Sent: somebody else has taken charge of them.
    pub sent: u64,
    /// Attempts that failed and are repeated.
    pub put_off: u64,
    /// Given up, on record.
    pub given_up: u64,
}

/// A mail that is under way, until this is dropped.
struct Claim {
    engine: Engine,
    id: MailId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.engine.outbox().busy().remove(&self.id);
        // Its place is free, and another may have waited for it.
        self.engine.outbox().looks.fetch_max(1, Ordering::Relaxed);
    }
}

impl Outbox {
    fn busy(&self) -> MutexGuard<'_, HashSet<MailId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes_a_look(&self) -> bool {
        let one_less = |looks: u32| looks.checked_sub(1);
        (self.looks)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

/// What comes of an attempt.
enum Fate {
    Sent,
    Failed(SendError),
    /// What it says is worth nothing any more.
    Over,
}

impl Engine {
    /// Starts to send mail, until the engine ends or [`Engine::wind_down`]. Does nothing where there is no sender.
    pub fn start_mails(&self) {
        if self.mailing().is_none() {
            return;
        }
        let background = self.background();
        self.spawn(async move {
            // What waits since before is looked for at once.
            let mut next = Some(Timestamp::MIN);
            while let Some(engine) = background.after(LOOK_EVERY).await {
                let is_due = next.is_some_and(|next| next <= engine.now());
                if !engine.outbox().takes_a_look() && !is_due {
                    continue;
                }
                match engine.send_due().await {
                    Ok(found) => next = found,
                    Err(error) => {
                        tracing::warn!(%error, "mails cannot be looked for");
                        engine.outbox().looks.store(0, Ordering::Relaxed);
                        next = Some(engine.now().plus(WRITE_AGAIN));
                    }
                }
            }
        });
    }

    /// A mail is about to be committed, or one that waits may be sent now.
    pub(crate) fn look_for_mails(&self) {
        self.outbox().looks.store(LOOKS, Ordering::Relaxed);
    }

    /// How many mails this process sent and did not send.
    pub fn mail_counts(&self) -> MailCounts {
        let outbox = self.outbox();
        MailCounts {
            sent: outbox.sent.load(Ordering::Relaxed),
            put_off: outbox.put_off.load(Ordering::Relaxed),
            given_up: outbox.given_up.load(Ordering::Relaxed),
        }
    }

    /// Sends somebody with each mail that is due, as far as there are places. Says when the next one is.
    async fn send_due(&self) -> Result<Option<Timestamp>> {
        let rows = self.store().list(mail::next(MAX_READ)).await?;
        let now = self.now();
        let later = rows.iter().map(|row| row.next_at).find(|next| *next > now);
        let is_all = rows.len() < MAX_READ;
        for row in rows.into_iter().filter(|row| row.next_at <= now) {
            let Some(claim) = self.claim_mail(row.id) else {
                continue;
            };
            let engine = self.clone();
            self.spawn(async move { engine.carry(&claim, row).await });
        }
        // Behind a page full of mails that are due, there may be more; a place that gets free looks again.
        Ok(later.or((!is_all).then(|| now.plus(PATIENCE))))
    }

    fn claim_mail(&self, id: MailId) -> Option<Claim> {
        let mut busy = self.outbox().busy();
        let is_free = busy.len() < AT_ONCE && busy.insert(id);
        is_free.then(|| Claim {
            engine: self.clone(),
            id,
        })
    }

    /// Sends one mail, and writes down what came of it, as often as it takes: to forget it would send it again at once.
    async fn carry(&self, claim: &Claim, row: MailRow) {
        // It may have been settled between the look and the claim.
        match self.store().find(mail::by_id(claim.id)).await {
            Ok(Some(current)) if current == row => {}
            _ => return,
        }
        let fate = self.attempt(&row).await;
        let batch = match self.written_down(&row, &fate) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(mail = %row.id, %error, "what came of a mail cannot be recorded");
                return;
            }
        };
        while let Err(error) = self.store().commit(batch.clone()).await {
            tracing::warn!(mail = %row.id, %error, "what came of a mail is not written yet");
            self.sleep(WRITE_AGAIN).await;
            if self.listeners().is_ending() {
                return;
            }
        }
    }

    async fn attempt(&self, row: &MailRow) -> Fate {
        let now = self.now();
        if row.expires_at <= now {
            return Fate::Over;
        }
        let Some(mailing) = self.mailing() else {
            return Fate::Failed(SendError::transient("no sender is configured"));
        };
        let letter = match self.opened(mailing, row, now) {
            Ok(letter) => letter,
            Err(error) => return Fate::Failed(error),
        };
        let sending = mailing.sender.send(letter);
        match select(pin!(sending), pin!(self.sleep(PATIENCE))).await {
            Either::Left((Ok(()), _)) => Fate::Sent,
            Either::Left((Err(error), _)) => Fate::Failed(error),
            Either::Right(_) => Fate::Failed(SendError::transient("it took too long")),
        }
    }

    /// The letter of a row.
    fn opened(
        &self,
        mailing: &Mailing,
        row: &MailRow,
        now: Timestamp,
    ) -> std::result::Result<super::Letter, SendError> {
        let plain = self
            .open_at_rest(PURPOSE, &row.sealed)
            .map_err(|error| match error {
                Error::WrongState(_) => {
                    SendError::transient("the master key is not the one that it was sealed with")
                }
                _ => SendError::permanent("what stands in the queue was changed"),
            })?;
        let sealed: Option<Sealed> = serde_json::from_slice(&plain).ok();
        let own = sealed.filter(|sealed| sealed.id == row.id && sealed.kind.as_str() == row.kind);
        let own = own.ok_or(SendError::permanent("what stands in the queue was changed"))?;
        let moment = Moment {
            site: self.settings().issuer.as_str(),
            created_at: row.created_at,
            now,
        };
        mailing.letter(own, &moment).map_err(|error| {
            tracing::error!(mail = %row.id, %error, "a mail cannot be written");
            SendError::permanent("it cannot be written")
        })
    }

    /// What becomes of a row.
    fn written_down(&self, row: &MailRow, fate: &Fate) -> Result<Batch> {
        let error = match fate {
            Fate::Sent => {
                self.outbox().sent.fetch_add(1, Ordering::Relaxed);
                return Ok(written(mail::settle(row.id).into()));
            }
            Fate::Over => SendError::permanent("what it says is over"),
            Fate::Failed(error) => *error,
        };
        let attempts = match fate {
            Fate::Over => row.attempts,
            _ => row.attempts.saturating_add(1),
        };
        if let Some(next) = self.next_attempt(row, attempts, &error) {
            self.outbox().put_off.fetch_add(1, Ordering::Relaxed);
            tracing::info!(mail = %row.id, kind = row.kind, attempts, problem = %error, "a mail is tried again");
            return Ok(written(vec![mail::put_off(row.id, attempts, next)]));
        }
        self.outbox().given_up.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(mail = %row.id, kind = row.kind, attempts, problem = %error, "a mail is given up");
        let details = json!({
            "mail": row.id, "kind": row.kind, "attempts": attempts, "reason": error.reason(), "status": error.status(),
        });
        let kind = "mail.failed";
        let mut record = Record::new(self.id(), kind, Outcome::Allowed, "done", Name::System);
        record.details = Some(&details);
        Ok(Batch {
            entries: vec![self.seal(&record)?],
            ..written(mail::settle(row.id).into())
        })
    }

    /// When it is tried next; `None` if it is not.
    fn next_attempt(&self, row: &MailRow, attempts: u32, error: &SendError) -> Option<Timestamp> {
        if error.is_permanent() {
            return None;
        }
        let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
        let whole = Duration::from_secs(*DELAYS.get(index)?);
        let [chance] = self.random();
        let tenth = whole / 10;
        let delay = whole - tenth + tenth * 2 * u32::from(chance) / u32::from(u8::MAX);
        let asked = error.wait().unwrap_or_default().min(MAX_DELAY);
        let next = self.now().plus(delay.max(asked));
        (next < row.expires_at).then_some(next)
    }
}

fn written(writes: Vec<Write>) -> Batch {
    Batch {
        writes,
        ..Batch::default()
    }
}
