//! What a decision is made from: everything that is known of the agent, and the request.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::count::Full;
use crate::action::Action;
use crate::constraint::Cost;
use crate::grant::Path;
use crate::id::UserId;
use crate::principal::{Agent, User};
use crate::resource::Resource;

/// What is known of the agent that asks. Whatever is missing here permits nothing.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The agent; `None` when there is none with this id.
    pub agent: Option<Agent>,
    /// How the agent was named.
    pub credential: Credential,
    /// The agents above it, its owner first.
    pub owners: Vec<Agent>,
    /// The human at the top of its owners.
    pub user: Option<Arc<User>>,
    /// The human for whom the request is made (`for`); `None` is the agent's own.
    pub subject: Option<UserId>,
    /// Every path of grants that ends at the agent, from any human, in any order.
    pub paths: Vec<Path>,
}

/// How the agent was named, and whether its key is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// By its id: keys play no part.
    ById,
    /// By a key that is good.
    KeyLive,
    /// By a key whose time is over.
    KeyExpired,
    /// By a key that was revoked.
    KeyRevoked,
}

/// What the agent wants to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is done.
    pub action: Action,
    /// What it is done to.
    pub resource: Resource,
    /// The arguments of the tool call, read with [`crate::json::parse`].
    pub arguments: Option<Value>,
    /// Where the call comes from.
    pub ip: Option<IpAddr>,
    /// What the call costs, in another unit than calls.
    pub cost: Option<Cost>,
}

/// What was found out about counters and approvals since the facts were gathered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Counters that the writer found full.
    pub full: &'a [Full],
    /// Approvals of this very call, at most one for each path.
    pub approvals: &'a [Approval],
}

/// What a human said of this very call on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval {
    /// The path's position in [`Facts::paths`].
    pub path: usize,
    /// What was said.
    pub answer: Answer,
}

/// A human's answer to a request for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// None yet, and there is time left.
    Pending,
    /// Yes; it has not been used.
    Approved,
    /// No, and its time is not over.
    Denied,
}

impl Facts {
    /// What is known of an agent that does not exist.
    pub const fn unknown() -> Self {
        Self {
            agent: None,
            credential: Credential::ById,
            owners: Vec::new(),
            user: None,
            subject: None,
            paths: Vec::new(),
        }
    }
}
