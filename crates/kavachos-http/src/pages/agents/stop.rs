//! Stopping an agent, letting it rest, taking back what was handed on: each asked about on a page of its own, since no
//! script asks.

use axum::extract::{Request, State as FromState};
use kavachos_core::id::{AgentId, GrantId, kind};

use super::list;
use super::tree::{Tree, size};
use crate::error::Failure;
use crate::pages::Shown;
use crate::pages::browser::Browser;
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{ConfirmAct, Room};
use crate::pages::words::counted;
use crate::routes::PathId;
use crate::state::State;

/// What is asked about.
struct Question {
    title: String,
    text: &'static str,
    consequences: Vec<String>,
    action: String,
    button: &'static str,
    back: String,
}

async fn ask(state: &State, browser: &Browser, question: Question) -> Shown {
    let page = ConfirmAct {
        shell: browser.shell(state, Room::Agents, question.title).await?,
        text: question.text.to_owned(),
        consequences: question.consequences,
        fields: Vec::new(),
        action: question.action,
        button: question.button,
        back: question.back,
    };
    html::page(Runs::Nothing, &page)
}

/// How many agents and delegations stop with an agent, in words.
async fn below(state: &State, browser: &Browser, id: AgentId) -> Result<(String, String), Failure> {
    let agent = state.engine.agent(&browser.actor, id).await?;
    let tree = Tree::read(state, browser, None).await?.with(&agent);
    let words = match size(&tree.agent(&agent, 0)) {
        0 => "Nothing else depends on it.".to_owned(),
        1 => "What stands below it stops with it.".to_owned(),
        count => format!(
            "{} and delegations below it stop with it.",
            counted(count, "agent")
        ),
    };
    Ok((agent.name, words))
}

pub(super) async fn ask_to_stop(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Agent>,
) -> Shown {
    let (name, others) = below(&state, &browser, id).await?;
    let question = Question {
        title: format!("Stop {name}?"),
        text: "This is for good: a stopped agent is never started again.",
        consequences: vec![
            "Its key stops working at once.".to_owned(),
            others,
            "What it did stays on record.".to_owned(),
        ],
        action: format!("/account/agents/{id}/stop"),
        button: "Stop it",
        back: format!("/account/agents/{id}"),
    };
    ask(&state, &browser, question).await
}

pub(super) async fn stop(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Agent>,
    request: Request,
) -> Shown {
    ours(&browser, request).await?;
    let name = state.engine.agent(&browser.actor, id).await?.name;
    let revoked = state.engine.revoke_agent(&browser.actor, id).await?;
    let tree = Tree::read(&state, &browser, None).await?;
    list::show(
        &state,
        &browser,
        &tree,
        Some(list::stopped(&name, &revoked)),
    )
    .await
}

pub(super) async fn ask_to_suspend(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Agent>,
) -> Shown {
    let (name, others) = below(&state, &browser, id).await?;
    let question = Question {
        title: format!("Suspend {name}?"),
        text: "It may do nothing until whoever runs this server lets it go on.",
        consequences: vec![
            "Its key stops working at once, for good.".to_owned(),
            others,
        ],
        action: format!("/account/agents/{id}/suspend"),
        button: "Suspend it",
        back: format!("/account/agents/{id}"),
    };
    ask(&state, &browser, question).await
}

pub(super) async fn suspend(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Agent>,
    request: Request,
) -> Shown {
    ours(&browser, request).await?;
    let name = state.engine.agent(&browser.actor, id).await?.name;
    let revoked = state.engine.suspend_agent(&browser.actor, id).await?.thing;
    let tree = Tree::read(&state, &browser, None).await?;
    list::show(
        &state,
        &browser,
        &tree,
        Some(list::stopped(&name, &revoked)),
    )
    .await
}

pub(super) async fn ask_to_take_back(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Grant>,
) -> Shown {
    let (from, to) = ends(&state, &browser, id).await?;
    let question = Question {
        title: "Take this authority back?".to_owned(),
        text: "This is for good. It can be handed on anew.",
        consequences: vec![
            format!("{to} may no longer do what {from} handed on to it."),
            "What it handed on in turn is gone, too.".to_owned(),
        ],
        action: format!("/account/delegations/{id}/stop"),
        button: "Take it back",
        back: "/account/agents".to_owned(),
    };
    ask(&state, &browser, question).await
}

/// The names of who gave a grant and who has it.
async fn ends(state: &State, browser: &Browser, id: GrantId) -> Result<(String, String), Failure> {
    let grant = state.engine.delegation(&browser.actor, id).await?;
    let names = super::names(state, browser).await?;
    let name = |id: String| {
        names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| "another agent".to_owned())
    };
    Ok((name(grant.from.to_string()), name(grant.to.to_string())))
}

pub(super) async fn take_back(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Grant>,
    request: Request,
) -> Shown {
    ours(&browser, request).await?;
    let revoked = state.engine.revoke_delegation(&browser.actor, id).await?;
    let tree = Tree::read(&state, &browser, None).await?;
    let notice = list::stopped("What was handed on", &revoked);
    list::show(&state, &browser, &tree, Some(notice)).await
}

async fn ours(browser: &Browser, request: Request) -> Result<Form, Failure> {
    let (parts, body) = request.into_parts();
    Form::read(&parts, body, browser.secret()).await
}
