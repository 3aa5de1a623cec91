//! Records as they are committed, pushed to whoever listens.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use kavachos_core::revocation::Record;
use kavachos_core::time::Timestamp;

use super::reader::FeedReader;
use crate::directory::ALL_KILLS;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::StreamEnd;
use crate::seats::Seat;

/// After how long without a record a listener is told that it is still heard.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a listener may take for what it was given.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon a busy store is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedNews {
    /// New records, in their order, at least one.
    Records(Vec<Record>),
    /// Nothing happened for 15 seconds.
    Silence,
    /// There will be no more.
    End(StreamEnd),
}

/// Listens to the log from a record on.
pub struct RevocationStream {
    engine: Engine,
    reader: FeedReader,
    epoch: u64,
    /// The last record that was given.
    last: u64,
    /// When records were given that may not have been taken yet.
    given_at: Option<Timestamp>,
    _seat: Seat,
}

impl Engine {
    /// Begins to listen: to what comes after the record of this number.
    ///
    /// # Errors
    /// The caller may not read the feed, the log has no record of this number, or too many listen.
    pub async fn follow_revocations(
        &self,
        reader: &FeedReader,
        since: u64,
    ) -> Result<RevocationStream> {
        reader.check(self)?;
        let seat = self.feed().listening.take(reader.holder())?;
        let epoch = self.followed_from(since).await?.state.epoch;
        Ok(RevocationStream {
            engine: self.clone(),
            reader: reader.clone(),
            epoch,
            last: since,
            given_at: None,
            _seat: seat,
        })
    }
}

impl RevocationStream {
    /// What comes next. To call it says that everything before was taken.
    pub async fn hear(&mut self) -> FeedNews {
        let engine = self.engine.clone();
        let now = engine.now();
        let slow = |at: Timestamp| now.since(at) > PATIENCE;
        if self.given_at.take().is_some_and(slow) {
            return FeedNews::End(StreamEnd::TooSlow);
        }
        let mut silence = pin!(engine.sleep(SILENCE));
        loop {
            // Listening begins before the look: a kill between the two is heard.
            let kill = engine.directory().kills().listen(ALL_KILLS);
            match self.look().await {
                Ok(None) => {}
                Ok(Some(news)) => return news,
                Err(Error::Unauthenticated(_)) => {
                    return FeedNews::End(StreamEnd::Unauthenticated);
                }
                Err(Error::Busy) => engine.sleep(BUSY_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "a stream of revocations ends");
                    return FeedNews::End(StreamEnd::Unavailable);
                }
            }
            let Some(kill) = kill else {
                // As many wait as can: more than have a seat, so this is a defect, and costs only time.
                engine.sleep(BUSY_PAUSE).await;
                continue;
            };
            if let Either::Right(_) = select(pin!(kill), silence.as_mut()).await {
                return FeedNews::Silence;
            }
        }
    }

    /// What there is now; `None` when it is nothing.
    async fn look(&mut self) -> Result<Option<FeedNews>> {
        if self.engine.listeners().is_ending() {
            return Ok(Some(FeedNews::End(StreamEnd::Closing)));
        }
        self.reader.require_live(&self.engine).await?;
        let seen = self.engine.seen_after(self.last).await?;
        if seen.state.epoch != self.epoch || seen.state.head.rseq < self.last {
            // It is another log now: whoever comes back is told so.
            return Ok(Some(FeedNews::End(StreamEnd::Closing)));
        }
        let Some(last) = seen.records.last() else {
            return Ok(None);
        };
        self.last = last.rseq;
        self.given_at = Some(self.engine.now());
        Ok(Some(FeedNews::Records(seen.records)))
    }
}
