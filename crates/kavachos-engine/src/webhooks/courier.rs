//! Who carries the messages: notes what is to be told, tells it, and tries again.
//!
//! INVARIANT (nothing is lost): a webhook moves on in the ledger in the same batch in which its deliveries are noted, and
//! a delivery is forgotten only after it was acknowledged. A crash in between tells something twice, under the same id.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{StreamExt, iter};
use kavachos_core::id::{AuditId, WebhookId};
use kavachos_core::ledger::{Actor as Name, Outcome};
use kavachos_store::ledger::{self, Headline};
use kavachos_store::webhook::{self, DeliveryRow, WebhookRow};
use kavachos_store::{Batch, CommitError, Write};

use super::message::{TESTED, Told};
use super::{ACTIVE, Couriers, GONE, Kinds, MAX_WEBHOOKS};
use crate::act::Act;
use crate::actor::Actor;
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};

pub(super) const WAITING: &str = "waiting";
pub(super) const DEAD: &str = "dead";

/// How often it is looked for something to tell.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many records are looked through before what they led to is written down.
const MAX_LOOKED_THROUGH: usize = 20_000;
/// How many records one query brings.
const LOOK_STEP: usize = 1_000;
/// How many deliveries of one webhook may wait. Further records wait in the ledger.
const MAX_WAITING: usize = 1_000;
/// How many deliveries are noted, or tried, before what came of it is written down.
const MAX_ROUND: usize = 64;
/// How many messages are under way to one webhook.
const AT_ONCE: usize = 4;
/// How many rounds one webhook gets before it is looked at anew.
const MAX_ROUNDS: usize = 1_000;
/// How long to wait after each failure, in seconds: ten attempts within 76 hours (Standard Webhooks, retry schedule).
const DELAYS: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The longest wait that a receiver may ask for.
const MAX_DELAY: Duration = Duration::from_secs(86_400);

/// A webhook that someone works on, until this is dropped.
struct Claim {
    engine: Engine,
    id: WebhookId,
}

impl Couriers {
    fn busy(&self) -> MutexGuard<'_, HashSet<WebhookId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.engine.couriers().busy().remove(&self.id);
    }
}

impl Engine {
    /// Starts to tell webhooks, until the engine ends or [`Engine::wind_down`].
    pub fn start_webhooks(&self) {
        let background = self.background();
        self.spawn(async move {
            while let Some(engine) = background.after(LOOK_EVERY).await {
                if let Err(error) = engine.send_couriers().await {
                    tracing::warn!(%error, "webhooks cannot be looked for");
                }
            }
        });
    }

    /// There may be something to tell.
    pub(crate) fn look_for_webhooks(&self) {
        self.couriers().maybe_some.store(true, Ordering::Relaxed);
    }

    /// Sends somebody to each active webhook where nobody is.
    async fn send_couriers(&self) -> Result<()> {
        if !self.couriers().maybe_some.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let max = usize::try_from(MAX_WEBHOOKS).unwrap_or(usize::MAX);
        let active = self.store().list(webhook::active(max)).await;
        // One that is made from now on is looked for again once it is committed.
        if active.as_ref().map_or(true, |active| !active.is_empty()) {
            self.look_for_webhooks();
        }
        for row in active? {
            let Some(claim) = self.claim(row.id) else {
                continue;
            };
            let engine = self.clone();
            self.spawn(async move {
                if let Err(error) = engine.serve_webhook(claim.id).await {
                    tracing::warn!(webhook = %claim.id, %error, "a webhook cannot be served");
                }
            });
        }
        Ok(())
    }

    fn claim(&self, id: WebhookId) -> Option<Claim> {
        let is_free = self.couriers().busy().insert(id);
        is_free.then(|| Claim {
            engine: self.clone(),
            id,
        })
    }

