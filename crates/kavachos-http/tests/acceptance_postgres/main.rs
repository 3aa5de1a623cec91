//! The tests of `acceptance`, on PostgreSQL.

#[path = "../acceptance/approvals.rs"]
mod approvals;
#[cfg(test)]
#[path = "../acceptance/audit_export.rs"]
mod audit_export;
#[cfg(test)]
#[path = "../acceptance/authenticator.rs"]
mod authenticator;
#[cfg(test)]
#[path = "../acceptance/authzen.rs"]
mod authzen;
#[cfg(test)]
#[path = "../acceptance/batch.rs"]
mod batch;
#[cfg(test)]
#[path = "../acceptance/browser.rs"]
mod browser;
#[path = "../acceptance/callers.rs"]
mod callers;
#[path = "../acceptance/chains.rs"]
mod chains;
#[path = "../acceptance/constraints.rs"]
mod constraints;
#[path = "../acceptance/conventions.rs"]
mod conventions;
#[path = "../acceptance/decisions.rs"]
mod decisions;
#[path = "../acceptance/delegations.rs"]
mod delegations;
#[cfg(test)]
#[path = "../acceptance/demanded_factor.rs"]
mod demanded_factor;
#[cfg(test)]
#[path = "../acceptance/events.rs"]
mod events;
#[cfg(test)]
#[path = "../acceptance/exchange.rs"]
mod exchange;
#[cfg(test)]
#[path = "../acceptance/explain.rs"]
mod explain;
#[cfg(test)]
#[path = "../acceptance/feed_root.rs"]
mod feed_root;
#[path = "../acceptance/flood.rs"]
mod flood;
#[cfg(test)]
#[path = "../acceptance/forward_auth.rs"]
mod forward_auth;
#[cfg(test)]
#[path = "../acceptance/freshness.rs"]
mod freshness;
#[cfg(test)]
#[path = "../acceptance/hooks.rs"]
mod hooks;
#[cfg(test)]
#[path = "../acceptance/id_token_keys.rs"]
mod id_token_keys;
#[cfg(test)]
#[path = "../acceptance/id_token_presenters.rs"]
mod id_token_presenters;
#[cfg(test)]
#[path = "../acceptance/id_tokens.rs"]
mod id_tokens;
#[path = "../acceptance/idempotency.rs"]
mod idempotency;
#[cfg(test)]
#[path = "../acceptance/impersonation.rs"]
mod impersonation;
#[cfg(test)]
#[path = "../acceptance/kills.rs"]
mod kills;
#[path = "../acceptance/ledger.rs"]
mod ledger;
#[path = "../acceptance/lifecycle.rs"]
mod lifecycle;
#[cfg(test)]
#[path = "../acceptance/mail.rs"]
mod mail;
#[cfg(test)]
#[path = "../acceptance/moving.rs"]
mod moving;
#[cfg(test)]
#[path = "../acceptance/moving_limits.rs"]
mod moving_limits;
#[cfg(test)]
#[path = "../acceptance/moving_people.rs"]
mod moving_people;
#[cfg(test)]
#[path = "../acceptance/moving_records.rs"]
mod moving_records;
#[cfg(test)]
#[path = "../acceptance/oauth_bounds.rs"]
mod oauth_bounds;
#[cfg(test)]
#[path = "../acceptance/oauth_client_auth.rs"]
mod oauth_client_auth;
#[cfg(test)]
#[path = "../acceptance/oauth_client_credentials.rs"]
mod oauth_client_credentials;
#[cfg(test)]
#[path = "../acceptance/oauth_clients.rs"]
mod oauth_clients;
#[cfg(test)]
#[path = "../acceptance/oauth_connections.rs"]
mod oauth_connections;
#[cfg(test)]
#[path = "../acceptance/oauth_consent.rs"]
mod oauth_consent;
#[cfg(test)]
#[path = "../acceptance/oauth_device.rs"]
mod oauth_device;
#[cfg(test)]
#[path = "../acceptance/oauth_device_polls.rs"]
mod oauth_device_polls;
#[cfg(test)]
#[path = "../acceptance/oauth_document_fetches.rs"]
mod oauth_document_fetches;
#[cfg(test)]
#[path = "../acceptance/oauth_documents.rs"]
mod oauth_documents;
#[cfg(test)]
#[path = "../acceptance/oauth_dpop.rs"]
mod oauth_dpop;
#[cfg(test)]
#[path = "../acceptance/oauth_ends.rs"]
mod oauth_ends;
#[cfg(test)]
#[path = "../acceptance/oauth_introspection.rs"]
mod oauth_introspection;
#[cfg(test)]
#[path = "../acceptance/oauth_manage.rs"]
mod oauth_manage;
#[cfg(test)]
#[path = "../acceptance/oauth_pushed.rs"]
mod oauth_pushed;
#[cfg(test)]
#[path = "../acceptance/oauth_registration.rs"]
mod oauth_registration;
#[cfg(test)]
#[path = "../acceptance/oauth_restored.rs"]
mod oauth_restored;
#[cfg(test)]
#[path = "../acceptance/oauth_rows.rs"]
mod oauth_rows;
#[cfg(test)]
#[path = "../acceptance/oauth_standards.rs"]
mod oauth_standards;
#[cfg(test)]
#[path = "../acceptance/own_data.rs"]
mod own_data;
#[cfg(test)]
#[path = "../acceptance/own_sessions.rs"]
mod own_sessions;
#[path = "../acceptance/pages.rs"]
mod pages;
#[cfg(test)]
#[path = "../acceptance/pages_for_people.rs"]
mod pages_for_people;
#[cfg(test)]
#[path = "../acceptance/passkey.rs"]
mod passkey;
#[path = "../acceptance/people.rs"]
mod people;
#[cfg(test)]
#[path = "../acceptance/plugins.rs"]
mod plugins;
#[cfg(test)]
#[path = "../acceptance/promises.rs"]
mod promises;
#[cfg(test)]
#[path = "../acceptance/proof_keys.rs"]
mod proof_keys;
#[cfg(test)]
#[path = "../acceptance/provider_links.rs"]
mod provider_links;
#[cfg(test)]
#[path = "../acceptance/provider_sessions.rs"]
mod provider_sessions;
#[cfg(test)]
#[path = "../acceptance/provider_sign_in.rs"]
mod provider_sign_in;
#[cfg(test)]
#[path = "../acceptance/proxies.rs"]
mod proxies;
#[path = "../acceptance/queries.rs"]
mod queries;
#[path = "../acceptance/quotas.rs"]
mod quotas;
#[cfg(test)]
#[path = "../acceptance/races.rs"]
mod races;
#[path = "../acceptance/refusals.rs"]
mod refusals;
#[cfg(test)]
#[path = "../acceptance/reports.rs"]
mod reports;
#[cfg(test)]
#[path = "../acceptance/resources.rs"]
mod resources;
#[path = "../acceptance/restart.rs"]
mod restart;
#[cfg(test)]
#[path = "../acceptance/restore.rs"]
mod restore;
#[cfg(test)]
#[path = "../acceptance/restored_humans.rs"]
mod restored_humans;
#[cfg(test)]
#[path = "../acceptance/revocations.rs"]
mod revocations;
#[cfg(test)]
#[path = "../acceptance/roles.rs"]
mod roles;
#[cfg(test)]
#[path = "../acceptance/roots.rs"]
mod roots;
#[path = "../acceptance/routes.rs"]
mod routes;
#[path = "../acceptance/sessions.rs"]
mod sessions;
#[cfg(test)]
#[path = "../acceptance/signing_in/mod.rs"]
mod signing_in;
#[cfg(test)]
#[path = "../acceptance/signing_keys.rs"]
mod signing_keys;
#[cfg(test)]
#[path = "../acceptance/token_grants.rs"]
mod token_grants;
#[cfg(test)]
#[path = "../acceptance/token_uses.rs"]
mod token_uses;
#[cfg(test)]
#[path = "../acceptance/tokens.rs"]
mod tokens;
#[cfg(test)]
#[path = "../acceptance/tool_server_exchange.rs"]
mod tool_server_exchange;
#[cfg(test)]
#[path = "../acceptance/totp.rs"]
mod totp;
#[cfg(test)]
#[path = "../acceptance/upkeep.rs"]
mod upkeep;
#[cfg(test)]
#[path = "../acceptance/username_password.rs"]
mod username_password;
#[cfg(test)]
#[path = "../acceptance/users_admin.rs"]
mod users_admin;
#[cfg(test)]
#[path = "../acceptance/waiting.rs"]
mod waiting;
#[cfg(test)]
#[path = "../acceptance/webhooks.rs"]
mod webhooks;

use kavachos_test::{Setup, TestApp};

fn setup() -> Setup {
    Setup::default().on_postgres()
}

async fn start() -> TestApp {
    setup().start().await
}
