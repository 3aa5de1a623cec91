//! The routes, one file each: the request, the use case, the reply.

mod agents;
mod approvals;
mod audit;
mod auth;
mod authorize;
mod authzen;
pub(crate) mod clients;
pub(crate) mod connections;
mod delegate;
mod delegations;
mod events;
mod explain;
mod feed_document;
pub(crate) mod forward_auth;
mod key_sets;
mod keys;
pub(crate) mod oauth;
mod operations;
mod reference;
mod reports;
mod resources;
mod revocations;
mod server_metadata;
mod sessions;
mod signing_keys;
mod tenant;
mod users;
mod webhooks;

use std::str::FromStr;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::middleware::from_fn_with_state;
use http::request::Parts;
use kavachos_core::id::{Id, Named};
use kavachos_core::invalid::Invalid;
use tower_http::catch_panic::CatchPanicLayer;

use crate::context::{around, caught};
use crate::error::Failure;
use crate::operation::Operation;
use crate::plugin;
use crate::routes::reference::Published;
use crate::state::State;

/// The route whose body may be as large as a tenant, and take as long to come.
pub const IMPORT_PATH: &str = "/api/v1/import";

/// All routes of one tenant.
///
/// Open, without a caller, are only `/healthz`, `/readyz`, `/metrics`, `/version`, `/openapi.json`, `/docs`, what is
/// `/.well-known/`, `/oauth/`, whose callers are known by what they show there, and what plugins declare open.
pub fn router(state: State) -> Router {
    let (published, mut operations) = published(operations());
    operations.extend(server_metadata::at_path_of(&state.engine.settings().issuer));
    let mut router = Router::new();
    let mut descriptions = Vec::with_capacity(operations.len());
    for operation in operations {
        // The paths in full: every nested router boxes each request once more.
        router = router.route(&operation.description.path, operation.route);
        descriptions.push(operation.description);
    }
    published.describe(descriptions, plugin::told(&state));
    let router = plugin::mount(router, &state);
    #[cfg(feature = "pages")]
    let router = crate::pages::mount(router.clone(), refusing(router).with_state(state.clone()));
    refusing(router)
        // One layer of two: every layer by itself boxes each request once more.
        .layer((
            from_fn_with_state(state.clone(), around),
            CatchPanicLayer::custom(caught),
        ))
        .with_state(state)
}

/// The routes, with answers of ours to what is none of them.
fn refusing(router: Router<State>) -> Router<State> {
    router
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
}

/// The OpenAPI document of these routes, as `/openapi.json` gives it.
pub fn openapi() -> String {
    let (_, operations) = published(operations());
    let descriptions = operations
        .into_iter()
        .map(|operation| operation.description);
    crate::openapi::text(&descriptions.collect::<Vec<_>>(), &[])
}

/// The operations with those that publish what is told of all of them.
fn published(mut operations: Vec<Operation>) -> (Published, Vec<Operation>) {
    let published = Published::default();
    operations.extend(reference::operations(&published));
    (published, operations)
}

/// All operations but those of the reference. What is added here is on the router and in the document.
fn operations() -> Vec<Operation> {
    let mut all = questions();
    all.extend(managing());
    all.extend(people());
    all.extend(telling());
    all.extend(tokens());
    all.extend(operations::operations());
    all
}

/// Decisions, and why.
fn questions() -> Vec<Operation> {
    let mut all = vec![
        authorize::operation(),
        authorize::batch::operation(),
        explain::dry_run::operation(),
    ];
    all.extend(forward_auth::operations());
    all.extend([
        authzen::evaluation::operation(),
        authzen::evaluations::operation(),
        authzen::configuration::operation(),
    ]);
    all
}

