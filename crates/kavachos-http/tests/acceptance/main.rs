//! What the API promises, over real HTTP. The tests are named after the lessons that they show: `f..` are faults of the
//! TypeScript original (part A), `b..` cases of acceptance (part B).
//!
//! Each refusal stands beside the same call with the control switched off, which is not refused.

mod authzen;
mod batch;
mod callers;
mod chains;
mod constraints;
mod conventions;
mod decisions;
mod delegations;
mod explain;
mod flood;
mod forward_auth;
mod idempotency;
mod ledger;
mod lifecycle;
mod nginx;
mod pages;
mod people;
mod queries;
mod quotas;
mod refusals;
mod resources;
mod restart;
mod routes;
