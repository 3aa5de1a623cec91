//! What must hold under load, for any bytes that come in, and when the disk fails. What must hold when the process is
//! killed is tested on the binary itself: `crates/kavachos-server/tests/cli/crash.rs`.
//!
//! Every test is bounded in time by its clients: a call that is not answered within [`kavachos_test::blocking::LONGEST_WAIT`]
//! fails it. Twins run the same scenario with one control switched off in the store beneath the engine
//! ([`support::store::Off`]) and must break, so that no test here passes vacuously.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot set itself up has failed"
)]

mod bad_input;
mod canary;
mod concurrency;
mod directory;
mod failures;
mod memory;
mod records;
mod revocation;
mod support;
