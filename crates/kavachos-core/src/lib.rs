//! The pure heart of KavachOS: what an authority is, how it narrows, and how a request is decided.
//!
//! Promises: no function here waits, reads a clock, draws randomness, touches a file or the environment, or panics.
//! Time is an argument, randomness is an argument, and the same inputs give the same answer on every target,
//! `wasm32-unknown-unknown` included. It depends on no other crate of the workspace.

pub mod action;
mod base64url;
pub mod client;
pub mod constraint;
pub mod counter;
pub mod decide;
pub mod grant;
pub mod hex;
pub mod id;
pub mod id_token;
pub mod invalid;
pub mod json;
pub mod ledger;
pub mod permission;
pub mod principal;
pub mod resource;
pub mod revocation;
#[cfg(feature = "schema")]
mod schema;
pub mod secret;
pub mod time;
pub mod token;
pub mod tool_server;
pub mod unseen;
