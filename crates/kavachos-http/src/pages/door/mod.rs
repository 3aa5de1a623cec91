//! The ways in: signing up and in, second steps, links that were mailed, forgotten passwords, and being asked once more.
//!
//! Which ways there are is read from the routes that plugins have. Each form becomes the JSON of the same name
//! ([`super::api`]); what the API answers says where to go on ([`onward`]).

mod again;
mod code;
mod links;
mod onward;
mod password;
mod sign_in;
mod sign_up;

use axum::Router;
use axum::routing::{get, post};

use crate::state::State;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/sign-up", get(sign_up::show).post(sign_up::submit))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/sign-in/guest", post(sign_in::as_guest))
        .route("/sign-in/link", get(links::ask).post(links::send))
        .route("/sign-in/email-code", get(code::ask).post(code::send))
        .route("/sign-in/code", get(code::show).post(code::submit))
        .route(
            "/sign-in/second-factor",
            get(code::show_second).post(code::submit_second),
        )
        .route(
            "/magic-link",
            get(links::show_magic).post(links::follow_magic),
        )
        .route(
            "/verify-email",
            get(links::show_verify).post(links::follow_verify),
        )
        .route("/forgot-password", get(password::ask).post(password::send))
        .route(
            "/reset-password",
            get(password::show).post(password::submit),
        )
        .route("/re-authenticate", get(again::show).post(again::submit))
}
