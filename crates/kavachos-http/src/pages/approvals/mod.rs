//! `/account/approvals`: what waits for the human's word.

mod answer;
mod list;
mod show;

use axum::Router;
use axum::routing::{get, post};

use crate::state::State;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/account/approvals", get(list::handle))
        .route("/account/approvals/{id}", get(show::handle))
        .route("/account/approvals/{id}/approve", post(answer::approve))
        .route("/account/approvals/{id}/deny", post(answer::deny))
}
