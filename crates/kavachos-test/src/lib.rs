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

#[cfg(feature = "app")]
mod app;
#[cfg(all(unix, feature = "app"))]
mod at_rest;
#[cfg(feature = "app")]
pub mod blocking;
#[cfg(feature = "app")]
mod client;
#[cfg(feature = "app")]
mod clock;
#[cfg(feature = "app")]
mod contract;
#[cfg(feature = "app")]
mod database;
pub mod inside;
#[cfg(feature = "app")]
mod keeper;
#[cfg(feature = "app")]
mod kills;
#[cfg(feature = "app")]
pub mod notes;
#[cfg(feature = "app")]
mod permissions;
#[cfg(unix)]
pub mod postgres;
#[cfg(feature = "app")]
mod provider;
#[cfg(feature = "app")]
mod receiver;
#[cfg(feature = "app")]
mod rng;
#[cfg(feature = "app")]
mod server;
#[cfg(feature = "app")]
mod smtp;
#[cfg(feature = "app")]
mod snapshot;

#[cfg(feature = "app")]
pub use kavachos;

#[cfg(feature = "app")]
pub use self::{
    app::{Setup, TestAgent, TestApp, TestSession},
    client::{Call, Client, Event, Events, Reply},
    clock::{ManualClock, START},
    contract::{Contract, Declared, Sent, contract},
    database::{copied, damage, stored_head},
    keeper::Keeper,
    kills::{all_rows, copy_agent, kill_strangers},
    permissions::{may, may_under},
    provider::{KeysAnswer, ProviderSigner, TestProvider},
    receiver::{Message, Receiver},
    rng::SeededRng,
    server::Server,
    smtp::{Delivered, SmtpAnswer, SmtpTls, TestSmtp},
};
