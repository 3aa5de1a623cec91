//! `/account/connections`: the applications that the human let in, what each may do, where it is used, and how it is ended.

mod end;
mod list;
mod show;

use axum::Router;
use axum::routing::{get, post};

use crate::state::State;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/account/connections", get(list::handle))
        .route("/account/connections/{id}", get(show::handle))
        .route(
            "/account/connections/{id}/end",
            get(end::ask).post(end::connection),
        )
        .route(
            "/account/connections/{id}/lines/{line}/end",
            post(end::line),
        )
        .route(
            "/account/connections/{id}/consents/{resource}/withdraw",
            post(end::consent),
        )
}
