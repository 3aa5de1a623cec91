//! `/account/agents`: the human's agents, who acts for whom, and how they are made and stopped.

mod list;
mod new;
mod show;
mod stop;
mod tree;

use axum::Router;
use axum::routing::get;

pub(super) use list::stopped;
pub(super) use tree::names;

use crate::state::State;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/account/agents", get(list::handle))
        .route("/account/agents/new", get(new::show).post(new::create))
        .route("/account/agents/{id}", get(show::handle))
        .route("/account/agents/{id}/stop", stop::End::Stop.routes())
        .route("/account/agents/{id}/suspend", stop::End::Suspend.routes())
        .route(
            "/account/delegations/{id}/stop",
            get(stop::ask_to_take_back).post(stop::take_back),
        )
}
