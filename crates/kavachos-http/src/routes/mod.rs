//! The routes, one file each: the request, the use case, the reply.

mod agents;
mod approvals;
mod audit;
mod authorize;
mod authzen;
mod delegations;
mod events;
mod explain;
pub(crate) mod forward_auth;
mod keys;
mod operations;
mod resources;
mod sessions;
mod users;
mod webhooks;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use http::request::Parts;
use kavachos_core::id::{Id, Named};
use kavachos_core::invalid::Invalid;
use tower_http::catch_panic::CatchPanicLayer;

use crate::context::{around, caught};
use crate::error::Failure;
use crate::plugin::mount;
use crate::state::State;

/// All routes of one tenant.
///
/// Open, without a caller, are only `/healthz`, `/readyz`, `/metrics`, `/version` and what is `/.well-known/`, and what plugins
/// declare open.
pub fn router(state: State) -> Router {
    // The paths in full: every nested router boxes each request once more.
    let routes = with_webhooks(looking_after(asking(people(managing(Router::new())))));
    mount(routes, &state)
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        // One layer of two: every layer by itself boxes each request once more.
        .layer((
            from_fn_with_state(state.clone(), around),
            CatchPanicLayer::custom(caught),
        ))
        .with_state(state)
}

/// Agents, what is granted to them, and what humans are asked.
fn managing(router: Router<State>) -> Router<State> {
    router
        .route(
            "/api/v1/agents",
            get(agents::list::handle).post(agents::create::handle),
        )
        .route(
            "/api/v1/agents/{id}",
            get(agents::show::handle)
                .patch(agents::update::handle)
                .delete(agents::revoke::handle),
        )
        .route("/api/v1/agents/{id}/rotate", post(agents::rotate::handle))
        .route("/api/v1/agents/{id}/suspend", post(agents::suspend::handle))
        .route("/api/v1/agents/{id}/resume", post(agents::resume::handle))
        .route(
            "/api/v1/agents/{id}/permissions",
            get(agents::permissions::handle),
        )
        .route(
            "/api/v1/delegations",
            get(delegations::list::handle).post(delegations::create::handle),
        )
        .route(
            "/api/v1/delegations/{id}",
            get(delegations::show::handle).delete(delegations::revoke::handle),
        )
        .route("/api/v1/approvals", get(approvals::list::handle))
        .route("/api/v1/approvals/{id}", get(approvals::show::handle))
        .route(
            "/api/v1/approvals/{id}/approve",
            post(approvals::approve::handle),
        )
        .route("/api/v1/approvals/{id}/deny", post(approvals::deny::handle))
}

/// Humans, operators and tool servers.
fn people(router: Router<State>) -> Router<State> {
    router
        .route(
            "/api/v1/users",
            get(users::list::handle).post(users::create::handle),
        )
        .route(
            "/api/v1/users/{id}",
            get(users::show::handle)
                .patch(users::update::handle)
                .delete(users::delete::handle),
        )
        .route("/api/v1/users/{id}/ban", post(users::ban::handle))
        .route("/api/v1/users/{id}/unban", post(users::unban::handle))
        .route(
            "/api/v1/users/{id}/sessions",
            get(users::sessions::handle).post(users::open_session::handle),
        )
        .route("/api/v1/sessions/{id}", delete(sessions::revoke))
        .route(
            "/api/v1/keys",
            get(keys::list::handle).post(keys::create::handle),
        )
        .route(
            "/api/v1/keys/{id}",
            get(keys::show::handle)
                .patch(keys::update::handle)
                .delete(keys::revoke::handle),
        )
        .route(
            "/api/v1/resources",
            get(resources::list::handle).post(resources::create::handle),
        )
        .route(
            "/api/v1/resources/{id}",
            get(resources::show::handle)
                .patch(resources::update::handle)
                .delete(resources::revoke::handle),
        )
}

/// Decisions, and the record of them.
fn asking(router: Router<State>) -> Router<State> {
    router
        .route("/api/v1/authorize", post(authorize::handle))
        .route("/api/v1/authorize/batch", post(authorize::batch::handle))
        .route(
            "/api/v1/forward-auth",
            get(forward_auth::handle).post(forward_auth::handle),
        )
        .route("/api/v1/explain", post(explain::dry_run::handle))
        .route("/api/v1/explain/{id}", get(explain::recorded::handle))
        .route("/api/v1/audit", get(audit::list::handle))
        .route("/api/v1/audit/{id}", get(audit::show::handle))
        .route("/api/v1/events", get(events::handle))
        .route("/access/v1/evaluation", post(authzen::evaluation::handle))
        .route("/access/v1/evaluations", post(authzen::evaluations::handle))
        .route(
            "/.well-known/authzen-configuration",
            get(authzen::configuration::handle),
        )
}

/// For whoever operates the server.
fn looking_after(router: Router<State>) -> Router<State> {
    router
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .route("/version", get(operations::version))
}

fn with_webhooks(routes: Router<State>) -> Router<State> {
    routes
        .route(
            "/api/v1/webhooks",
            get(webhooks::list::handle).post(webhooks::create::handle),
        )
        .route(
            "/api/v1/webhooks/{id}",
            get(webhooks::show::handle)
                .patch(webhooks::update::handle)
                .delete(webhooks::delete::handle),
        )
        .route(
            "/api/v1/webhooks/{id}/rotate",
            post(webhooks::rotate::handle),
        )
        .route("/api/v1/webhooks/{id}/test", post(webhooks::test::handle))
        .route(
            "/api/v1/webhooks/{id}/redeliver",
            post(webhooks::redeliver::handle),
        )
        .route(
            "/api/v1/webhooks/{id}/deliveries",
            get(webhooks::deliveries::handle),
        )
}

async fn no_such_route() -> Failure {
    Failure::NoSuchRoute
}

async fn method_not_allowed() -> Failure {
    Failure::MethodNotAllowed
}

/// The `{id}` of a path; what is no id of the kind is refused with the reason.
pub(crate) struct PathId<K>(pub(crate) Id<K>);

impl<K: Named, S: Send + Sync> FromRequestParts<S> for PathId<K> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let wrong = |message: String| Failure::from(Invalid::at("id", message));
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params =
            params.map_err(|_| wrong("cannot be read: percent-encode it as UTF-8".to_owned()))?;
        let text = params
            .iter()
            .find(|(name, _)| *name == "id")
            .map_or("", |(_, value)| value);
        text.parse()
            .map(Self)
            .map_err(|error: Invalid| wrong(error.to_string()))
    }
}
