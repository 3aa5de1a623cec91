//! What KavachOS stores, and the one way in which it changes.
//!
//! Every change of state goes through [`Store::commit`]: a [`Batch`] is data (what must still hold, the writes, the
//! takes from counters, the kills, the ledger entries that describe them), is applied all or nothing, and is answered
//! after it is on disk. There are no interactive transactions: a use case reads, decides in pure code, and commits;
//! on [`CommitError::Conflict`] it reads and decides again.
//!
//! The contract is portable: without features this crate has no threads, no files and no database. Feature `sqlite`
//! brings the executor for SQLite, `postgres` the one for PostgreSQL, `conformance` the cases that every executor must
//! pass. It depends on `kavachos-core` alone and knows no rules: who may do what is decided above, before the batch is
//! made.

mod answer;
mod batch;
mod contract;
mod host;
mod page;
mod passage;
mod principal;
mod row;

pub mod agent;
pub mod approval;
pub mod begun_kill;
pub mod checkup;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod connection;
pub mod counter;
pub mod device_request;
pub mod former_address;
pub mod former_identity;
pub mod given_identity;
pub mod grant;
pub mod guess;
pub mod guess_run;
pub mod handle;
pub mod id_token;
pub mod idempotency;
pub mod known_device;
pub mod ledger;
pub mod mail;
pub mod maker;
pub mod migration;
pub mod not_me;
pub mod oauth_client;
pub mod operator_key;
pub mod password;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod promise;
pub mod proof;
pub mod pushed_request;
pub mod refresh_line;
pub mod restoration;
pub mod restore;
pub mod revocation;
pub mod second_factor;
pub mod session;
pub mod session_handle;
pub mod sign_in;
pub mod signing_key;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod token_grant;
pub mod tool_server;
pub mod transfer;
pub mod user;
pub mod user_search;
pub mod vouching;
pub mod webhook;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod writer;

pub use answer::{CommitError, Head, Health, ReadError, Receipt};
pub use batch::{
    Batch, Effect, MAX_COUNTER_BYTES, MAX_PARAMS, MAX_TEXT_BYTES, MAX_WRITES, Param, Rows, Take,
    Write,
};
pub use contract::{BoxFuture, Observer, Store};
pub use host::{Clock, Host, Rng};
pub use page::{Listed, MAX_PAGE_BYTES};
pub use passage::{Filled, Filling, Snapshot};
pub use row::{Cell, FromCell, FromRow, MAX_QUERIES, Malformed, Query, Row, Select};
