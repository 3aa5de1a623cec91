//! `/account`: an overview, what happened, where one is signed in, and how one signs in.

mod activity;
mod factors;
mod keep;
mod overview;
mod owing;
mod security;
mod sessions;

use axum::routing::{get, post};
use axum::{Extension, Router};

pub(super) use security::has_codes;

use super::browser::OpenToOwing;
use super::form_page;
use crate::state::State;

pub(super) fn routes() -> Router<State> {
    let owing = Extension(OpenToOwing);
    Router::new()
        .route("/account", get(overview::handle))
        .merge(form_page::routes(keep::Keep))
        .route("/account/activity", get(activity::handle))
        .route("/account/sessions", get(sessions::handle))
        .route("/account/sessions/others", post(sessions::end_others))
        .route("/account/sessions/{id}/sign-out", post(sessions::end))
        .route("/account/sign-out", post(sessions::sign_out).layer(owing))
        .route("/account/security", get(security::handle).layer(owing))
        .route(
            "/account/security/password",
            post(security::change_password),
        )
        .route("/account/security/email", post(security::change_email))
        .route(
            "/account/security/provider/unlink",
            get(factors::ask_to_unlink).post(factors::unlink),
        )
        .route("/account/security/totp", post(factors::set_up).layer(owing))
        .route(
            "/account/security/totp/enable",
            post(factors::enable).layer(owing),
        )
        .route(
            "/account/security/totp/disable",
            get(factors::ask_to_disable).post(factors::disable),
        )
        .route(
            "/account/security/backup-codes",
            get(factors::ask_to_renew).post(factors::renew),
        )
        .route(
            "/account/security/passkeys/{id}/remove",
            get(factors::ask_to_remove).post(factors::remove),
        )
}
