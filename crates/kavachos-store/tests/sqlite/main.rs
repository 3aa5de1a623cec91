//! The SQLite executor.

#[path = "../support/mod.rs"]
mod support;

mod conformance;
mod file;
#[cfg(test)]
mod plans;
