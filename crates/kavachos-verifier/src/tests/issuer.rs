//! An issuer in memory: it publishes keys, keeps a log of revocations, decides, and takes reports, as the server does.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use kavachos_core::json::Object;
use kavachos_core::revocation::{
    FeedHead, Lease, LiveSet, LogHead, Mark, Nonce, PollAnswer, PollRequest, Reading, Record,
    SnapshotAnswer,
};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, KeySet, SigningKey};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::http::{Chunks, Http};
use crate::system::Clock;

pub(super) const ISSUER: &str = "https://auth.example.com";
pub(super) const TOOLS: &str = "https://tools.example.com/mcp";
/// Where the root's document is.
pub(super) const FEED_DOCUMENT: &str = "/.well-known/kavach-feed-keys.jwt";
/// Below which requests for approval are.
pub(super) const APPROVALS: &str = "/api/v1/approvals/";
/// 2026-11-21T10:00:00Z.
pub(super) const NOW: i64 = 1_795_255_200;

pub(super) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// A key by its seed: 1 and 2 sign tokens, 3 and 4 are agents', 7 signs heads of the log, 9 is a stranger's, 20 is the
/// root's.
pub(super) fn key(byte: u8) -> SigningKey {
    let algorithm = match byte {
        2 | 4 => Algorithm::Es256,
        _ => Algorithm::Ed25519,
    };
    SigningKey::from_seed(algorithm, &[byte; 32]).unwrap()
}

pub(super) fn key_set(bytes: &[u8]) -> KeySet {
    KeySet::new(bytes.iter().map(|byte| key(*byte).public().clone())).unwrap()
}

/// A clock that is moved by hand.
pub(super) struct FixedClock(Mutex<Reading>);

impl FixedClock {
    pub(super) fn at(wall: Timestamp) -> Arc<Self> {
        let boot = Duration::from_secs(100_000);
        Arc::new(Self(Mutex::new(Reading { boot, wall })))
    }

    pub(super) fn advance(&self, by: Duration) {
        let mut reading = self.0.lock().unwrap();
        reading.boot += by;
        reading.wall = reading.wall.plus(by);
    }

    /// Moves the clock since boot alone.
    pub(super) fn advance_boot(&self, by: Duration) {
        self.0.lock().unwrap().boot += by;
    }

    /// Sets the wall clock to a later time.
    pub(super) fn set_ahead(&self, by: Duration) {
        let mut reading = self.0.lock().unwrap();
        reading.wall = reading.wall.plus(by);
    }

    pub(super) fn set_back(&self, by: Duration) {
        let mut reading = self.0.lock().unwrap();
        reading.wall = reading.wall.minus(by);
    }
}

impl Clock for FixedClock {
    fn read(&self) -> Reading {
        *self.0.lock().unwrap()
    }
}

/// What the issuer has, and what it was asked.
pub(super) struct State {
    pub(super) issuer: String,
    /// Whom it makes heads out to.
    pub(super) follower: String,
    pub(super) published: Vec<u8>,
    pub(super) feed_keys: Vec<u8>,
    /// What a root says of them, if there is one.
    pub(super) document: Option<String>,
    pub(super) signs_heads: u8,
    pub(super) epoch: u64,
    pub(super) kills: Vec<Mark>,
    pub(super) time: Timestamp,
    pub(super) lease_max: u64,
    /// Where nothing comes back from.
    pub(super) down: Option<&'static str>,
    /// What is refused, and with which status.
    pub(super) refuses: Option<(&'static str, u16)>,
    /// What is answered to questions, in order; each with its status.
    pub(super) decisions: VecDeque<(u16, Value)>,
    /// What is answered to those who wait for an approval, in order; while nothing is left they wait.
    pub(super) approvals: VecDeque<(u16, Value)>,
    /// Every request: its path and its body.
    pub(super) asked: Vec<(String, Value)>,
    pub(super) authorization: Vec<Option<String>>,
    /// The names of what is to be done once, in the order in which they came.
    pub(super) names: Vec<String>,
    /// What is answered to reports: 200 unless said.
    pub(super) reports: VecDeque<(u16, Value)>,
    listeners: Vec<UnboundedSender<String>>,
}

/// The issuer; clones are the same one.
#[derive(Clone)]
pub(super) struct FakeIssuer(Arc<Mutex<State>>);

impl FakeIssuer {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            issuer: ISSUER.to_owned(),
            follower: TOOLS.to_owned(),
            published: vec![1, 2],
            feed_keys: vec![7],
            document: None,
            signs_heads: 7,
            epoch: 1,
            kills: Vec::new(),
            time: seconds(NOW - 60),
            lease_max: 60,
            down: None,
            refuses: None,
            decisions: VecDeque::new(),
            approvals: VecDeque::new(),
            asked: Vec::new(),
            authorization: Vec::new(),
            names: Vec::new(),
            reports: VecDeque::new(),
            listeners: Vec::new(),
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// How often something was asked for.
    pub(super) fn count(&self, path: &str) -> usize {
        let state = self.state();
        (state.asked.iter())
            .filter(|(asked, _)| asked.starts_with(path))
            .count()
    }

