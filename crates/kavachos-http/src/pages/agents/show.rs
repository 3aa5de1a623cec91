//! `GET /account/agents/{id}`: one agent, what it may do, who gave it that, and what it handed on.

use axum::extract::State as FromState;
use kavachos_core::id::kind;
use kavachos_engine::Agent;

use super::tree::Tree;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Room};
use crate::pages::{Shown, words};
use crate::routes::PathId;
use crate::state::State;

pub(super) async fn handle(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Agent>,
) -> Shown {
    let agent = state.engine.agent(&browser.actor, id).await?;
    let tree = Tree::read(&state, &browser, None).await?.with(&agent);
    let page = view::Agent {
        shell: browser
            .shell(&state, Room::Agents, agent.name.clone())
            .await?,
        node: tree.agent(&agent, 0),
        above: tree.above(&agent),
        facts: facts(&agent),
        suspend: (agent.status == "active").then(|| format!("/account/agents/{id}/suspend")),
        activity: format!("/account/activity?agent={id}"),
    };
    html::page(Runs::Nothing, &page)
}

fn facts(agent: &Agent) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Created", words::date(agent.created_at))];
    let key = agent
        .key_expires_at
        .map_or("it has no live key".to_owned(), words::date);
    facts.push(("Key works until", key));
    if let Some(at) = agent.expires_at {
        facts.push(("Ends", words::date(at)));
    }
    if let Some(guards) = &agent.guards {
        facts.push(("Always", words::terms(guards).join(", ")));
    }
    facts.push(("Id", agent.id.to_string()));
    facts
}
