//! Somebody who is told of records: a server that keeps what it gets, checks the signatures itself, and answers as it is
//! told to.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::Notify;
use tokio::time::{Duration, timeout};

use crate::server::Server;

/// How long to wait for a message before the test fails.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// One message, as it came.
#[derive(Debug, Clone)]
pub struct Message {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signatures: String,
    /// The body as it came.
    pub raw: Vec<u8>,
    /// The body as JSON.
    pub body: Value,
}

#[derive(Default)]
struct Shared {
    messages: Mutex<Vec<Message>>,
    answer: Mutex<Answer>,
    came: Notify,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 204,
            headers: Vec::new(),
        }
    }
}

/// A receiver of webhooks on the loopback.
pub struct Receiver {
    shared: Arc<Shared>,
    server: Server,
}

impl Receiver {
    /// One that acknowledges everything.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let routes = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&shared));
        Self {
            server: Server::serving(routes).await,
            shared,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("{}/hook?from=kavach", self.server.url())
    }

    /// Answers from now on with this status and these headers.
    pub fn answers(&self, status: u16, headers: &[(&'static str, &str)]) {
        let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        let answer = Answer {
            status,
            headers: headers.iter().map(owned).collect(),
        };
        *self
            .shared
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Everything that came so far, in the order in which it came.
    pub fn messages(&self) -> Vec<Message> {
        let messages = &self.shared.messages;
        messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until so many messages have come, and gives them.
    pub async fn expect(&self, count: usize) -> Vec<Message> {
        let enough = async {
            loop {
                let came = self.shared.came.notified();
                let messages = self.messages();
                if messages.len() >= count {
                    return messages;
                }
                came.await;
            }
        };
        timeout(LONGEST_WAIT, enough)
            .await
            .unwrap_or_else(|_| panic!("{} of {count} messages came", self.messages().len()))
    }
}

impl Message {
    /// Whether one of its signatures is right under this secret, as Standard Webhooks checks it.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = secret
            .strip_prefix("whsec_")
            .expect("a secret of a webhook");
        let key = STANDARD.decode(key).expect("the secret is base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key will do");
        mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
        mac.update(&self.raw);
        let right = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.signatures
            .split(' ')
            .any(|signature| signature == right)
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, raw: Bytes) -> Response {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let message = Message {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp"),
        signatures: text("webhook-signature"),
        body: serde_json::from_slice(&raw).unwrap_or_default(),
        raw: raw.into(),
    };
    let messages = &shared.messages;
    messages
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(message);
    shared.came.notify_waiters();
    let answer = shared
        .answer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let status = StatusCode::from_u16(answer.status).expect("a test names a status");
    let mut response = status.into_response();
    for (name, value) in answer.headers {
        let value = value.parse().expect("a test names a header's value");
        response.headers_mut().insert(name, value);
    }
    response
}
