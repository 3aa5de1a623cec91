//! What is asked of the issuer, and what of its answers is believed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response};
use kavachos_core::json::{self, Object};
use kavachos_core::secret::Secret;
use kavachos_core::token::{Issuer, KeySet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::{Bounds, Chunks, Http, exchange};

/// For a small document, or a decision.
const SMALL: Bounds = Bounds {
    time: Duration::from_secs(5),
    bytes: 64 * 1024,
};
/// For the head of an answer that goes on for as long as both sides live.
const STREAM_STARTS: Duration = Duration::from_secs(10);
/// Names something that is done once, however often it is asked for.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The most that is repeated of what a server says about its refusal.
const SHOWN: usize = 200;

/// Why there is no answer, or none of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Nothing came, or not all of it in time.
    Unreachable(String),
    /// Another status than 200.
    Status {
        status: u16,
        message: String,
        retry_after: Option<Duration>,
    },
    /// Something came that is not what was asked for.
    Unreadable(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "it cannot be reached: {reason}"),
            Self::Status {
                status, message, ..
            } => write!(f, "it answered {status}: {message}"),
            Self::Unreadable(reason) => write!(f, "its answer cannot be read: {reason}"),
        }
    }
}

/// Something that is to be done once, and what names it.
#[derive(Clone, Copy)]
pub(crate) struct Once<'a, T> {
    pub(crate) said: &'a T,
    pub(crate) name: &'a str,
}

/// Asks one issuer, as one tool server.
#[derive(Clone)]
pub(crate) struct IssuerClient {
    http: Arc<dyn Http>,
    base: String,
    key: Option<HeaderValue>,
}

impl IssuerClient {
    pub(crate) fn new(http: Arc<dyn Http>, issuer: &Issuer, key: Option<&Secret>) -> Self {
        let key = key.and_then(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            http,
            base: issuer.as_str().trim_end_matches('/').to_owned(),
            key,
        }
    }

    /// Whether the issuer is told who asks.
    pub(crate) fn is_known(&self) -> bool {
        self.key.is_some()
    }

    /// The URL of something that the issuer serves.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A public document.
    pub(crate) async fn document(&self, url: &str) -> Result<Vec<u8>, CallError> {
        let request = build(Method::GET, url, Bytes::new())?;
        self.answer(request, SMALL).await
    }

    /// A public set of keys.
    pub(crate) async fn keys(&self, url: &str) -> Result<KeySet, CallError> {
        let document = self.document(url).await?;
        KeySet::from_jwks(&document).map_err(|error| CallError::Unreadable(error.to_string()))
    }

    /// Asks, as the tool server, for something that is answered with `{"data": ...}`.
    pub(crate) async fn get<A: DeserializeOwned>(
        &self,
        path: &str,
        bounds: Bounds,
    ) -> Result<A, CallError> {
        let request = self.keyed(build(Method::GET, &self.url(path), Bytes::new())?);
        data(&self.answer(request, bounds).await?)
    }

    /// Says something, as the tool server, that is answered with `{"data": ...}`.
    pub(crate) async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        said: &impl Serialize,
        time: Duration,
    ) -> Result<A, CallError> {
        let request = self.saying(path, said)?;
        data(&self.answer(request, Bounds { time, ..SMALL }).await?)
    }

    /// As [`IssuerClient::post`], of what is to be done once, however often it is said.
    pub(crate) async fn post_once<A: DeserializeOwned>(
        &self,
        path: &str,
        once: Once<'_, impl Serialize>,
        time: Duration,
    ) -> Result<A, CallError> {
        let mut request = self.saying(path, once.said)?;
        let unsayable = |_| CallError::Unreadable("the name of the batch is none".to_owned());
        let name = HeaderValue::from_str(once.name).map_err(unsayable)?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, name);
        data(&self.answer(request, Bounds { time, ..SMALL }).await?)
    }

    fn saying(&self, path: &str, said: &impl Serialize) -> Result<Request<Bytes>, CallError> {
        let unsayable = |error: serde_json::Error| CallError::Unreadable(error.to_string());
        let body = Bytes::from(serde_json::to_vec(said).map_err(unsayable)?);
        let mut request = self.keyed(build(Method::POST, &self.url(path), body)?);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        Ok(request)
    }

    /// Opens a stream of events.
    pub(crate) async fn stream(&self, path: &str) -> Result<Chunks, CallError> {
        let mut request = self.keyed(build(Method::GET, &self.url(path), Bytes::new())?);
        let events = HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(ACCEPT, events);
        let opened = tokio::time::timeout(STREAM_STARTS, self.http.send(request)).await;
        let late = |_| CallError::Unreachable("there was no answer in time".to_owned());
        let response = opened.map_err(late)?.map_err(unreachable)?;
        match response.status().as_u16() {
            200 => Ok(response.into_body()),
            _ => Err(refused(&response.map(|_| Vec::new()))),
        }
    }

    fn keyed(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        if let Some(key) = &self.key {
            request.headers_mut().insert(AUTHORIZATION, key.clone());
        }
        request
    }

    async fn answer(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Vec<u8>, CallError> {
        let response = exchange(self.http.as_ref(), request, bounds).await;
        let response = response.map_err(unreachable)?;
        match response.status().as_u16() {
            200 | 202 => Ok(response.into_body()),
            _ => Err(refused(&response)),
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is handed to `map_err`, which gives the value away"
)]
fn unreachable(error: std::io::Error) -> CallError {
    CallError::Unreachable(error.to_string())
}

fn build(method: Method, url: &str, body: Bytes) -> Result<Request<Bytes>, CallError> {
    let request = Request::builder().method(method).uri(url).body(body);
    request.map_err(|error| CallError::Unreachable(error.to_string()))
}

/// The value of `data`. A reader that is derived refuses members that stand twice.
fn data<A: DeserializeOwned>(body: &[u8]) -> Result<A, CallError> {
    #[derive(Deserialize)]
    struct Answer<A> {
        data: A,
    }
    let read: Result<Object<Answer<A>>, _> = serde_json::from_slice(body);
    read.map(|Object(answer)| answer.data)
        .map_err(|error| CallError::Unreadable(error.to_string()))
}

fn refused(response: &Response<Vec<u8>>) -> CallError {
    let error = json::parse(response.body()).unwrap_or_default();
    let message = (error.pointer("/error/message").and_then(Value::as_str)).unwrap_or("no reason");
    let shown = message.chars().take(SHOWN).flat_map(char::escape_debug);
    CallError::Status {
        status: response.status().as_u16(),
        message: shown.collect(),
        retry_after: retry_after(response.headers()),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
