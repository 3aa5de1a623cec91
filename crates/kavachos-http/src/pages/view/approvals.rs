//! What waits for the human's word, and what became of it.

use askama::Template;

use super::frame::Shell;
use super::parts::{Chip, Time};

/// A request in a list.
pub(crate) struct Asked {
    pub(crate) href: String,
    pub(crate) agent: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) status: Chip,
    pub(crate) at: Time,
}

/// The requests, those that wait first.
#[derive(Template)]
#[template(path = "approvals.html")]
pub(crate) struct Approvals {
    pub(crate) shell: Shell,
    pub(crate) waiting: Vec<Asked>,
    pub(crate) answered: Vec<Asked>,
    /// Where more of those that wait are, and more of all.
    pub(crate) next_waiting: Option<String>,
    pub(crate) next: Option<String>,
}

/// One request.
#[derive(Template)]
#[template(path = "approval.html")]
pub(crate) struct Approval {
    pub(crate) shell: Shell,
    pub(crate) id: String,
    /// For whom the agent acts.
    pub(crate) human: String,
    pub(crate) agent: (String, String),
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) status: Chip,
    pub(crate) waits: bool,
    pub(crate) fresh: bool,
    /// The arguments, one by one, for a first look; the document is what counts.
    pub(crate) arguments: Vec<(String, String)>,
    pub(crate) document: String,
    pub(crate) digest: String,
    pub(crate) asked: Time,
    pub(crate) until: Time,
}
