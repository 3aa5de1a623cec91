//! `GET /account/approvals`: those that wait first, then what became of the others.

use std::collections::HashMap;

use kavachos_core::id::ApprovalId;
use kavachos_engine::page::{PageOf, decode_cursor, encode_cursor};
use kavachos_engine::{Approval, ApprovalFilter, Stage};

use crate::error::Failure;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Asked, Notice, Room};
use crate::pages::{Shown, agents, words};
use crate::params::Params;

/// How many requests a page shows.
const REQUESTS: usize = 50;
/// What says where those that wait go on, and all.
const WAITING: &str = "waiting";
const ALL: &str = "cursor";

pub(super) async fn handle(at: At<Browser>, mut params: Params) -> Shown {
    let mut after = |name| -> Result<Option<ApprovalId>, Failure> {
        let cursor: Option<String> = params.take(name)?;
        Ok(cursor.map(|text| decode_cursor(&text, "")).transpose()?)
    };
    let after = After {
        waiting: after(WAITING)?,
        all: after(ALL)?,
    };
    params.end()?;
    show(&at, after, None).await
}

/// Where the two lists go on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct After {
    waiting: Option<ApprovalId>,
    all: Option<ApprovalId>,
}

pub(super) async fn show(at: &At<Browser>, after: After, notice: Option<Notice>) -> Shown {
    let names = agents::names(at).await?;
    let pending = ApprovalFilter {
        stage: Some(Stage::Pending),
        ..ApprovalFilter::default()
    };
    let from = |after| PageOf {
        after,
        limit: REQUESTS,
    };
    let (engine, actor) = (at.engine(), &at.who.actor);
    let waiting = engine
        .approvals(actor, pending, from(after.waiting))
        .await?;
    let every = ApprovalFilter::default();
    let all = engine.approvals(actor, every, from(after.all)).await?;
    let asked = |one: &Approval| told(one, &names, at);
    let mut shell = at.shell(Room::Approvals, "Approvals").await?;
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
        next_waiting: waiting.next.map(|id| further(WAITING, id)),
        next: all.next.map(|id| further(ALL, id)),
    };
    html::page(Runs::Nothing, &page)
}

fn further(list: &str, id: ApprovalId) -> String {
    format!("/account/approvals?{list}={}", encode_cursor(&id, ""))
}

fn told(one: &Approval, names: &HashMap<String, String>, at: &At<Browser>) -> Asked {
    let agent = names.get(&one.agent_id.to_string());
    Asked {
        href: format!("/account/approvals/{}", one.id),
        agent: agent.cloned().unwrap_or_else(|| "An agent".to_owned()),
        action: one.action.clone(),
        resource: one.resource.clone(),
        status: words::stage(one.status),
        at: words::time(one.decided_at.unwrap_or(one.created_at), at.engine().now()),
    }
}
