//! `GET /account/approvals`: those that wait first, then what became of the others.

use std::collections::HashMap;

use axum::extract::State as FromState;
use kavachos_core::id::ApprovalId;
use kavachos_engine::page::{PageOf, decode_cursor, encode_cursor};
use kavachos_engine::{Approval, ApprovalFilter, Stage};

use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Asked, Notice, Room};
use crate::pages::{Shown, agents, words};
use crate::params::Params;
use crate::state::State;

/// How many requests a page shows.
const REQUESTS: usize = 50;

pub(super) async fn handle(
    FromState(state): FromState<State>,
    browser: Browser,
    mut params: Params,
) -> Shown {
    let cursor: Option<String> = params.take("cursor")?;
    params.end()?;
    let after = cursor.map(|text| decode_cursor(&text, "")).transpose()?;
    show(&state, &browser, after, None).await
}

pub(super) async fn show(
    state: &State,
    browser: &Browser,
    after: Option<ApprovalId>,
    notice: Option<Notice>,
) -> Shown {
    let names = agents::names(state, browser).await?;
    let pending = ApprovalFilter {
        stage: Some(Stage::Pending),
        ..ApprovalFilter::default()
    };
    let page = PageOf {
        after: None,
        limit: REQUESTS,
    };
    let waiting = state
        .engine
        .approvals(&browser.actor, pending, page)
        .await?;
    let page = PageOf {
        after,
        limit: REQUESTS,
    };
    let all = state
        .engine
        .approvals(&browser.actor, ApprovalFilter::default(), page)
        .await?;
    let asked = |one: &Approval| told(one, &names, state);
    let mut shell = browser.shell(state, Room::Approvals, "Approvals").await?;
    shell.frame.notice = notice;
    let page = view::Approvals {
        shell,
        waiting: waiting.items.iter().map(asked).collect(),
        answered: all
            .items
            .iter()
            .filter(|one| one.status != "pending")
            .map(asked)
            .collect(),
        next: all
            .next
            .map(|id| format!("/account/approvals?cursor={}", encode_cursor(&id, ""))),
    };
    html::page(Runs::Nothing, &page)
}

fn told(one: &Approval, names: &HashMap<String, String>, state: &State) -> Asked {
    let agent = names.get(&one.agent_id.to_string());
    Asked {
        href: format!("/account/approvals/{}", one.id),
        agent: agent.cloned().unwrap_or_else(|| "An agent".to_owned()),
        action: one.action.clone(),
        resource: one.resource.clone(),
        status: words::stage(one.status),
        at: words::time(one.decided_at.unwrap_or(one.created_at), state.engine.now()),
    }
}
