//! The promise of the revocation feed against everything that can happen to it: a kill that the issuer acknowledged at
//! T ends what it ends at every follower with lease S before T + S, whatever the network, the machines and their clocks
//! do, if one clock of each machine is right.
//!
//! `cargo test -p kavachos-core --test lease` runs the short forms. The long form is
//! `cargo test --release -p kavachos-core --test lease -- --ignored`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may panic, and has no outside"
)]

mod issuer;
mod liveness;
mod machine;
mod mutation;
mod network;
mod promise;
mod schedule;
mod world;