    /// What is answered to whoever waits for an approval, once it is.
    async fn approval(&self) -> io::Result<Response<Chunks>> {
        loop {
            let next = self.state().approvals.pop_front();
            if let Some((status, answer)) = next {
                let body: Chunks = stream::iter([Ok(answer.to_string().into())]).boxed();
                return Ok(Response::builder().status(status).body(body).unwrap());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Kills, without telling anybody.
    pub(super) fn kill(&self, kill: Mark) -> Record {
        let mut state = self.state();
        state.kills.push(kill);
        let rseq = u64::try_from(state.kills.len()).unwrap();
        Record { rseq, kill }
    }

    /// Says something to all who listen.
    pub(super) fn push(&self, text: &str) {
        let listeners = &mut self.state().listeners;
        listeners.retain(|listener| listener.send(text.to_owned()).is_ok());
    }

    pub(super) fn listeners(&self) -> usize {
        let listeners = &mut self.state().listeners;
        listeners.retain(|listener| !listener.is_closed());
        listeners.len()
    }

    /// Ends all streams.
    pub(super) fn hang_up(&self) {
        self.state().listeners.clear();
    }
}

impl State {
    fn head(&self) -> LogHead {
        (self.kills.iter()).fold(LogHead::EMPTY, |head, kill| head.append(*kill))
    }

    fn signed(&self, nonce: Nonce, set: Option<[u8; 32]>) -> String {
        FeedHead {
            issuer: self.issuer.parse().unwrap(),
            epoch: self.epoch,
            head: self.head(),
            time: self.time,
            lease_max: Lease::from_seconds(self.lease_max).unwrap(),
            nonce,
            follower: self.follower.parse().unwrap(),
            set,
        }
        .sign(&key(self.signs_heads))
    }

    fn poll(&self, question: &PollRequest) -> PollAnswer {
        let known = usize::try_from(question.rseq).unwrap();
        let records = (1..).zip(&self.kills).skip(known);
        PollAnswer {
            head: self.signed(question.nonce.clone(), None),
            records: records
                .map(|(rseq, kill)| Record { rseq, kill: *kill })
                .collect(),
            more: false,
            snapshot_needed: false,
        }
    }

    fn snapshot(&self, nonce: &str) -> SnapshotAnswer {
        let set = LiveSet::from_snapshot(self.epoch, self.head(), self.kills.iter().copied());
        SnapshotAnswer {
            head: self.signed(nonce.parse().unwrap(), Some(set.digest())),
            records: set.marks().collect(),
        }
    }

    fn answer(&mut self, path: &str, query: &str, body: &[u8]) -> (u16, Value) {
        let data = |value: Value| (200, json!({ "data": value }));
        if let Some((refused, status)) = self.refuses
            && path.starts_with(refused)
        {
            let error = json!({"error": {"code": "refused", "message": "not for you"}});
            return (status, error);
        }
        match path {
            "/.well-known/oauth-authorization-server" => {
                let keys = format!("{}/.well-known/jwks.json", self.issuer);
                (200, json!({"issuer": self.issuer, "jwks_uri": keys}))
            }
            "/.well-known/jwks.json" => (200, key_set(&self.published).to_jwks()),
            "/.well-known/kavach-feed-keys.json" => (200, key_set(&self.feed_keys).to_jwks()),
            "/api/v1/revocations/head" => {
                let Object(question) = serde_json::from_slice(body).unwrap();
                data(serde_json::to_value(self.poll(&question)).unwrap())
            }
            "/api/v1/revocations/snapshot" => {
                let nonce = query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("nonce="))
                    .unwrap();
                data(serde_json::to_value(self.snapshot(nonce)).unwrap())
            }
            "/api/v1/authorize" => self.decisions.pop_front().unwrap(),
            "/api/v1/reports" => {
                let taken =
                    json!({"recorded": 1, "refused": [{"index": 1, "code": "unknown_token"}]});
                self.reports.pop_front().unwrap_or_else(|| data(taken))
            }
            _ => (
                404,
                json!({"error": {"code": "no_such_route", "message": "no"}}),
            ),
        }
    }
}

fn listen(listener: UnboundedReceiver<String>) -> Chunks {
    Box::pin(stream::unfold(listener, |mut listener| async {
        let text = listener.recv().await?;
        Some((Ok(Bytes::from(text)), listener))
    }))
}

impl Http for FakeIssuer {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, io::Result<Response<Chunks>>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let mut state = self.state();
        let said = serde_json::from_slice(&body).unwrap_or_default();
        state.asked.push((path.clone(), said));
        let key = parts.headers.get("authorization");
        let key = key.map(|key| key.to_str().unwrap().to_owned());
        state.authorization.push(key);
        let name = parts.headers.get("idempotency-key");
        (state.names).extend(name.map(|name| name.to_str().unwrap().to_owned()));
        if state.down.is_some_and(|down| path.starts_with(down)) {
            let error = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
            return Box::pin(async { Err(error) });
        }
        let (status, body) = if path.starts_with(APPROVALS) {
            // Whoever does not say how long is told at once, which is no wait.
            assert_eq!(parts.uri.query(), Some("wait=20"));
            drop(state);
            return Box::pin(self.approval());
        } else if path == "/api/v1/revocations/stream" {
            let (sender, receiver) = unbounded_channel();
            state.listeners.push(sender);
            (200, listen(receiver))
        } else if let (FEED_DOCUMENT, Some(document)) = (path.as_str(), &state.document) {
            let body = Bytes::from(document.clone());
            (200, stream::iter([Ok(body)]).boxed() as Chunks)
        } else {
            let query = parts.uri.query().unwrap_or_default();
            let (status, answer) = state.answer(&path, query, &body);
            let body = Bytes::from(answer.to_string());
            (status, stream::iter([Ok(body)]).boxed() as Chunks)
        };
        let response = Response::builder().status(status).body(body).unwrap();
        Box::pin(async { Ok(response) })
    }
}
