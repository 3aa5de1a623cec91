//! What a caller is told that is refused: a stable code, a status, a sentence, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use kavachos_core::decide;
use kavachos_core::token::{Code, Failure};
use serde_json::{Map, Value, json};

use crate::challenge::Needed;

/// Where a nonce is given out (RFC 9449, section 8.1).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// There is no token.
    Unauthenticated,
    /// The headers with the token, or the call, cannot be read.
    MalformedRequest,
    /// The body is longer than a proof of it is checked for.
    TooLarge,
    /// The request is for another host, or comes from a page of another.
    Forbidden,
    /// The token, its proof, or its authority.
    Token(Code),
}

impl Cause {
    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::MalformedRequest => "malformed_request",
            Self::TooLarge => "too_large",
            Self::Forbidden => "forbidden",
            Self::Token(code) => code.as_str(),
        }
    }

    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::MalformedRequest => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Token(code) => match StatusCode::from_u16(code.status()) {
                Ok(status) => status,
                Err(_) => StatusCode::UNAUTHORIZED,
            },
        }
    }
}

/// A refusal, complete with the headers of its answer.
///
/// A handler gives it back as it is: it becomes an answer with `?` where the handler's error is an
/// [`http::Response`], as in axum and hyper.
#[derive(Clone)]
pub struct Rejection(Box<Refused>);

#[derive(Debug, Clone)]
struct Refused {
    cause: Cause,
    message: Cow<'static, str>,
    challenge: Option<HeaderValue>,
    nonce: Option<HeaderValue>,
    retry_after: Option<Duration>,
    decision: Option<decide::Code>,
    scope: Option<String>,
    approval: Option<String>,
    approval_page: Option<String>,
}

impl Rejection {
    pub(crate) fn new(cause: Cause, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Refused {
            cause,
            message: message.into(),
            challenge: None,
            nonce: None,
            retry_after: None,
            decision: None,
            scope: None,
            approval: None,
            approval_page: None,
        }))
    }

    /// The stable code: one of [`Code`]'s, or one of the few of HTTP itself.
    pub fn code(&self) -> &'static str {
        self.0.cause.as_str()
    }

    /// Why, to be compared.
    pub fn cause(&self) -> Cause {
        self.0.cause
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.cause.status()
    }

    /// What was wrong, and what to do. Repeats nothing secret.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How to ask better: the value of `WWW-Authenticate` (RFC 9110, section 11.6.1; RFC 9728, section 5.1).
    pub fn challenge(&self) -> Option<&str> {
        self.0
            .challenge
            .as_ref()
            .and_then(|value| value.to_str().ok())
    }

    /// The nonce that a proof must repeat, where it was refused for want of it: the value of `DPoP-Nonce` (RFC 9449,
    /// section 9).
    pub fn nonce(&self) -> Option<&str> {
        let nonce = self.0.nonce.as_ref()?;
        nonce.to_str().ok()
    }

    /// When to try again, where that helps.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The code of the server's decision, where it was asked.
    pub fn decision(&self) -> Option<decide::Code> {
        self.0.decision
    }

    /// The request for approval that a human must answer first.
    pub fn approval(&self) -> Option<&str> {
        self.0.approval.as_deref()
    }

    /// The page where the human answers it, while nobody has.
    pub fn approval_page(&self) -> Option<&str> {
        self.0.approval_page.as_deref()
    }

    /// The scopes that a token for this call has, where it was refused for want of them: what this one has too, with one
    /// blank between each.
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// The answer: an error in JSON, never stored, with all headers.
    pub fn to_response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::from(self.body().to_string())));
        *response.status_mut() = self.status();
        *response.headers_mut() = self.headers();
        response
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = &self.0.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if let Some(nonce) = &self.0.nonce {
            headers.insert(DPOP_NONCE, nonce.clone());
        }
        if let Some(after) = self.0.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        headers
    }

    fn body(&self) -> Value {
        let mut error = self.members();
        error.insert("message".to_owned(), self.message().into());
        json!({ "error": error })
    }

    /// All that is to be told, but the sentence.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let members = [
            ("code", Some(self.code())),
            ("detail", self.0.decision.map(decide::Code::as_str)),
            ("scope", self.scope()),
            ("approvalId", self.approval()),
            ("approvalPage", self.approval_page()),
        ];
        let told = members.into_iter();
        told.filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect()
    }

    pub(crate) fn challenged(mut self, challenge: Option<HeaderValue>) -> Self {
        self.0.challenge = challenge;
        self
    }

    pub(crate) fn with_nonce(mut self, nonce: &str) -> Self {
        self.0.nonce = HeaderValue::from_str(nonce).ok();
        self
    }

    pub(crate) fn retried_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    pub(crate) fn decided(mut self, decision: decide::Code, approval: Option<String>) -> Self {
        self.0.decision = Some(decision);
        self.0.approval = approval;
        self
    }

    pub(crate) fn answered_at(mut self, page: Option<String>) -> Self {
        self.0.approval_page = page;
        self
    }

    pub(crate) fn needing(mut self, needed: Option<Needed>) -> Self {
        if let Some(needed) = needed {
            self.0.scope = Some(needed.scope);
            self.0.challenge = needed.challenge;
        }
        self
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        let message = failure.message().to_owned();
        Self::new(Cause::Token(failure.code), message)
    }
}

impl<B: From<Bytes>> From<Rejection> for Response<B> {
    fn from(rejection: Rejection) -> Self {
        rejection.to_response()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message())
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Rejection {}
