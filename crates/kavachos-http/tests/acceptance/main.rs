//! What the API promises, over real HTTP. The tests are named after the lessons that they show: `f..` are faults of the
//! TypeScript original (part A), `b..` cases of acceptance (part B).
//!
//! Each refusal stands beside the same call with the control switched off, which is not refused.

mod approvals;
#[cfg(test)]
mod audit_export;
#[cfg(test)]
mod authenticator;
#[cfg(test)]
mod authzen;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod browser;
mod callers;
mod chains;
mod constraints;
mod conventions;
mod decisions;
mod delegations;
#[cfg(test)]
mod demanded_factor;
#[cfg(test)]
mod events;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod feed_root;
mod flood;
#[cfg(test)]
mod forward_auth;
#[cfg(test)]
mod freshness;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod id_token_keys;
#[cfg(test)]
mod id_token_presenters;
#[cfg(test)]
mod id_tokens;
mod idempotency;
#[cfg(test)]
mod impersonation;
#[cfg(test)]
mod kills;
mod ledger;
mod lifecycle;
#[cfg(test)]
mod mail;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod moving_limits;
#[cfg(test)]
mod moving_people;
#[cfg(test)]
mod moving_records;
#[cfg(test)]
mod oauth_bounds;
#[cfg(test)]
mod oauth_client_auth;
#[cfg(test)]
mod oauth_client_credentials;
#[cfg(test)]
mod oauth_clients;
#[cfg(test)]
mod oauth_connections;
#[cfg(test)]
mod oauth_consent;
#[cfg(test)]
mod oauth_device;
#[cfg(test)]
mod oauth_device_polls;
#[cfg(test)]
mod oauth_document_fetches;
#[cfg(test)]
mod oauth_documents;
#[cfg(test)]
mod oauth_dpop;
#[cfg(test)]
mod oauth_ends;
#[cfg(test)]
mod oauth_introspection;
#[cfg(test)]
mod oauth_manage;
#[cfg(test)]
mod oauth_pushed;
#[cfg(test)]
mod oauth_registration;
#[cfg(test)]
mod oauth_restored;
#[cfg(test)]
mod oauth_rows;
#[cfg(test)]
mod oauth_standards;
mod own_data;
#[cfg(test)]
mod own_sessions;
mod pages;
#[cfg(test)]
mod pages_for_people;
#[cfg(test)]
mod passkey;
mod people;
#[cfg(test)]
mod plugins;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod proof_keys;
#[cfg(test)]
mod provider_links;
#[cfg(test)]
mod provider_sessions;
#[cfg(test)]
mod provider_sign_in;
#[cfg(test)]
mod proxies;
mod queries;
mod quotas;
#[cfg(test)]
mod races;
mod refusals;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod resources;
mod restart;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod restored_humans;
#[cfg(test)]
mod revocations;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod roots;
mod routes;
mod sessions;
#[cfg(test)]
mod signing_in;
#[cfg(test)]
mod signing_keys;
#[cfg(test)]
mod token_grants;
#[cfg(test)]
mod token_uses;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod tool_server_exchange;
#[cfg(test)]
mod totp;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod username_password;
#[cfg(test)]
mod users_admin;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod webhooks;

use kavachos_test::{Setup, TestApp};

/// How the server is set up. The same tests run on PostgreSQL in `acceptance_postgres`.
fn setup() -> Setup {
    Setup::default()
}

async fn start() -> TestApp {
    setup().start().await
}
