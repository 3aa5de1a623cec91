//! Decisions that were made here, told to the server for its record: in batches, never waited for. What finds no room
//! is counted and dropped: a record that is late must not stop a tool. A server that wants fewer says when the next may
//! come, and is heard: meanwhile decisions wait here, so many and no more.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::action::Action;
use kavachos_core::id::TokenId;
use kavachos_core::resource::Resource;
use kavachos_core::time::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use crate::issuer::{CallError, IssuerClient, Once};
use crate::stats::Counters;
use crate::system::random;

/// The most decisions that wait.
const QUEUE: usize = 10_000;
/// The most decisions of one request.
const BATCH: usize = 100;
/// How long a decision waits for others to go with it.
const GATHER: Duration = Duration::from_secs(1);
/// How long the server has to take a batch.
const SEND: Duration = Duration::from_secs(10);
/// How often a batch is sent again.
const ATTEMPTS: u32 = 5;
/// What names a batch, so that the server records it once however often it is sent.
const NAME_BYTES: usize = 16;
/// Before it is sent again for the first time; then twice as long each time.
const BACK_OFF: Duration = Duration::from_millis(500);
/// How often a batch waits because the server takes no more for now.
const MAX_TURNS: u32 = 10;
/// The longest of these waits: the time over which a server counts.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// A decision that was made here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) token_id: TokenId,
    #[serde(serialize_with = "action")]
    pub(crate) action: Action,
    #[serde(serialize_with = "resource")]
    pub(crate) resource: Resource,
    pub(crate) allowed: bool,
    pub(crate) code: &'static str,
    pub(crate) time: Timestamp,
    /// Whether the sender proved to hold the token's key.
    pub(crate) proven: bool,
}

fn action<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(action.as_str())
}

fn resource<S: Serializer>(resource: &Resource, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(resource.as_str())
}

/// Takes decisions to be reported.
pub(crate) struct Reports {
    queue: Sender<Report>,
    counters: Arc<Counters>,
}

impl Reports {
    /// Starts to report to an issuer. It goes on until what was taken is sent, also after this value is gone.
    pub(crate) fn start(client: IssuerClient, counters: Arc<Counters>) -> Self {
        let (queue, waiting) = channel(QUEUE);
        let carrier = Carrier {
            client,
            counters: Arc::clone(&counters),
        };
        tokio::spawn(carrier.run(waiting));
        Self { queue, counters }
    }

    /// Takes a decision, if there is room. Never waits.
    pub(crate) fn take(&self, report: Report) {
        if self.queue.try_send(report).is_err() {
            self.counters.reports_dropped.count();
        }
    }
}

struct Carrier {
    client: IssuerClient,
    counters: Arc<Counters>,
}

#[derive(Serialize)]
struct Batch<'a> {
    decisions: &'a [Report],
}

/// What became of a batch. The server may say more one day.
#[derive(Deserialize)]
struct Taken {
    recorded: usize,
    refused: Vec<serde::de::IgnoredAny>,
}

impl Carrier {
    async fn run(self, mut waiting: Receiver<Report>) {
        let mut batch = Vec::with_capacity(BATCH);
        while gather(&mut waiting, &mut batch).await {
            self.send(&batch).await;
            batch.clear();
        }
    }

    async fn send(&self, decisions: &[Report]) {
        let batch = Batch { decisions };
        let name = random::<NAME_BYTES>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let mut pauses = Pauses::default();
        while let Some(name) = name.as_deref() {
            let said = Once { said: &batch, name };
            let sent = self
                .client
                .post_once::<Taken>("/api/v1/reports", said, SEND);
            let error = match sent.await {
                Ok(taken) => {
                    self.counters.reported.add(taken.recorded);
                    return self.counters.reports_refused.add(taken.refused.len());
                }
                // An answer that is not understood is an answer.
                Err(CallError::Unreadable(_)) => {
                    return self.counters.reported.add(decisions.len());
                }
                Err(error) => error,
            };
            let Some(pause) = pauses.after(&error) else {
                break;
            };
            sleep(pause).await;
        }
        self.counters.reports_dropped.add(decisions.len());
    }
}

/// How often one batch was sent, and to what end.
#[derive(Default)]
struct Pauses {
    failures: u32,
    turns: u32,
}

impl Pauses {
    /// How long to wait before it is sent again; `None` when it is given up.
    fn after(&mut self, error: &CallError) -> Option<Duration> {
        match error {
            CallError::Status {
                status: 429,
                retry_after,
                ..
            } => {
                self.turns = self.turns.saturating_add(1);
                let told = retry_after.unwrap_or(BACK_OFF);
                (self.turns <= MAX_TURNS).then(|| told.clamp(BACK_OFF, LONGEST_TURN))
            }
            CallError::Status {
                status: 400..500, ..
            } => None,
            CallError::Status { .. } | CallError::Unreachable(_) | CallError::Unreadable(_) => {
                let pause = BACK_OFF * 2_u32.pow(self.failures);
                self.failures = self.failures.saturating_add(1);
                (self.failures < ATTEMPTS).then_some(pause)
            }
        }
    }
}

/// Waits for the first decision, then a while for others; `false` when there will be none any more.
async fn gather(waiting: &mut Receiver<Report>, batch: &mut Vec<Report>) -> bool {
    if waiting.recv_many(batch, BATCH).await == 0 {
        return false;
    }
    let more = async {
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            if waiting.recv_many(batch, room).await == 0 {
                break;
            }
        }
    };
    // What has come by then goes; nothing is lost when the wait is given up.
    let _ = timeout(GATHER, more).await;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> CallError {
        CallError::Status {
            status,
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_batch_comes_again_when_the_server_says_and_not_for_ever() {
        let mut pauses = Pauses::default();
        let told = Some(Duration::from_secs(7));
        for _ in 0..MAX_TURNS {
            assert_eq!(pauses.after(&status(429, Some(7))), told);
        }
        assert_eq!(pauses.after(&status(429, Some(7))), None);
        // Neither at once nor in a day.
        let first = |error| Pauses::default().after(&error);
        assert_eq!(first(status(429, Some(0))), Some(BACK_OFF));
        assert_eq!(first(status(429, Some(86_400))), Some(LONGEST_TURN));
        assert_eq!(first(status(429, None)), Some(BACK_OFF));
        // The twin: what is refused for good is not sent again.
        assert_eq!(first(status(400, Some(7))), None);
    }

    #[test]
    fn a_server_that_fails_is_asked_less_and_less_and_turns_do_not_count_for_it() {
        let mut pauses = Pauses::default();
        let mut waits = Vec::new();
        while let Some(wait) = pauses.after(&status(503, Some(7))) {
            assert!(pauses.after(&status(429, None)).is_some());
            waits.push(wait.as_millis());
        }
        assert_eq!(waits, [500, 1_000, 2_000, 4_000]);
    }
}
