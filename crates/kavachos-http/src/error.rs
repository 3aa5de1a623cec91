//! The one place where errors become HTTP.

use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use kavachos_core::id::RequestId;
use kavachos_core::invalid::Invalid;
use kavachos_core::secret::redacted;
use kavachos_core::unseen::is_unseen;
use kavachos_engine::Error;
use kavachos_oauth::{Code, Refusal as OAuthRefusal};
use serde::Serialize;

/// The most characters of a message or a field that are shown: both may quote what the client sent.
const MAX_SHOWN: usize = 400;
/// How long a client waits before it tries again after a 503.
const BUSY_RETRY_SECONDS: u64 = 1;

/// The nonce that the next proof of a key must repeat (RFC 9449, section 8).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// A request that was not answered with data.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// What a use case said.
    Engine(Error),
    /// What an endpoint of OAuth said.
    OAuth(OAuthRefusal),
    /// The body is larger than allowed.
    TooLarge,
    /// The file is larger than so many bytes.
    FileTooLarge(u64),
    /// The request did not come to its end in time.
    TooSlow,
    /// There is no such route.
    NoSuchRoute,
    /// The route knows other methods.
    MethodNotAllowed,
}

macro_rules! refusals {
    ($($name:ident = $status:literal $code:literal, $text:literal;)*) => {
        /// Every code that an error can have, with its status: what the document tells.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Refusal {
            $(#[doc = $text] $name,)*
        }

        impl Refusal {
            /// All of them.
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub(crate) const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            pub(crate) const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// When it is given.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

refusals! {
    MalformedRequest = 400 "malformed_request", "`field` names the member, parameter or header.";
    Unauthenticated = 401 "unauthenticated", "The credential is missing, unknown or dead.";
    Forbidden = 403 "forbidden", "The caller is known and may not do this.";
    SecondFactorRequired = 403 "second_factor_required", "A second factor is demanded of the human, and this session did not show one.";
    NotNarrower = 403 "not_narrower", "More is asked for than the giver has.";
    NotFound = 404 "not_found", "There is no such thing, or it is not yours to see.";
    RequestTimeout = 408 "request_timeout", "The request did not come to its end in time; nothing was done.";
    Conflict = 409 "conflict", "It is not in a state in which this can be done.";
    IdempotencyMismatch = 409 "idempotency_mismatch", "The `Idempotency-Key` was used with another request.";
    TooLarge = 413 "too_large", "The body is longer than 256 KiB.";
    AgentLimitExceeded = 422 "agent_limit_exceeded", "The human has as many agents as allowed.";
    GrantLimitExceeded = 422 "grant_limit_exceeded", "There are as many delegations as allowed.";
    SessionLimitExceeded = 422 "session_limit_exceeded", "The human has as many sessions as allowed.";
    FollowerLimitExceeded = 422 "follower_limit_exceeded", "As many processes follow with this key as may.";
    WebhookLimitExceeded = 422 "webhook_limit_exceeded", "There are as many webhooks as allowed.";
    DepthExceeded = 422 "depth_exceeded", "The chain would become too deep.";
    TooManyRequests = 429 "too_many_requests", "The caller was refused too often, or has too much open; see `Retry-After`.";
    Internal = 500 "internal", "A defect of ours.";
    Busy = 503 "busy", "Nothing was done; try again.";
    LedgerUnavailable = 503 "ledger_unavailable", "Nothing can be recorded, so nothing was done.";
    ProviderUnavailable = 503 "provider_unavailable", "The keys of the caller's outside provider are not known now; see `Retry-After`.";
    OutcomeUnknown = 503 "outcome_unknown", "It is not known whether it was done; look before you repeat it.";
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    request_id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

#[derive(Serialize)]
struct OAuthBody<'a> {
    error: &'a str,
    error_description: &'a str,
}

impl From<OAuthRefusal> for Failure {
    fn from(refusal: OAuthRefusal) -> Self {
        Self::OAuth(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Engine(Error::Invalid(invalid))
    }
}

/// Handlers do not know the id of their request, so the answer is written where it is known.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Failure {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge | Self::FileTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Engine(error) => status(error),
            Self::OAuth(refusal) => StatusCode::from_u16(refusal.code().status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The same in the words of OAuth, for its endpoints.
    pub(crate) fn in_oauth(self) -> Self {
        Self::OAuth(self.oauth())
    }

    fn oauth(&self) -> OAuthRefusal {
        match self {
            Self::OAuth(refusal) => refusal.clone(),
            Self::Engine(error) => error.clone().into(),
            Self::TooLarge | Self::FileTooLarge(_) => {
                OAuthRefusal::new(Code::TooLarge, self.message())
            }
            Self::TooSlow => OAuthRefusal::new(Code::TooSlow, self.message()),
            Self::NoSuchRoute | Self::MethodNotAllowed => {
                OAuthRefusal::new(Code::InvalidRequest, self.message())
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::FileTooLarge(_) => "too_large",
            Self::TooSlow => "request_timeout",
            Self::NoSuchRoute => "no_such_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Engine(error) => error.code(),
            Self::OAuth(refusal) => refusal.code().as_str(),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::TooLarge => "the body is longer than 256 KiB".to_owned(),
            Self::FileTooLarge(max) => format!(
                "the file is longer than the {max} bytes that this server takes; raise `import.max_bytes`, or import \
                 with `--database`"
            ),
            Self::TooSlow => {
                "the rest of the request did not come in time, so nothing was done; send it again"
                    .to_owned()
            }
            Self::NoSuchRoute => "there is no such route".to_owned(),
            Self::MethodNotAllowed => {
                "this route knows other methods; see the header `Allow`".to_owned()
            }
            Self::Engine(Error::Internal(words)) => {
                tracing::error!(words, "internal error");
                "internal error; the server's log says more under this request id".to_owned()
            }
            Self::Engine(error) => error.to_string(),
            Self::OAuth(refusal) => refusal.description().to_owned(),
        }
    }

    /// The message as it is shown.
    pub(crate) fn shown(&self) -> String {
        match self.field() {
            Some(field) => shown(&format!("{field}: {}", self.message())),
            None => shown(&self.message()),
        }
    }

    /// The message as a page shows it beside what it is about.
    #[cfg(feature = "pages")]
    pub(crate) fn told(&self) -> String {
        shown(&self.message())
    }

    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Engine(Error::Invalid(invalid) | Error::NotNarrower(invalid)) => {
                Some(invalid.field()).filter(|field| !field.is_empty())
            }
            _ => None,
        }
    }

    /// The answer.
    pub(crate) fn render(&self, request_id: RequestId) -> Response {
        let message = shown(&self.message());
        let field = self.field().map(shown);
        let body = Body {
            code: self.code(),
            message: &message,
            request_id,
            field: field.as_deref(),
        };
        let text = serde_json::to_string(&Envelope { error: body }).unwrap_or_default();
        let mut response =
            (self.status(), [(CONTENT_TYPE, "application/json")], text).into_response();
        self.add_headers(response.headers_mut());
        response
    }

    /// The answer of an endpoint of OAuth (RFC 6749, section 5.2).
    pub(crate) fn render_oauth(&self) -> Response {
        let refusal = self.oauth();
        let body = OAuthBody {
            error: refusal.code().as_str(),
            error_description: refusal.description(),
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response =
            (self.status(), [(CONTENT_TYPE, "application/json")], text).into_response();
        self.add_headers(response.headers_mut());
        response
    }

    /// The answer where a standard wants no more than a message (AuthZEN Authorization API 1.0, section 10.1.2).
    pub(crate) fn render_plain(&self) -> Response {
        const PLAIN: &str = "text/plain; charset=utf-8";
        let mut response = (self.status(), [(CONTENT_TYPE, PLAIN)], self.shown()).into_response();
        self.add_headers(response.headers_mut());
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        match self {
            // What is left of the request would be read as the next one.
            Self::TooSlow => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Engine(Error::Unauthenticated(_)) => ask_for_a_bearer(headers),
            Self::OAuth(refusal) => {
                match refusal.code() {
                    Code::InvalidToken => ask_for_a_bearer(headers),
                    Code::InsufficientScope => {
                        let challenge = "Bearer realm=\"kavach\", error=\"insufficient_scope\"";
                        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                    }
                    Code::InvalidClient => {
                        ask_for_a_bearer(headers);
                        // A client's id and secret (RFC 6749, section 5.2).
                        let basic = HeaderValue::from_static("Basic realm=\"kavach\"");
                        headers.append(WWW_AUTHENTICATE, basic);
                    }
                    _ => {}
                }
                // Of characters of base64url.
                if let Some(nonce) = refusal.nonce()
                    && let Ok(nonce) = HeaderValue::from_str(nonce)
                {
                    headers.insert(DPOP_NONCE, nonce);
                }
                if let Some(pause) = refusal.retry_after() {
                    headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
                }
            }
            Self::Engine(
                Error::TooManyRequests { retry_after }
                | Error::TooManyCalls { retry_after }
                | Error::TooManyOpen { retry_after }
                | Error::ProviderUnavailable { retry_after },
            ) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
            }
            Self::Engine(Error::Busy | Error::LedgerUnavailable(_)) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(BUSY_RETRY_SECONDS));
            }
            _ => {}
        }
    }
}

fn ask_for_a_bearer(headers: &mut HeaderMap) {
    let challenge = HeaderValue::from_static("Bearer realm=\"kavach\"");
    headers.insert(WWW_AUTHENTICATE, challenge);
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_)
        | Error::SecondFactorRequired(_)
        | Error::NotNarrower(_)
        | Error::ProofUsed
        | Error::ProofOfOther => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::WrongState(_)
        | Error::NoMasterKey
        | Error::Contended
        | Error::ProofMissing(_)
        | Error::IdempotencyMismatch => StatusCode::CONFLICT,
        Error::LimitExceeded { .. } | Error::DepthExceeded(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::TooManyRequests { .. } | Error::TooManyCalls { .. } | Error::TooManyOpen { .. } => {
            StatusCode::TOO_MANY_REQUESTS
        }
        Error::Busy
        | Error::LedgerUnavailable(_)
        | Error::ProviderUnavailable { .. }
        | Error::MailUnavailable
        | Error::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A text that may quote what the client sent, as it is shown: short, without a credential that stood in the wrong
/// place, and without characters that would fool whoever reads it in a log.
fn shown(text: &str) -> String {
    let text = redacted(text);
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_SHOWN {
            shown.push('…');
            break;
        }
        if c.is_control() || is_unseen(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_status_that_the_document_tells_of_its_code() {
        let words = || "words".to_owned();
        let limit = |code| Error::LimitExceeded {
            code,
            message: words(),
        };
        let errors = [
            Error::Invalid(Invalid::new("no")),
            Error::Unauthenticated("no"),
            Error::Forbidden(words()),
            Error::SecondFactorRequired("no"),
            Error::NotNarrower(Invalid::new("no")),
            Error::NotFound("thing"),
            Error::WrongState(words()),
            Error::IdempotencyMismatch,
            limit("agent_limit_exceeded"),
            limit("grant_limit_exceeded"),
            limit("session_limit_exceeded"),
            limit("webhook_limit_exceeded"),
            limit("follower_limit_exceeded"),
            Error::DepthExceeded(words()),
            Error::TooManyRequests {
                retry_after: std::time::Duration::ZERO,
            },
            Error::Internal(words()),
            Error::Busy,
            Error::LedgerUnavailable(words()),
            Error::ProviderUnavailable {
                retry_after: std::time::Duration::ZERO,
            },
            Error::OutcomeUnknown,
        ];
        let mut failures: Vec<Failure> = errors.into_iter().map(Failure::from).collect();
        failures.extend([Failure::TooLarge, Failure::TooSlow]);
        for refusal in Refusal::ALL {
            let failure = failures
                .iter()
                .find(|failure| failure.code() == refusal.code());
            let status = failure.map(|failure| failure.status().as_u16());
            assert_eq!(status, Some(refusal.status()), "{refusal:?}");
        }
        assert_eq!(failures.len(), Refusal::ALL.len());
    }

    #[test]
    fn what_is_shown_is_short_and_plain() {
        assert_eq!(shown("`a` is no id"), "`a` is no id");
        assert_eq!(shown("a\u{202e}b\u{0}"), "a\\u{202e}b\\u{0}");
        assert_eq!(shown(&"x".repeat(10_000)).chars().count(), MAX_SHOWN + 1);
        let secret = format!("`kv_agent_{}` is no id", "a".repeat(49));
        assert_eq!(shown(&secret), "`kv_agent_…` is no id");
    }
}
