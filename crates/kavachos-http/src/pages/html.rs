//! A page on its way out: what it may do, and whom it tells what.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, SET_COOKIE,
    X_FRAME_OPTIONS,
};
use kavachos_engine::Error;

use super::Shown;

/// What a page may do that runs nothing.
const PLAIN: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'none'; form-action 'self'; \
                     frame-ancestors 'none'; base-uri 'none'";
/// What a page may do that talks to the browser about passkeys.
const PASSKEYS: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; connect-src 'self'; \
                        form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
                        require-trusted-types-for 'script'; trusted-types 'none'";
const NOT_SHARED: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const FEATURES: HeaderName = HeaderName::from_static("permissions-policy");
const FEW: &str = "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), \
                   geolocation=(), payment=(), usb=()";

/// Whether a page runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    Nothing,
    Passkeys,
}

impl Runs {
    /// What a page runs that offers passkeys, or does not.
    pub(super) const fn of(passkeys: bool) -> Self {
        if passkeys {
            Self::Passkeys
        } else {
            Self::Nothing
        }
    }
}

/// A page.
pub(super) fn page(runs: Runs, page: &impl Template) -> Shown {
    answer(StatusCode::OK, runs, page)
}

/// A page with another status.
pub(super) fn answer(status: StatusCode, runs: Runs, page: &impl Template) -> Shown {
    let text = page
        .render()
        .map_err(|error| Error::Internal(error.to_string()))?;
    let policy = match runs {
        Runs::Nothing => PLAIN,
        Runs::Passkeys => PASSKEYS,
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (NOT_SHARED, "same-origin"),
        (FEATURES, FEW),
    ];
    Ok((status, headers, text).into_response())
}

/// A page whose form sends the browser on to other origins, or to a program by its scheme.
pub(super) fn leading_to(places: &str, page: &impl Template) -> Shown {
    let policy = PLAIN.replace(
        "form-action 'self'",
        &format!("form-action 'self' {places}"),
    );
    let policy = HeaderValue::from_str(&policy)
        .map_err(|_| Error::Internal("a place is no header".to_owned()))?;
    let mut shown = self::page(Runs::Nothing, page)?;
    shown.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(shown)
}

/// The same answer with a cookie.
pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}
