//! The algebra of authority against a second reading of its rules, and against the faults of others.
//!
//! `cargo test -p kavachos-core --test authority` runs the short forms. The long form, a million random worlds, is
//! `cargo test --release -p kavachos-core --test authority -- --ignored`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    unreachable_pub,
    reason = "a test may panic, and has no outside"
)]

mod agree;
mod covers;
mod explaining;
mod faults;
mod merging;
mod naive;
mod naive_constraints;
mod narrowing;
mod random;
mod scene;
mod world;
mod writing;
