//! What the pages show, as plain values: no use case and no HTTP. A template reads one of these and nothing else.
//!
//! Promises: a text of somebody else's reaches a page only through the escaper ([`super::escape`]); `|safe` stands in
//! templates only at parts that are templates themselves.

mod account;
mod agents;
mod approvals;
mod connections;
mod consent;
mod device;
mod door;
mod frame;
mod icon;
mod parts;

pub(crate) use account::*;
pub(crate) use agents::*;
pub(crate) use approvals::*;
pub(crate) use connections::*;
pub(crate) use consent::*;
pub(crate) use device::*;
pub(crate) use door::*;
pub(crate) use frame::*;
pub(crate) use icon::Icon;
pub(crate) use parts::*;
