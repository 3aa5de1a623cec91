//! The commands, one file for each group.

pub(crate) mod agent;
pub(crate) mod approval;
pub(crate) mod audit;
pub(crate) mod authorize;
pub(crate) mod backup;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod delegate;
pub(crate) mod destination;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod mail;
pub(crate) mod migrate;
pub(crate) mod moving;
pub(crate) mod resource;
pub(crate) mod restore;
pub(crate) mod revocations;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod signing_keys;
pub(crate) mod token;
pub(crate) mod user;
pub(crate) mod webhook;

/// What a command that did not fail came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it was asked: exit code 0.
    Done,
    /// It found out that the answer is no: exit code 1.
    Refused,
}

/// The members of the answer to everything that stops something.
const REVOKED: [&str; 2] = ["effectiveBy", "state"];