    /// Notes and tells until there is nothing left to do for now.
    async fn serve_webhook(&self, id: WebhookId) -> Result<()> {
        for _ in 0..MAX_ROUNDS {
            if self.listeners().is_ending() {
                return Ok(());
            }
            let Some(row) = self.store().find(webhook::by_id(id)).await? else {
                return Ok(());
            };
            // Without the right master key nothing is tried, so that nothing is given up for want of it.
            if row.status != ACTIVE || self.signing_key(&row).is_err() {
                return Ok(());
            }
            let noted = self.note_new(&row).await?;
            if !self.tell_due(id).await? && !noted {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves the webhook on in the ledger and notes what it is to be told. Says whether it moved.
    async fn note_new(&self, row: &WebhookRow) -> Result<bool> {
        if row.position >= self.head().size {
            return Ok(false);
        }
        let room = self.room(row.id).await?;
        let (position, found) = self.look_through(row, room.min(MAX_ROUND)).await?;
        if position == row.position {
            return Ok(false);
        }
        let now = self.now();
        let advance = webhook::advance(row.id, row.position..position);
        let notes = found.iter().map(|id| webhook::enqueue(row.id, *id, now));
        let batch = Batch {
            writes: std::iter::once(advance).chain(notes).collect(),
            ..Batch::default()
        };
        match self.store().commit(batch).await {
            // Paused or deleted meanwhile.
            Err(CommitError::Conflict { .. }) => Ok(false),
            other => {
                other?;
                Ok(true)
            }
        }
    }

    /// How many more deliveries may be noted.
    async fn room(&self, id: WebhookId) -> Result<usize> {
        let tally = self.store().list(webhook::tally(id)).await?;
        let waiting = tally.iter().find(|(status, _)| status == WAITING);
        let waiting = waiting.map_or(0, |(_, count)| *count);
        Ok(MAX_WAITING.saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX)))
    }

    /// The next records of which the webhook is told, at most `room`, and where it stands after them.
    async fn look_through(&self, row: &WebhookRow, room: usize) -> Result<(u64, Vec<AuditId>)> {
        let kinds: Kinds = compile::stored("kinds", &row.kinds)?;
        let mut position = row.position;
        let mut found = Vec::new();
        for _ in 0..MAX_LOOKED_THROUGH / LOOK_STEP {
            let lines = self
                .store()
                .list(ledger::headlines(position, LOOK_STEP))
                .await?;
            let is_last = lines.len() < LOOK_STEP;
            for line in lines {
                let is_told = is_told(&line, &kinds, row.denials);
                if is_told && found.len() >= room {
                    return Ok((position, found));
                }
                position = line.seq.saturating_add(1);
                if is_told {
                    found.push(line.id);
                }
            }
            if is_last || !found.is_empty() {
                break;
            }
        }
        Ok((position, found))
    }

    /// Tells what is due, and writes down what came of it. Says whether there was anything.
    async fn tell_due(&self, id: WebhookId) -> Result<bool> {
        let due = webhook::due(id, self.now(), MAX_ROUND);
        let due = self.store().list(due).await?;
        if due.is_empty() {
            return Ok(false);
        }
        // Read after what is due: what came after a rotation is not signed with the secret before it.
        let row = self.store().find(webhook::by_id(id)).await?;
        let Some(row) = row.filter(|row| row.status == ACTIVE) else {
            return Ok(false);
        };
        let told: Vec<_> = iter(due)
            .map(|delivery| async {
                let told = self.tell(&row, delivery.audit).await;
                (delivery, told)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut writes = Vec::new();
        let (mut is_gone, mut is_back) = (false, false);
        for (delivery, told) in told {
            let told = told?;
            is_gone |= told == Told::Gone;
            is_back |= matches!(told, Told::Acknowledged(_)) && delivery.attempts > 0;
            writes.push(self.outcome(id, &delivery, told));
        }
        if is_back {
            writes.push(webhook::hasten(id, self.now()));
        }
        let batch = Batch {
            writes,
            ..Batch::default()
        };
        self.store().commit(batch).await?;
        if is_gone {
            self.note_gone(id).await?;
        }
        Ok(true)
    }

    /// What becomes of a delivery.
    fn outcome(&self, webhook: WebhookId, delivery: &DeliveryRow, told: Told) -> Write {
        let (problem, retry_after) = match told {
            Told::Acknowledged(_) | Told::Pruned => {
                return webhook::settle(webhook, delivery.audit);
            }
            Told::Gone => ("answered 410".to_owned(), None),
            Told::Failed {
                problem,
                retry_after,
                ..
            } => (problem, retry_after),
        };
        let attempts = delivery.attempts.saturating_add(1);
        let delay = self.delay(attempts, retry_after);
        if delay.is_none() {
            tracing::warn!(%webhook, audit = %delivery.audit, problem, "a delivery is given up");
        }
        let next = DeliveryRow {
            audit: delivery.audit,
            status: if delay.is_some() { WAITING } else { DEAD }.to_owned(),
            attempts,
            next_at: self.now().plus(delay.unwrap_or_default()),
            problem: Some(problem),
        };
        webhook::failed(webhook, next)
    }

    /// How long to wait after so many attempts, a tenth more or less by chance; `None` when there were enough.
    fn delay(&self, attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
        let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
        let whole = Duration::from_secs(*DELAYS.get(index)?);
        let [chance] = self.random();
        let tenth = whole / 10;
        let delay = whole - tenth + tenth * 2 * u32::from(chance) / u32::from(u8::MAX);
        Some(delay.max(retry_after.unwrap_or_default().min(MAX_DELAY)))
    }

    /// The receiver wants no more: nothing is sent until an operator says otherwise.
    async fn note_gone(&self, id: WebhookId) -> Result<()> {
        let actor = Actor::local(self.id());
        let plan = || async {
            let row = self.webhook_row(id).await?;
            if row.status != ACTIVE {
                return Ok(Plan::Done(()));
            }
            let next = WebhookRow {
                status: GONE.to_owned(),
                ..row
            };
            let batch = self.webhook_changed(&actor, "webhook.gone", &next)?;
            Ok(Plan::commit(batch, ()))
        };
        let noted = self
            .change(&actor, Act::on_webhook("webhook.gone", id), plan)
            .await;
        match noted {
            Err(Error::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}

/// Whether a webhook is told of a record.
fn is_told(line: &Headline, kinds: &Kinds, denials: bool) -> bool {
    let is_denied = line.outcome == Outcome::Denied.as_str();
    line.actor != Name::Stranger.to_string()
        && line.kind != TESTED
        && (denials || !is_denied)
        && kinds.has(&line.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, outcome: &str, actor: &str) -> Headline {
        Headline {
            seq: 0,
            id: AuditId::from_bits(0),
            kind: kind.to_owned(),
            outcome: outcome.to_owned(),
            actor: actor.to_owned(),
        }
    }

    #[test]
    fn refusals_are_told_to_those_who_ask_and_those_of_strangers_to_nobody() {
        let all = Kinds::parse(vec!["*".to_owned()]).unwrap();
        for (line, without, with) in [
            (line("decision", "allowed", "system"), true, true),
            (line("decision", "denied", "system"), false, true),
            (line("request.refused", "denied", "stranger"), false, false),
            (line(TESTED, "allowed", "system"), false, false),
        ] {
            assert_eq!(is_told(&line, &all, false), without, "{line:?}");
            assert_eq!(is_told(&line, &all, true), with, "{line:?}");
        }
    }
}
