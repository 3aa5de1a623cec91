//! What the engine does by itself, for as long as the process lives: kills that are begun, summaries of refusals, and
//! forgetting.

use std::time::Duration;

use kavachos_store::{
    Batch, Effect, Head, agent, approval, counter, device_request, former_address, guess, id_token,
    idempotency, known_device, mail, not_me, promise, proof, pushed_request, refresh_line, session,
    session_handle, sign_in, token_grant, webhook,
};

use crate::authenticate::DEAD_KEYS_KNOWN;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::error::Result;
use crate::plugin::ROWS_PER_STEP;

/// How often counted refusals are written.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);
/// How many summaries lie between two rounds of forgetting: an hour.
const SUMMARIES_PER_ROUND: u32 = 360;
/// How long a used proof of possession is remembered: longer than one may be used, whatever its clock.
const PROOFS_KNOWN: Duration = Duration::from_secs(10 * 60);
/// How long a code can be looked at after it is over, so that whoever shows it again shows a copy.
const CODES_KNOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a promise of a token can be looked at after it is over.
const PROMISES_KNOWN: Duration = Duration::from_secs(60 * 60);
/// How long a grant that was made for one token can be looked at after it is over: the hour in which its token can be
/// reported, and a day by which the clocks of two servers may differ between which a tenant moves. Its token ended before.
pub(crate) const TOKEN_GRANTS_KNOWN: Duration = Duration::from_secs(25 * 60 * 60);
/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEYS_KNOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request for approval or a session can be looked at after it is over, and a delivery that was given up be
/// tried again.
const ENDED_KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a mail lies that is over and that nobody was there to give up: this server sends none any more.
const MAILS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a browser is remembered in which nobody signs in.
const DEVICES_KNOWN: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// How long guesses are remembered: longer than their window.
const GUESSES_KNOWN: Duration = Duration::from_secs(2 * 60 * 60);
/// How many pages of counters are looked through at once. What is left waits for the next summary, so that a million
/// counters take ten minutes and hold up nobody.
const PAGES_AT_ONCE: usize = 64;
/// How many steps of forgetting grants are made at once, 16,384 grants. What is left waits for the next summary.
const GRANT_STEPS_AT_ONCE: usize = 256;

/// How many steps of sweeping each table of a plugin are made at once, 64,000 rows. What is left waits for the next summary.
const SWEEP_STEPS_AT_ONCE: usize = 64;

/// Where the upkeep is.
#[derive(Default)]
struct Rounds {
    /// How many summaries were written.
    summaries: u32,
    /// Up to which counter they were looked through, while some are left.
    reached: Option<Reached>,
    grants: Left,
    /// What is over in the tables of plugins.
    plugins: Left,
    /// What the logs came to when that was last kept outside of the database.
    kept: Option<Head>,
}

/// Whether something may be left to forget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Left {
    #[default]
    Nothing,
    Something,
}

/// The key of a counter; the empty one is before all.
type Reached = Vec<u8>;

impl Rounds {
    async fn turn(&mut self, engine: &Engine) {
        if self.summaries > 0 {
            engine.flush_refusals().await;
        }
        if let Err(error) = engine.finish_kills().await {
            tracing::warn!(%error, "a kill is not carried through yet; it is tried again");
        }
        if let Err(error) = self.forget(engine).await {
            tracing::warn!(%error, "upkeep failed; it is tried again");
        }
        self.summaries = self.summaries.wrapping_add(1);
        let head = engine.head();
        if self.kept != Some(head) {
            engine.keep_checkpoint().await;
            self.kept = Some(head);
        }
    }

    async fn forget(&mut self, engine: &Engine) -> Result<()> {
        if self.summaries.is_multiple_of(SUMMARIES_PER_ROUND) {
            // A walk through more counters than an hour lets it see goes on where it is.
            self.reached.get_or_insert_default();
            self.grants = Left::Something;
            self.plugins = Left::Something;
            engine.upkeep_of_keys().await?;
            engine.forget_ended().await?;
            engine.end_unused_connections().await?;
            engine.forget_clients().await?;
        }
        if self.grants == Left::Something {
            self.grants = engine.forget_grants().await?;
        }
        if self.plugins == Left::Something {
            self.plugins = engine.sweep_plugins().await?;
        }
        if let Some(reached) = self.reached.take() {
            self.reached = engine.forget_counters(reached).await?;
        }
        Ok(())
    }
}

impl Engine {
    /// Starts the upkeep, which ends with the engine or with [`Engine::wind_down`].
    pub fn start_upkeep(&self) {
        let background = self.background();
        self.spawn(async move {
            let mut rounds = Rounds::default();
            let mut pause = Duration::ZERO;
            while let Some(engine) = background.after(pause).await {
                rounds.turn(&engine).await;
                pause = SUMMARY_EVERY;
            }
        });
    }