/// Agents, what is granted to them, and what humans are asked.
fn managing() -> Vec<Operation> {
    vec![
        agents::list::operation(),
        agents::create::operation(),
        agents::show::operation(),
        agents::update::operation(),
        agents::revoke::operation(),
        agents::rotate::operation(),
        agents::suspend::operation(),
        agents::resume::operation(),
        agents::permissions::operation(),
        connections::list::operation(),
        connections::show::operation(),
        connections::revoke::operation(),
        connections::revoke_line::operation(),
        connections::withdraw::operation(),
        delegations::list::operation(),
        delegations::create::operation(),
        delegations::show::operation(),
        delegations::revoke::operation(),
        approvals::list::operation(),
        approvals::show::operation(),
        approvals::approve::operation(),
        approvals::deny::operation(),
    ]
}

/// Humans, operators and tool servers.
fn people() -> Vec<Operation> {
    let mut all = vec![
        users::list::operation(),
        users::create::operation(),
        users::show::operation(),
        users::update::operation(),
        users::delete::operation(),
        users::ban::operation(),
        users::unban::operation(),
        users::role::operation(),
        users::require_reset::operation(),
        users::remove_factors::operation(),
        users::admit::operation(),
        users::sessions::operation(),
        users::open_session::operation(),
        users::end_sessions::operation(),
        users::impersonate::operation(),
        sessions::operation(),
        keys::list::operation(),
        keys::create::operation(),
        keys::show::operation(),
        keys::update::operation(),
        keys::revoke::operation(),
        resources::list::operation(),
        clients::list::operation(),
        clients::create::operation(),
        clients::show::operation(),
        clients::update::operation(),
        clients::revoke::operation(),
        clients::rotate::operation(),
        clients::deny::operation(),
        clients::allow::operation(),
        resources::create::operation(),
        resources::show::operation(),
        resources::update::operation(),
        resources::revoke::operation(),
    ];
    all.extend(auth::operations());
    all
}

/// The record of all that happened, and how others learn of it.
fn telling() -> Vec<Operation> {
    vec![
        audit::list::operation(),
        audit::show::operation(),
        audit::export::operation(),
        explain::recorded::operation(),
        events::operation(),
        webhooks::list::operation(),
        webhooks::create::operation(),
        webhooks::show::operation(),
        webhooks::update::operation(),
        webhooks::delete::operation(),
        webhooks::rotate::operation(),
        webhooks::test::operation(),
        webhooks::redeliver::operation(),
        webhooks::deliveries::operation(),
        tenant::export::operation(),
        tenant::import::operation(),
    ]
}

/// The keys that sign, and what is signed: the feed of revocations.
fn tokens() -> Vec<Operation> {
    let mut all = key_sets::operations();
    all.extend([
        delegate::operation(),
        delegate::redeem::operation(),
        oauth::token::operation(),
        oauth::par::operation(),
        oauth::device::operation(),
        oauth::introspect::operation(),
        oauth::revoke::operation(),
        oauth::register::operation(),
        oauth::register::look(),
        oauth::register::change(),
        oauth::register::remove(),
        reports::operation(),
        server_metadata::operation(),
        server_metadata::openid(),
        signing_keys::list::operation(),
        signing_keys::rotate::operation(),
        signing_keys::retire::operation(),
        signing_keys::request::operation(),
        signing_keys::install::operation(),
        feed_document::operation(),
        revocations::head::operation(),
        revocations::list::operation(),
        revocations::stream::operation(),
        revocations::snapshot::operation(),
    ]);
    all
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
        part(parts, state, "id").await.map(Self)
    }
}

/// A part of a path, by its name; what cannot be read is refused with the reason.
pub(crate) async fn part<T, S>(
    parts: &mut Parts,
    state: &S,
    name: &'static str,
) -> Result<T, Failure>
where
    T: FromStr<Err = Invalid>,
    S: Send + Sync,
{
    let wrong = |message: String| Failure::from(Invalid::at(name, message));
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params =
        params.map_err(|_| wrong("cannot be read: percent-encode it as UTF-8".to_owned()))?;
    let text = params
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, value)| value);
    text.parse()
        .map_err(|error: Invalid| wrong(error.to_string()))
}
