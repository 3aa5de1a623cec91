//! The executor for D1 against D1 in miniflare. `run.sh` starts these tests.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

mod conformance;
mod lost;
mod server;
mod several;
