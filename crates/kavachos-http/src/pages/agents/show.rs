//! `GET /account/agents/{id}`: one agent, what it may do, who gave it that, and what it handed on.

use kavachos_core::id::{AgentId, kind};
use kavachos_engine::Agent;

use super::tree::Tree;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room};
use crate::pages::{Shown, words};
use crate::routes::PathId;

pub(super) async fn handle(at: At<Browser>, PathId(id): PathId<kind::Agent>) -> Shown {
    show(&at, id, None).await
}

pub(super) async fn show(at: &At<Browser>, id: AgentId, notice: Option<Notice>) -> Shown {
    let agent = at.engine().agent(&at.who.actor, id).await?;
    let tree = Tree::read(at, None).await?.with(&agent);
    let mut shell = at.shell(Room::Agents, agent.name.clone()).await?;
    shell.frame.notice = notice;
    let is_connection = at.engine().is_connection(id).await?;
    let page = view::Agent {
        shell,
        node: tree.agent(&agent, 0),
        above: tree.above(&agent, at.called(agent.user_id).await?),
        facts: facts(&agent, is_connection),
        connection: is_connection.then(|| format!("/account/connections/{id}")),
        suspend: (agent.status == "active").then(|| format!("/account/agents/{id}/suspend")),
        activity: format!("/account/activity?agent={id}"),
    };
    html::page(Runs::Nothing, &page)
}

fn facts(agent: &Agent, is_connection: bool) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Created", words::date(agent.created_at))];
    // What an application holds is nobody's to show, and told with it.
    if !is_connection {
        let key = agent
            .key_expires_at
            .map_or("it has no live key".to_owned(), words::date);
        facts.push(("Key works until", key));
    }
    if let Some(at) = agent.expires_at {
        facts.push(("Ends", words::date(at)));
    }
    if let Some(guards) = &agent.guards {
        facts.push(("Always", words::terms(guards).join(", ")));
    }
    facts.push(("Id", agent.id.to_string()));
    facts
}
