//! The ways in: signing up and in, second steps, links that were mailed, forgotten passwords, and being asked once more.
//!
//! Which ways there are is read from the routes that plugins have. Each page is a [form](super::form_page) that becomes the
//! JSON of the same name; what the API answers says where to go on ([`onward`]).

mod again;
mod by_mail;
mod change_email;
mod code;
mod links;
mod not_me;
mod onward;
mod reset;
mod restore_email;
mod sign_in;
mod sign_up;

use axum::routing::post;
use axum::{Extension, Router};

pub(super) use onward::onward;

use super::browser::OpenToOwing;
use super::form_page;
use crate::state::State;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .merge(form_page::routes(sign_up::SignUp))
        .merge(form_page::routes(sign_in::SignIn))
        .route("/sign-in/guest", post(sign_in::as_guest))
        .merge(form_page::routes(by_mail::LINK))
        .merge(form_page::routes(by_mail::CODE))
        .merge(form_page::routes(by_mail::FORGOTTEN))
        .merge(form_page::routes(code::MAILED))
        .merge(form_page::routes(code::SECOND))
        .merge(form_page::routes(links::Magic))
        .merge(form_page::routes(links::Verify))
        .merge(form_page::routes(reset::Reset))
        .merge(form_page::routes(again::Again).layer(Extension(OpenToOwing)))
        .merge(form_page::routes(not_me::NotMe))
        .merge(form_page::routes(restore_email::RestoreEmail))
        .merge(form_page::routes(change_email::ChangeEmail))
}
