//! The PostgreSQL executor, on a cluster that these tests start and share.

#[path = "../support/mod.rs"]
mod support;

mod conformance;
mod failures;
mod proxy;
mod server;
