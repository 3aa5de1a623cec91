//! One request and its answer over a connection that is closed afterwards.

use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kavachos_engine::fetch::{Fetch, FetchError, FetchMethod, Fetched};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::Limits;

pub(super) async fn exchange<S>(
    stream: S,
    fetch: &Fetch,
    limits: Limits,
) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Drives the connection; ends with this set, also when the whole fetch is given up.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request(fetch)?).await.map_err(broken)?;
    read(response, fetch.max_answer_bytes).await
}

fn request(fetch: &Fetch) -> Result<Request<Full<Bytes>>, FetchError> {
    let wrong = |error: &dyn std::fmt::Display| {
        FetchError::Refused(format!("this cannot be sent: {error}"))
    };
    let mut request = Request::new(Full::new(Bytes::from(fetch.body.clone())));
    *request.method_mut() = match fetch.method {
        FetchMethod::Get => Method::GET,
        FetchMethod::Post => Method::POST,
    };
    *request.uri_mut() = fetch.url.target().parse().map_err(|error| wrong(&error))?;
    let headers = request.headers_mut();
    for (name, value) in &fetch.headers {
        let value = HeaderValue::from_str(value).map_err(|error| wrong(&error))?;
        headers.insert(*name, value);
    }
    let host = HeaderValue::from_str(&fetch.url.authority()).map_err(|error| wrong(&error))?;
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let us = concat!("kavach/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(us));
    Ok(request)
}

async fn read(response: Response<Incoming>, max: usize) -> Result<Fetched, FetchError> {
    let (parts, body) = response.into_parts();
    let retry_after = parts.headers.get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = match Limited::new(body, max).collect().await {
        Ok(body) => body.to_bytes().into(),
        Err(error) if error.is::<LengthLimitError>() => return Err(FetchError::TooLarge(max)),
        Err(error) => return Err(FetchError::Unreachable(error.to_string())),
    };
    Ok(Fetched {
        status: parts.status.as_u16(),
        retry_after: retry_after.map(Duration::from_secs),
        max_age: max_age(&parts.headers),
        body,
    })
}

/// For how long an answer may be kept (RFC 9111, section 5.2.2), as far as we keep any.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let directives = || texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    let says = |name: &str| directives().any(|directive| directive.eq_ignore_ascii_case(name));
    if says("no-store") || says("no-cache") {
        return Some(Duration::ZERO);
    }
    let seconds = directives().find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_age = name.trim().eq_ignore_ascii_case("max-age");
        value
            .trim()
            .trim_matches('"')
            .parse()
            .ok()
            .filter(|_| is_age)
    });
    // It may have lain somewhere on its way (section 4.2.3).
    let age = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.parse().ok());
    seconds.map(|seconds: u64| Duration::from_secs(seconds.saturating_sub(age.unwrap_or_default())))
}

/// What went wrong, and whether it was what the other side said or that it said nothing.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is handed to `map_err`, which gives the value away"
)]
fn broken(error: hyper::Error) -> FetchError {
    if error.is_parse() || error.is_parse_too_large() {
        FetchError::Unreadable(error.to_string())
    } else {
        FetchError::Unreachable(error.to_string())
    }
}
