//! What the tests of the crates share: a server that is ready to be called, a clock and randomness that tests own, and
//! a small HTTP client.
//!
//! Promises: real HTTP over the loopback; no sleep, no wall time, no outside network; every wait is bounded. What
//! cannot be set up panics: a test that cannot begin has failed. Only tests use this crate.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

mod app;
pub mod blocking;
mod client;
mod clock;
mod database;
mod permissions;
mod receiver;
mod rng;
mod server;
mod snapshot;

pub use app::{Setup, TestAgent, TestApp};
pub use client::{Call, Client, Event, Events, Reply};
pub use clock::{ManualClock, START};
pub use database::{damage, stored_head};
pub use permissions::{may, may_under};
pub use receiver::{Message, Receiver};
pub use rng::SeededRng;
pub use server::Server;
