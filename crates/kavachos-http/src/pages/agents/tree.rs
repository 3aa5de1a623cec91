//! Who acts for whom: agents under those that own them, and what was handed on under whoever handed it on.

use std::collections::HashMap;

use kavachos_core::id::{AgentId, GrantId};
use kavachos_core::principal::Owner;
use kavachos_core::time::Timestamp;
use kavachos_engine::page::PageOf;
use kavachos_engine::{Agent, AgentFilter, Delegation, GrantFilter};

use crate::error::Failure;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::view::Node;
use crate::pages::{first, words};

/// How many agents one page shows.
pub(super) const AGENTS: usize = 100;
/// How many delegations are looked at for one page.
const DELEGATIONS: usize = 500;
/// How deep the tree is drawn.
const MAX_DEPTH: usize = 16;

/// Agents and delegations, to be drawn.
pub(super) struct Tree {
    pub(super) agents: Vec<Agent>,
    delegations: Vec<Delegation>,
    names: HashMap<AgentId, String>,
    now: Timestamp,
    pub(super) next: Option<AgentId>,
    /// Whether nothing was left out.
    pub(super) is_whole: bool,
}

/// The names of the human's newest agents, by their ids.
pub(in crate::pages) async fn names(at: &At<Browser>) -> Result<HashMap<String, String>, Failure> {
    let page = first(DELEGATIONS);
    let agents = at
        .engine()
        .agents(&at.who.actor, AgentFilter::default(), page)
        .await?;
    let named = agents
        .items
        .into_iter()
        .map(|agent| (agent.id.to_string(), agent.name));
    Ok(named.collect())
}

impl Tree {
    pub(super) async fn read(at: &At<Browser>, after: Option<AgentId>) -> Result<Self, Failure> {
        let page = PageOf {
            after,
            limit: AGENTS,
        };
        let agents = at
            .engine()
            .agents(&at.who.actor, AgentFilter::default(), page)
            .await?;
        let page = first(DELEGATIONS);
        let grants = at
            .engine()
            .delegations(&at.who.actor, GrantFilter::default(), page)
            .await?;
        let roots: Vec<GrantId> = agents.items.iter().map(|agent| agent.grant_id).collect();
        let mut delegations = grants.items;
        delegations.retain(|grant| !roots.contains(&grant.id) && grant.reserved_for.is_none());
        Ok(Self {
            names: agents
                .items
                .iter()
                .map(|agent| (agent.id, agent.name.clone()))
                .collect(),
            agents: agents.items,
            delegations,
            now: at.engine().now(),
            is_whole: after.is_none() && agents.next.is_none() && grants.next.is_none(),
            next: agents.next,
        })
    }

    /// Those that stand right below the human, or whose owner is on another page.
    pub(super) fn roots(&self) -> Vec<Node> {
        let is_root = |agent: &&Agent| match agent.owner_id {
            Owner::User(_) => true,
            Owner::Agent(owner) => !self.names.contains_key(&owner),
        };
        let mut roots: Vec<Node> = self
            .agents
            .iter()
            .filter(is_root)
            .map(|agent| self.agent(agent, 0))
            .collect();
        roots.sort_by_key(|node| node.gone);
        roots
    }

    /// An agent with all that is below it.
    pub(super) fn agent(&self, agent: &Agent, depth: usize) -> Node {
        let (can, more) = words::permissions(&agent.permissions);
        let id = agent.id;
        let gone = agent.status != "active" && agent.status != "suspended";
        Node {
            name: agent.name.clone(),
            href: format!("/account/agents/{id}"),
            what: self.what(agent),
            status: words::status(agent.status),
            can,
            more,
            stop: (!gone).then(|| format!("/account/agents/{id}/stop")),
            stop_word: "Stop",
            is_grant: false,
            gone,
            below: if depth < MAX_DEPTH {
                self.below(id, depth + 1)
            } else {
                Vec::new()
            },
        }
    }

    fn below(&self, id: AgentId, depth: usize) -> Vec<Node> {
        let owned = self
            .agents
            .iter()
            .filter(|agent| agent.owner_id == Owner::Agent(id));
        let mut below: Vec<Node> = owned.map(|agent| self.agent(agent, depth)).collect();
        let given = self
            .delegations
            .iter()
            .filter(|grant| grant.from == Owner::Agent(id));
        below.extend(
            given
                .filter(|grant| grant.status == "active")
                .map(|grant| self.grant(grant)),
        );
        below
    }

    fn grant(&self, grant: &Delegation) -> Node {
        let (can, more) = words::permissions(&grant.permissions);
        let to = self
            .names
            .get(&grant.to)
            .map_or("another agent", String::as_str);
        let until = grant
            .expires_at
            .map(|at| format!(" until {}", words::date(at)));
        let why = grant.reason.as_deref().filter(|reason| !reason.is_empty());
        let why = why.map(|reason| format!(": “{reason}”"));
        Node {
            name: format!("to {to}"),
            href: format!("/account/agents/{}", grant.to),
            what: format!(
                "handed on{}{}",
                until.unwrap_or_default(),
                why.unwrap_or_default()
            ),
            status: words::status(grant.status),
            can,
            more,
            stop: Some(format!("/account/delegations/{}/stop", grant.id)),
            stop_word: "Take back",
            is_grant: true,
            ..Node::default()
        }
    }

    fn what(&self, agent: &Agent) -> String {
        let kind = match agent.kind.as_str() {
            "autonomous" => "autonomous agent",
            "delegated" => "works while you are there",
            "service" => "service",
            _ => "agent",
        };
        let owner = match agent.owner_id {
            Owner::User(_) => None,
            Owner::Agent(owner) => Some(
                self.names
                    .get(&owner)
                    .map_or("another agent", String::as_str),
            ),
        };
        let made_by = owner
            .map(|name| format!(", made by {name}"))
            .unwrap_or_default();
        let until = agent.expires_at.filter(|at| *at > self.now);
        let until = until
            .map(|at| format!(", until {}", words::date(at)))
            .unwrap_or_default();
        format!("{kind}{made_by}{until}")
    }

    /// The agent with this id, if it is on the page.
    pub(super) fn find(&self, id: AgentId) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.id == id)
    }

    /// With one more agent, which need not be on the page.
    pub(super) fn with(mut self, agent: &Agent) -> Self {
        if self.find(agent.id).is_none() {
            self.names.insert(agent.id, agent.name.clone());
            self.delegations.retain(|grant| grant.id != agent.grant_id);
            self.agents.push(agent.clone());
        }
        self
    }

    /// The owners of an agent from the human down, who is called like this, with where they are shown.
    pub(super) fn above(&self, agent: &Agent, human: String) -> Vec<(String, String)> {
        let mut above = Vec::new();
        let mut owner = agent.owner_id;
        for _ in 0..MAX_DEPTH {
            let Owner::Agent(id) = owner else { break };
            let name = self.names.get(&id).map_or("another agent", String::as_str);
            above.push((name.to_owned(), format!("/account/agents/{id}")));
            let Some(next) = self.find(id) else { break };
            owner = next.owner_id;
        }
        above.push((human, String::new()));
        above.reverse();
        above
    }
}

/// How many nodes there are below one.
pub(super) fn size(node: &Node) -> u64 {
    node.below.iter().map(|one| 1 + size(one)).sum()
}
