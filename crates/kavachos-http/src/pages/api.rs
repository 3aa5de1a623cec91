//! The API, asked by a page in the name of its visitor: the same routes with the same limits, records and refusals, as if
//! the browser had sent the JSON itself.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, ORIGIN, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use kavachos_core::invalid::Invalid;
use kavachos_engine::plugin::{CallerType, Method as Known, Route};
use kavachos_engine::{Door, Error, SignUps};
use serde_json::{Map, Value};
use tower::Service;

use super::failure::sentence;
use crate::call::FORWARDED_FOR;
use crate::cookie;
use crate::error::Failure;
use crate::state::State;

/// The routes of the server itself to which forms are posted.
const OWN: [&str; 2] = ["not-me", "restore-email"];

/// The key of a form that does nothing twice.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What of the browser's own request goes along.
const CARRIED: [HeaderName; 6] = [
    IDEMPOTENCY_KEY,
    COOKIE,
    ORIGIN,
    USER_AGENT,
    FORWARDED_FOR,
    HeaderName::from_static("sec-fetch-site"),
];

/// What of that says which page it comes from.
const WHENCE: [HeaderName; 2] = [ORIGIN, HeaderName::from_static("sec-fetch-site")];

/// The API of this server.
#[derive(Clone)]
pub(super) struct Api(Router);

/// What the API answered.
pub(super) struct Reply {
    /// What stands under `data`.
    pub(super) data: Value,
    pub(super) cookies: Vec<HeaderValue>,
}

/// What the API refused: nothing that a page cannot tell of in the form.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The member that is wrong, if one is.
    pub(super) field: Option<String>,
    /// The reason as a sentence.
    pub(super) reason: String,
    failure: Failure,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status(),
            field: failure.field().map(str::to_owned),
            reason: sentence(&failure.told()),
            failure,
        }
    }
}

impl Refusal {
    /// The same as a page of its own.
    pub(super) fn into_failure(self) -> Failure {
        self.failure
    }

    /// Whether filling in the form otherwise would not help: it is told on a page of its own.
    pub(super) fn is_final(&self) -> bool {
        self.status.is_server_error()
            || self.status == StatusCode::TOO_MANY_REQUESTS
            || matches!(self.failure, Failure::NoSuchRoute)
    }

    /// What is wrong with this field.
    pub(super) fn about(&self, field: &str) -> Option<String> {
        (self.field.as_deref() == Some(field)).then(|| self.reason.clone())
    }
}

impl Api {
    pub(super) const fn new(router: Router) -> Self {
        Self(router)
    }

    /// Sends JSON to a route, in the name of whoever sent these parts.
    pub(super) async fn send(
        &self,
        (method, path): (Method, &str),
        parts: &Parts,
        body: &Map<String, Value>,
    ) -> Result<Reply, Refusal> {
        let defect = |words: String| Refusal::from(Failure::from(Error::Internal(words)));
        let text = serde_json::to_vec(body).map_err(|error| defect(error.to_string()))?;
        // A page that only reads was opened by a link from anywhere; what it reads is shown to its human alone.
        let reads = method == Method::GET;
        let mut request = Request::builder().method(method).uri(path);
        let carried = carried(&parts.headers).filter(|(name, _)| !reads || !WHENCE.contains(name));
        for (name, value) in carried {
            request = request.header(name, value);
        }
        let mut request = request
            .header(CONTENT_TYPE, "application/json")
            .header("kavach-session", "cookie")
            .body(Body::from(text))
            .map_err(|error| defect(error.to_string()))?;
        *request.extensions_mut() = carried_along(parts);
        let Ok(answer) = self.0.clone().call(request).await;
        read(answer).await
    }
}

fn carried(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| CARRIED.contains(name))
}

/// Who is at the other end, and the id of the request; not what the router noted of the page's own path.
fn carried_along(parts: &Parts) -> http::Extensions {
    let mut kept = parts.extensions.clone();
    kept.remove::<axum::extract::MatchedPath>();
    kept
}

async fn read(mut answer: Response) -> Result<Reply, Refusal> {
    if let Some(failure) = answer.extensions_mut().remove::<Failure>() {
        return Err(failure.into());
    }
    let cookies = answer
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .cloned()
        .collect();
    let status = answer.status();
    if !status.is_success() {
        let words = format!("the API answered {status} without saying why");
        return Err(Failure::from(Error::Internal(words)).into());
    }
    let broken = |words: String| Refusal::from(Failure::from(Error::Internal(words)));
    let bytes = answer.into_body().collect().await;
    let bytes = bytes.map_err(|error| broken(error.to_string()))?.to_bytes();
    if bytes.is_empty() {
        return Ok(Reply {
            data: Value::Null,
            cookies,
        });
    }
    let mut body: Value =
        serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    let data = body.get_mut("data").map_or(Value::Null, Value::take);
    Ok(Reply { data, cookies })
}

impl Reply {
    /// A text of what was answered.
    pub(super) fn text(&self, name: &str) -> &str {
        self.data
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The session that was opened, if one was.
    pub(super) fn session(&self) -> Option<&str> {
        let mut set = self
            .cookies
            .iter()
            .filter_map(|cookie| cookie.to_str().ok());
        set.find_map(|cookie| {
            let value = cookie.strip_prefix(cookie::SESSION)?.strip_prefix('=')?;
            value.split(';').next().filter(|value| !value.is_empty())
        })
    }

    /// The cookies that were set, set on a page's answer.
    pub(super) fn onto(&self, mut response: Response) -> Response {
        for cookie in &self.cookies {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        response
    }
}

/// Whether a plugin has this route, for those who come to it.
pub(super) fn has(state: &State, method: Known, path: &str) -> bool {
    let mut routes = state
        .engine
        .plugin_routes()
        .iter()
        .map(|mounted| mounted.route());
    let signs_up = |route: &Route| route.caller == CallerType::Door(Door::SignUp);
    let is_shut = state.engine.settings().sign_ups == SignUps::Closed;
    routes
        .any(|route| route.method == method && route.path == path && !(is_shut && signs_up(route)))
}

/// Whether there is a route to which this is posted below `/api/auth/`: one of a plugin, or the server's own.
pub(super) fn takes(state: &State, what: &str) -> bool {
    OWN.contains(&what) || has(state, Known::Post, &format!("/api/auth/{what}"))
}

/// Refuses what no plugin answers.
pub(super) fn require(state: &State, what: &str) -> Result<(), Failure> {
    if takes(state, what) {
        Ok(())
    } else {
        Err(Failure::NoSuchRoute)
    }
}

/// The segment of a path; what cannot be one is refused.
pub(super) fn segment(text: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text);
    }
    Err(Invalid::at("id", "is no id").into())
}
