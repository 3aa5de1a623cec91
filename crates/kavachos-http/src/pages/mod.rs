//! The pages for people: signing in, and an account with its agents, approvals and records.
//!
//! Promises: a page can do no more than the API. Forms of signing in become the JSON requests of the same routes
//! ([`api`]), so that limits, records and refusals are the same; the pages of an account call the use cases as the human
//! whose session the cookie holds. Everything works without scripts but passkeys, which are the browser's. No page can be
//! framed, loads anything from elsewhere, or runs what is not ours; every form shows that it is ours ([`csrf`]).

mod account;
mod agents;
mod api;
mod approvals;
mod assets;
mod at;
mod brand;
mod browser;
mod connections;
mod consent;
mod csrf;
mod device;
mod door;
pub(crate) mod escape;
mod failure;
mod form;
mod form_page;
mod html;
mod return_to;
mod view;
mod words;

use axum::response::IntoResponse;
use axum::{Extension, Router};
use http::HeaderMap;
use http::header::ACCEPT;
use kavachos_engine::page::PageOf;

pub(crate) use assets::{Assets, is_asset};
pub use brand::{Accent, Brand};
pub(crate) use failure::told;

use crate::state::State;

/// What the paths of pages begin with.
const ROOTS: [&str; 21] = [
    "/account",
    "/consent",
    "/device",
    "/oauth/authorize",
    "/sign-up",
    "/sign-in",
    "/magic-link",
    "/verify-email",
    "/forgot-password",
    "/not-me",
    "/change-email",
    "/restore-email",
    "/reset-password",
    "/re-authenticate",
    "/account/",
    "/device/",
    "/sign-in/",
    "/sign-up/",
    "/verify-email/",
    "/re-authenticate/",
    "/assets/",
];

/// Adds the pages. `api` is what their forms are sent on to.
pub(crate) fn mount(router: Router<State>, api: Router) -> Router<State> {
    let pages = Router::new()
        .merge(account::routes())
        .merge(agents::routes())
        .merge(approvals::routes())
        .merge(connections::routes())
        .merge(consent::routes())
        .merge(device::routes())
        .merge(door::routes())
        .merge(assets::routes())
        .layer(Extension(api::Api::new(api)));
    router.merge(pages)
}

/// Whether whoever asks for this path is a person in front of a browser, to whom errors are told on a page.
pub(crate) fn is_for_people(path: &str, headers: &HeaderMap) -> bool {
    let ours = ROOTS
        .iter()
        .any(|root| path == *root || (root.ends_with('/') && path.starts_with(root)));
    let html = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|kind| kind.trim().starts_with("text/html"))
        })
    };
    ours && headers.get_all(ACCEPT).iter().any(html)
}

/// A page or a way to another one.
type Shown = Result<axum::response::Response, crate::error::Failure>;

/// The first so many of a list.
const fn first<T>(limit: usize) -> PageOf<T> {
    PageOf { after: None, limit }
}

/// Sends a browser to a path of ours.
fn see_other(path: &str) -> axum::response::Response {
    let location =
        http::HeaderValue::from_str(path).unwrap_or(http::HeaderValue::from_static("/account"));
    let headers = [(http::header::LOCATION, location)];
    (http::StatusCode::SEE_OTHER, headers).into_response()
}
