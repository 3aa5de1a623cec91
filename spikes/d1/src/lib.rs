//! Whether the store's contract fits Cloudflare D1: a thin executor, for the conformance suite and for the measurements
//! behind `docs/adr/0014`. A spike: nothing of the product depends on it, and it is no supported store.
//!
//! A group of batches is one D1 `batch()`. It begins by moving the head of the log from where this executor believes it
//! to be, so whatever it worked out beforehand (numbers, the tree, the states of counters) holds or nothing is applied.
//! What has to hold between two statements is asserted in SQL by a guard, which fails the whole `batch()` and says at
//! which step. Any number of executors may share a database: who comes second loses, reads the head again and works its
//! group out anew.
//!
//! Knows D1 only through [`Link`]: one call that runs statements all or nothing.

mod draft;
mod guard;
mod http;
mod link;
mod reader;
mod schema;
mod session;
mod store;
mod text;

/// The parts that the writers of all databases share are private to the store; they are compiled in from its files, so
/// that its API does not grow for a spike.
#[expect(
    dead_code,
    reason = "a group is smaller here, and handles are looked up in SQL"
)]
#[path = "../../../crates/kavachos-store/src/writer/mod.rs"]
mod writer;

// The names under which these files know the contract.
mod answer {
    pub(crate) use kavachos_store::{CommitError, Head, Health, ReadError, Receipt};
}
mod batch {
    pub(crate) use kavachos_store::{Batch, Effect, Take, Write};
}
mod contract {
    pub(crate) use kavachos_store::{BoxFuture, Observer};
}
mod passage {
    pub(crate) use kavachos_store::{Filled, Filling, Snapshot};
}
mod row {
    pub(crate) use kavachos_store::{MAX_QUERIES, Query, Row};
}
use kavachos_store::migration;

pub use http::Http;
pub use link::{Link, LinkError, Statement, Tally};
pub use store::{D1Store, OpenError};
