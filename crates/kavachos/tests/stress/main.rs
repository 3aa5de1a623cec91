//! What must hold under load, under a kill at any moment, for any bytes that come in, and when the disk fails.
//!
//! Every test is bounded in time by its clients: a call that is not answered within [`support::client::LONGEST_WAIT`]
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
mod crash;
mod directory;
mod failures;
mod memory;
mod records;
mod revocation;
mod support;
