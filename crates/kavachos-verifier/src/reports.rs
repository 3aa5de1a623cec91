//! Decisions that were made here, told to the server for its record: in batches, never waited for. What finds no room
//! is counted and dropped: a record that is late must not stop a tool. A server that wants fewer says when the next may
//! come, and is heard: meanwhile decisions wait here, so many and no more. A refusal that comes again is told once a
//! minute, with how often it came: whoever repeats what is refused fills no record, and takes no room of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::fast::RandomState;
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
/// How often refusals are told that came again.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// The most refusals that are told apart: of one token, action, resource and reason. Further ones are dropped until then.
const MAX_KINDS: usize = 4_096;
/// How often a batch waits because the server takes no more for now.
const MAX_TURNS: u32 = 10;
/// The longest of these waits: the time over which a server counts.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// A decision that was made here.
#[derive(Debug, Clone, Serialize)]
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
    /// How many of its kind it stands for.
    #[serde(skip_serializing_if = "is_one")]
    pub(crate) count: u32,
}

/// Refusals that are told together.
type Kind = (TokenId, Action, Box<str>, &'static str, bool);

impl Report {
    fn kind(&self) -> Kind {
        let resource = self.resource.as_str().into();
        let (token, action) = (self.token_id, self.action.clone());
        (token, action, resource, self.code, self.proven)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_one(count: &u32) -> bool {
    *count == 1
}

fn action<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(action.as_str())
}

fn resource<S: Serializer>(resource: &Resource, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(resource.as_str())
}

/// Takes decisions to be reported.
pub(crate) struct Reports(Arc<Taking>);

struct Taking {
    queue: Sender<Report>,
    counters: Arc<Counters>,
    /// The refusals of this minute; what came again since the last was told is in it. INVARIANT: at most [`MAX_KINDS`].
    refused: Mutex<HashMap<Kind, Option<Report>, RandomState>>,
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
        let taking = Arc::new(Taking {
            queue,
            counters,
            refused: Mutex::default(),
        });
        let told = Arc::downgrade(&taking);
        tokio::spawn(async move {
            loop {
                sleep(TOLD_EVERY).await;
                match told.upgrade() {
                    Some(taking) => taking.tell_again(),
                    None => return,
                }
            }
        });
        Self(taking)
    }

    /// Takes a decision, if there is room. Never waits.
    pub(crate) fn take(&self, report: Report) {
        if report.allowed || self.0.is_first(&report) {
            self.0.send(report);
        }
    }
}

impl Taking {
    fn send(&self, report: Report) {
        if self.queue.try_send(report).is_err() {
            self.counters.reports_dropped.count();
        }
    }

    /// Whether a refusal is told at once. One that is not is counted.
    fn is_first(&self, report: &Report) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = refused.len() >= MAX_KINDS;
        match refused.get_mut(&report.kind()) {
            Some(again) => {
                let before = again.as_ref().map_or(0, |again| again.count);
                let count = before.saturating_add(1);
                *again = Some(Report {
                    count,
                    ..report.clone()
                });
                false
            }
            None if is_full => {
                self.counters.reports_dropped.count();
                false
            }
            None => {
                refused.insert(report.kind(), None);
                true
            }
        }
    }

    /// Tells what came again, and forgets what did not.
    fn tell_again(&self) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, again| {
            let again = again.take();
            let came = again.is_some();
            again.into_iter().for_each(|report| self.send(report));
            came
        });
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.tell_again();
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

    fn refusal(code: &'static str, resource: &str) -> Report {
        Report {
            token_id: TokenId::from_bits(1),
            action: "call".parse().unwrap(),
            resource: resource.parse().unwrap(),
            allowed: code == "allowed",
            code,
            time: "2026-11-21T10:00:00Z".parse().unwrap(),
            proven: false,
            count: 1,
        }
    }

    fn taking() -> (Reports, Receiver<Report>, Arc<Counters>) {
        let (queue, waiting) = channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let taking = Taking {
            queue,
            counters: Arc::clone(&counters),
            refused: Mutex::default(),
        };
        (Reports(Arc::new(taking)), waiting, counters)
    }

    fn told(waiting: &mut Receiver<Report>) -> Vec<(&'static str, u32)> {
        let next = || waiting.try_recv().ok();
        std::iter::from_fn(next)
            .map(|one| (one.code, one.count))
            .collect()
    }

    #[test]
    fn a_refusal_that_comes_again_is_told_once_a_minute_with_how_often_it_came() {
        let (reports, mut waiting, _) = taking();
        let take =
            |code, times: usize| (0..times).for_each(|_| reports.take(refusal(code, "mcp:a")));
        take("insufficient_scope", 100);
        // The twins: another reason, another resource, and what was allowed.
        take("rate_limited", 1);
        reports.take(refusal("insufficient_scope", "mcp:b"));
        take("allowed", 2);
        let scope = "insufficient_scope";
        let first = [
            (scope, 1),
            ("rate_limited", 1),
            (scope, 1),
            ("allowed", 1),
            ("allowed", 1),
        ];
        assert_eq!(told(&mut waiting), first);
        reports.0.tell_again();
        assert_eq!(told(&mut waiting), [(scope, 99)]);
        // It goes on: in the next minute it is still one.
        take(scope, 7);
        assert_eq!(told(&mut waiting), []);
        reports.0.tell_again();
        assert_eq!(told(&mut waiting), [(scope, 7)]);
        // It rests for a minute, and is told at once when it comes anew.
        reports.0.tell_again();
        take(scope, 3);
        assert_eq!(told(&mut waiting), [(scope, 1)]);
        drop(reports);
        assert_eq!(told(&mut waiting), [(scope, 2)], "nothing is left untold");
    }

    #[test]
    fn made_up_names_take_so_much_memory_and_no_room_of_what_was_allowed() {
        let (reports, mut waiting, counters) = taking();
        for name in 0..MAX_KINDS + 50 {
            reports.take(refusal("insufficient_scope", &format!("mcp:{name}")));
        }
        reports.take(refusal("allowed", "mcp:a"));
        assert_eq!(told(&mut waiting).len(), MAX_KINDS + 1);
        assert_eq!(counters.read().reports_dropped, 50);
        reports.0.tell_again();
        reports.take(refusal("insufficient_scope", "mcp:other"));
        assert_eq!(told(&mut waiting).len(), 1);
    }

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
