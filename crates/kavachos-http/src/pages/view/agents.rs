//! Agents: all of them with who acts for whom, one, a new one.

use askama::Template;

use super::frame::Shell;
use super::parts::{Can, Chip, Field, Time};

/// An agent or a delegation, with what is below it.
#[derive(Debug, Clone, Template, Default)]
#[template(path = "parts/node.html")]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) href: String,
    /// What it is, in words.
    pub(crate) what: String,
    pub(crate) status: Chip,
    pub(crate) can: Vec<Can>,
    /// How many permissions are not listed.
    pub(crate) more: usize,
    /// Where it is stopped; nothing if it is already.
    pub(crate) stop: Option<String>,
    /// What the button says.
    pub(crate) stop_word: &'static str,
    pub(crate) is_grant: bool,
    pub(crate) gone: bool,
    pub(crate) below: Vec<Node>,
}

/// My agents.
#[derive(Template)]
#[template(path = "agents.html")]
pub(crate) struct Agents {
    pub(crate) shell: Shell,
    pub(crate) roots: Vec<Node>,
    pub(crate) next: Option<String>,
}

/// One agent.
#[derive(Template)]
#[template(path = "agent.html")]
pub(crate) struct Agent {
    pub(crate) shell: Shell,
    pub(crate) node: Node,
    /// The names from the human down.
    pub(crate) above: Vec<(String, String)>,
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) suspend: Option<String>,
    /// What is told of it as an application that was let in.
    pub(crate) connection: Option<String>,
    pub(crate) activity: String,
}

/// A permission that is being written.
pub(crate) struct Rule {
    /// Its number, from 1.
    pub(crate) number: usize,
    pub(crate) resource: Field,
    pub(crate) actions: Field,
    pub(crate) approval: bool,
}

/// A new agent.
#[derive(Template)]
#[template(path = "agent_new.html")]
pub(crate) struct NewAgent {
    pub(crate) shell: Shell,
    pub(crate) name: Field,
    /// The value, its word, what it means, whether it is chosen.
    pub(crate) kinds: Vec<(&'static str, &'static str, &'static str, bool)>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) rules_error: Option<String>,
    /// The value, its words, whether it is chosen.
    pub(crate) lives: Vec<(&'static str, &'static str, bool)>,
    pub(crate) more_rules: bool,
    /// What makes one form one agent, however often it is sent.
    pub(crate) once: String,
    /// From when on its life counts.
    pub(crate) opened: String,
}

/// A new agent's key, shown once.
#[derive(Template)]
#[template(path = "agent_key.html")]
pub(crate) struct AgentKey {
    pub(crate) shell: Shell,
    pub(crate) agent: String,
    pub(crate) href: String,
    pub(crate) key: String,
    pub(crate) until: Time,
}