    /// Removes `Idempotency-Key`s of yesterday; agent keys, sessions, requests for approval and deliveries that have
    /// been over for 30 days, and connections that have none of these keys any more; grants that were made for one token and have been over for 25 hours, at most 16,384; what is over
    /// in the tables of plugins, at most 64,000 rows of each; clients that nobody let in for a day, at most 16,384; and counters of rates, also of plugins' limits, none of whose calls counts any more. Of counters it looks through the
    /// first 16,384, and those of budgets stay.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget(&self) -> Result<()> {
        self.forget_ended().await?;
        self.end_unused_connections().await?;
        self.forget_clients().await?;
        self.forget_grants().await?;
        self.sweep_plugins().await?;
        self.forget_counters(Reached::new()).await?;
        Ok(())
    }

    /// Removes rows by their time. It moves the time of the log too, on which it depends which counters are over.
    async fn forget_ended(&self) -> Result<()> {
        let now = self.now();
        let [mails, mails_counted] = mail::forget(now.minus(MAILS_KEPT));
        let [codes, codes_of_lines, tokens, lines] =
            refresh_line::forget(now.minus(CODES_KNOWN), now.minus(DEAD_KEYS_KNOWN));
        let batch = Batch {
            writes: vec![
                idempotency::forget(now.minus(IDEMPOTENCY_KEYS_KNOWN)),
                pushed_request::forget(now),
                // A device that polls on is told that it is over, not that nobody knows it.
                device_request::forget(now.minus(PROOFS_KNOWN)),
                refresh_line::end_unredeemed(now.minus(PROOFS_KNOWN)),
                refresh_line::end_idle(now),
                codes,
                codes_of_lines,
                tokens,
                lines,
                agent::forget_keys(now.minus(DEAD_KEYS_KNOWN)),
                approval::forget(now.minus(ENDED_KNOWN)),
                session::forget(now.minus(ENDED_KNOWN)),
                session_handle::forget(),
                sign_in::forget(now),
                not_me::forget(now),
                former_address::forget(now),
                known_device::forget(now.minus(DEVICES_KNOWN)),
                guess::forget(now.minus(GUESSES_KNOWN), now),
                webhook::forget(now.minus(ENDED_KNOWN)),
                mails,
                mails_counted,
                proof::forget(now.minus(PROOFS_KNOWN)),
                // The clock may have been ahead, and then a token that has ended is one again.
                id_token::forget(now.minus(PROOFS_KNOWN)),
                promise::forget(now.minus(PROMISES_KNOWN)),
            ],
            ..Batch::default()
        };
        self.store().commit(batch).await?;
        Ok(())
    }

    /// Removes grants that were made for one token and have been over for long, with their handles. Nothing is written on
    /// record: that they are over is there since they were made.
    async fn forget_grants(&self) -> Result<Left> {
        let before = self.now().minus(TOKEN_GRANTS_KNOWN);
        for _ in 0..GRANT_STEPS_AT_ONCE {
            let over = self.store().list(token_grant::over(before)).await?;
            if over.is_empty() {
                return Ok(Left::Nothing);
            }
            let changed = |grant: &token_grant::OverGrant| -> [Effect; 2] {
                Changed::grant(grant.id, grant.receiver)
            };
            let batch = Batch {
                writes: token_grant::forget(&over, before).into(),
                effects: over.iter().flat_map(changed).collect(),
                ..Batch::default()
            };
            self.store().commit(batch).await?;
        }
        Ok(Left::Something)
    }

    /// Removes rows of plugins that are over. Nothing is written on record: when they would be over stood in them.
    async fn sweep_plugins(&self) -> Result<Left> {
        let now = self.now();
        let mut left = Left::Nothing;
        for sweep in self.plugins().sweeps() {
            for step in 1..=SWEEP_STEPS_AT_ONCE {
                let over = self.store().list(sweep.over(now)).await?.len();
                if over > 0 {
                    let batch = Batch {
                        writes: vec![sweep.remove(now)],
                        ..Batch::default()
                    };
                    self.store().commit(batch).await?;
                }
                if over < ROWS_PER_STEP {
                    break;
                }
                if step == SWEEP_STEPS_AT_ONCE {
                    left = Left::Something;
                }
            }
        }
        Ok(left)
    }

    /// Removes counters that limit nobody any more, after this one. Returns up to where it looked, if some are left.
    async fn forget_counters(&self, mut reached: Reached) -> Result<Option<Reached>> {
        for _ in 0..PAGES_AT_ONCE {
            let page = self.store().list(counter::page(&reached)).await?;
            let is_last = page.len() < counter::COUNTERS_PER_PAGE;
            if let Some(last) = page.last() {
                reached.clone_from(&last.key);
            }
            let writes: Vec<_> = page.into_iter().filter_map(counter::forget).collect();
            if !writes.is_empty() {
                let batch = Batch {
                    writes,
                    ..Batch::default()
                };
                self.store().commit(batch).await?;
            }
            if is_last {
                return Ok(None);
            }
        }
        Ok(Some(reached))
    }
}
