//! Applications that the human let in: all of them, and one.

use askama::Template;

use super::frame::Shell;
use super::parts::{Chip, Time};

/// One application among others.
pub(crate) struct ConnectionRow {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) status: Chip,
    /// By whose word it is what it says.
    pub(crate) word: String,
    /// The names of the tool servers.
    pub(crate) places: String,
    pub(crate) used: Option<Time>,
    /// How many lines of it are live.
    pub(crate) live: usize,
    /// Where it is ended; nothing if it is already.
    pub(crate) end: Option<String>,
}

/// My connections.
#[derive(Template)]
#[template(path = "connections.html")]
pub(crate) struct Connections {
    pub(crate) shell: Shell,
    pub(crate) all: Vec<ConnectionRow>,
    pub(crate) next: Option<String>,
    pub(crate) first: bool,
}

/// A tool server that an application was let in to.
pub(crate) struct ConnectedPlace {
    pub(crate) name: String,
    pub(crate) address: String,
    /// What each scope is, what it is called, and whether it is still had in full.
    pub(crate) scopes: Vec<(String, String, bool)>,
    pub(crate) since: Time,
    pub(crate) used: Option<Time>,
    /// Where a yes that is remembered is taken back.
    pub(crate) withdraw: Option<String>,
}

/// One time that the application was let in.
pub(crate) struct ConnectedLine {
    pub(crate) since: Time,
    pub(crate) used: Option<Time>,
    pub(crate) ends: Option<Time>,
    /// The names of the tool servers.
    pub(crate) places: String,
    pub(crate) bound: bool,
    /// Whether nothing came of it yet.
    pub(crate) waits: bool,
    /// Where it is ended.
    pub(crate) end: String,
}

/// One application.
#[derive(Template)]
#[template(path = "connection.html")]
pub(crate) struct Connection {
    pub(crate) shell: Shell,
    pub(crate) name: String,
    pub(crate) status: Chip,
    pub(crate) word: String,
    pub(crate) places: Vec<ConnectedPlace>,
    /// Those that are live.
    pub(crate) lines: Vec<ConnectedLine>,
    /// Those that ended.
    pub(crate) over: Vec<ConnectedLine>,
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) end: Option<String>,
    /// The agent that it is.
    pub(crate) agent: String,
    pub(crate) activity: String,
}
