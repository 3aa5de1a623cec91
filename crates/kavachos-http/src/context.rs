//! Around every request: an id of our own, headers that are the same everywhere, a count, and no panic that escapes.

use std::any::Any;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State as FromState};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use kavachos_core::id::RequestId;
use kavachos_engine::Error;

use crate::error::Failure;
use crate::operation::ErrorForm;
use crate::state::State;

/// The header with the id of the request. One that a client sends is ignored: ids in records are ours.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where the routes of AuthZEN are.
const AUTHZEN: &str = "/access/v1/";
/// Where the endpoints of OAuth are.
const OAUTH: &str = "/oauth/";
/// The longest id that a client may give its request and gets back.
const MAX_OWN_ID_BYTES: usize = 200;

/// The id of the request that is being answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(pub(crate) RequestId);

pub(crate) async fn around(
    FromState(state): FromState<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let id: RequestId = state.engine.id();
    request.extensions_mut().insert(Id(id));
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none".to_owned(), |path| path.as_str().to_owned());
    let asked = Asked::of(&route, &request);
    let named = match asked.form {
        ErrorForm::Plain => own_id(request.headers()),
        ErrorForm::Envelope | ErrorForm::OAuth => None,
    };
    let mut response = next.run(request).await;
    state.metrics.answered(&method, route, response.status());
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = asked.told(&state, &failure, id);
    }
    add_headers(response.headers_mut(), id);
    if let Some(named) = named {
        response.headers_mut().insert(REQUEST_ID, named);
    }
    response
}

/// How whoever asks is told of an error: in the form of the route, or on a page.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    form: ErrorForm,
    #[cfg(feature = "pages")]
    is_for_people: bool,
}

impl Asked {
    /// Of a request that no route has yet.
    pub fn for_path<B>(request: &http::Request<B>) -> Self {
        Self::of(request.uri().path(), request)
    }

    #[cfg_attr(
        not(feature = "pages"),
        expect(unused_variables, reason = "only pages look at the request itself")
    )]
    fn of<B>(route: &str, request: &http::Request<B>) -> Self {
        Self {
            form: form_of(route),
            #[cfg(feature = "pages")]
            is_for_people: crate::pages::is_for_people(request.uri().path(), request.headers()),
        }
    }

    #[cfg_attr(
        not(feature = "pages"),
        expect(unused_variables, reason = "only pages have a brand")
    )]
    fn told(self, state: &State, failure: &Failure, id: RequestId) -> Response {
        #[cfg(feature = "pages")]
        if self.is_for_people {
            return crate::pages::told(state, failure, id);
        }
        rendered(failure, self.form, id)
    }
}

/// How the errors of a route are written.
fn form_of(route: &str) -> ErrorForm {
    if route.starts_with(AUTHZEN) {
        ErrorForm::Plain
    } else if route.starts_with(OAUTH) {
        ErrorForm::OAuth
    } else {
        ErrorForm::Envelope
    }
}

fn rendered(failure: &Failure, form: ErrorForm, id: RequestId) -> Response {
    match (form, failure) {
        (ErrorForm::Plain, _) => failure.render_plain(),
        // A method that it does not know is no request to an endpoint.
        (ErrorForm::OAuth, Failure::MethodNotAllowed) | (ErrorForm::Envelope, _) => {
            failure.render(id)
        }
        (ErrorForm::OAuth, _) => failure.render_oauth(),
    }
}

/// The id that a client gave its request, where a standard says that it comes back (AuthZEN Authorization API 1.0,
/// section 10.1.3). Records have ours.
fn own_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    match (values.next(), values.next()) {
        (Some(only), None) if only.len() <= MAX_OWN_ID_BYTES => Some(only.clone()),
        _ => None,
    }
}

/// What every answer carries.
fn add_headers(headers: &mut HeaderMap, id: RequestId) {
    if !may_be_kept(headers) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, value);
    }
}

/// Whether an answer says nothing of anybody, and stays what it is: what pages load, under its hash.
fn may_be_kept(headers: &HeaderMap) -> bool {
    #[cfg(feature = "pages")]
    return crate::pages::is_asset(headers);
    #[cfg(not(feature = "pages"))]
    {
        let _ = headers;
        false
    }
}

/// What did not come within the time that a server gives a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// The rest of the request: nothing was done.
    Request,
    /// The answer: it may have been done.
    Answer,
}

/// The answer of a server that waits no longer, as all others are answered to whoever asked this.
pub fn overdue(state: &State, asked: Asked, what: Overdue) -> Response {
    let id = state.engine.id();
    let failure = match what {
        Overdue::Request => Failure::TooSlow,
        Overdue::Answer => Error::OutcomeUnknown.into(),
    };
    let mut response = asked.told(state, &failure, id);
    add_headers(response.headers_mut(), id);
    response
}

/// A panic is a defect of ours: the caller gets a 500 and the log the words.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is that of `CatchPanicLayer`"
)]
pub(crate) fn caught(panic: Box<dyn Any + Send>) -> Response<Body> {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(words = words.unwrap_or("?"), "a handler panicked");
    Failure::from(Error::Internal("this is a defect of the server".to_owned())).into_response()
}
