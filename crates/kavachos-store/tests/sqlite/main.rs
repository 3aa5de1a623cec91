//! The SQLite executor.

#[path = "../support/mod.rs"]
mod support;

mod conformance;
mod file;
mod plans;
