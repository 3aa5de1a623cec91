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
use kavachos_engine::Error;
use kavachos_engine::plugin::Method as Known;
use serde_json::{Map, Value};
use tower::Service;

use super::failure::sentence;
use super::form::Form;
use crate::call::FORWARDED_FOR;
use crate::error::Failure;
use crate::state::State;

/// What of the browser's own request goes along.
const CARRIED: [HeaderName; 5] = [
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

impl Refusal {
    /// The same as a page of its own.
    pub(super) fn into_failure(self) -> Failure {
        self.failure
    }

    fn of(failure: Failure) -> Self {
        Self {
            status: failure.status(),
            field: failure.field().map(str::to_owned),
            reason: sentence(&failure.told()),
            failure,
        }
    }

    /// Whether filling in the form otherwise would not help: it is told on a page of its own.
    pub(super) fn is_final(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
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
        let defect = |words: String| Refusal::of(Error::Internal(words).into());
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

    /// Posts JSON to a route.
    pub(super) async fn post(
        &self,
        path: &str,
        parts: &Parts,
        body: &Map<String, Value>,
    ) -> Result<Reply, Refusal> {
        self.send((Method::POST, path), parts, body).await
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
        return Err(Refusal::of(failure));
    }
    let cookies = answer
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .cloned()
        .collect();
    let broken = |words: String| Refusal::of(Error::Internal(words).into());
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

    /// The cookies that were set, set on a page's answer.
    pub(super) fn onto(&self, mut response: Response) -> Response {
        for cookie in &self.cookies {
            response.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        response
    }
}

/// Members of a JSON object, from the fields of a form; empty ones are left out.
pub(super) fn members(form: &Form, names: &[&'static str]) -> Map<String, Value> {
    let given = names
        .iter()
        .filter_map(|name| Some((*name, form.given(name)?)));
    given
        .map(|(name, text)| (name.to_owned(), Value::from(text)))
        .collect()
}

/// Whether a plugin has this route.
pub(super) fn has(state: &State, method: Known, path: &str) -> bool {
    let mut routes = state
        .engine
        .plugin_routes()
        .iter()
        .map(|mounted| mounted.route());
    routes.any(|route| route.method == method && route.path == path)
}

/// Whether a plugin has a route to which this is posted below `/api/auth/`.
pub(super) fn takes(state: &State, what: &str) -> bool {
    has(state, Known::Post, &format!("/api/auth/{what}"))
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
