//! What the engine does by itself, for as long as the process lives: summaries of refusals, and forgetting.

use std::time::Duration;

use kavachos_store::{Batch, agent, approval, idempotency, session, webhook};

use crate::authenticate::DEAD_KEYS_KNOWN;
use crate::engine::Engine;
use crate::error::Result;

/// How often counted refusals are written.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);
/// How many summaries lie between two rounds of forgetting: an hour.
const SUMMARIES_PER_ROUND: u32 = 360;
/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEYS_KNOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request for approval or a session can be looked at after it is over, and a delivery that was given up be
/// tried again.
const ENDED_KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Engine {
    /// Starts the upkeep, which ends with the engine or with [`Engine::wind_down`].
    pub fn start_upkeep(&self) {
        let background = self.background();
        self.spawn(async move {
            let mut round: u32 = 0;
            let mut pause = Duration::ZERO;
            while let Some(engine) = background.after(pause).await {
                if round > 0 {
                    engine.flush_refusals().await;
                }
                if round.is_multiple_of(SUMMARIES_PER_ROUND)
                    && let Err(error) = engine.forget().await
                {
                    tracing::warn!(%error, "what is no longer needed could not be removed");
                }
                round = round.wrapping_add(1);
                pause = SUMMARY_EVERY;
            }
        });
    }

    /// Removes `Idempotency-Key`s of yesterday, and agent keys, sessions, requests for approval and deliveries that have
    /// been over for 30 days.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget(&self) -> Result<()> {
        let now = self.now();
        let batch = Batch {
            writes: vec![
                idempotency::forget(now.minus(IDEMPOTENCY_KEYS_KNOWN)),
                agent::forget_keys(now.minus(DEAD_KEYS_KNOWN)),
                approval::forget(now.minus(ENDED_KNOWN)),
                session::forget(now.minus(ENDED_KNOWN)),
                webhook::forget(now.minus(ENDED_KNOWN)),
            ],
            ..Batch::default()
        };
        self.store().commit(batch).await?;
        Ok(())
    }
}
