//! `GET /account/approvals/{id}`: one request, with all that is approved, to the last character.

use kavachos_core::id::kind;
use kavachos_engine::Approval;
use serde_json::Value;

use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::escape::spelled_out;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room};
use crate::pages::{Shown, words};
use crate::routes::PathId;

/// How many arguments are shown apart, and how much of each: the document has them all.
const ARGUMENTS: usize = 12;
const ARGUMENT_CHARS: usize = 200;

pub(super) async fn handle(at: At<Browser>, PathId(id): PathId<kind::Approval>) -> Shown {
    let approval = at.engine().approval(&at.who.actor, id).await?;
    show(&at, approval, None).await
}

pub(super) async fn show(at: &At<Browser>, approval: Approval, notice: Option<Notice>) -> Shown {
    let agent = at.engine().agent(&at.who.actor, approval.agent_id).await;
    let name = agent.map_or_else(|_| "An agent".to_owned(), |agent| agent.name);
    let now = at.engine().now();
    let mut shell = at.shell(Room::Approvals, "Approval").await?;
    shell.frame.notice = notice;
    let page = view::Approval {
        shell,
        id: approval.id.to_string(),
        human: at.called(approval.user_id).await?,
        agent: (name, format!("/account/agents/{}", approval.agent_id)),
        status: words::stage(approval.status),
        waits: approval.status == "pending",
        fresh: at.is_fresh(),
        arguments: arguments(&approval.document),
        asked: words::time(approval.created_at, now),
        until: words::time(approval.expires_at, now),
        action: approval.action,
        resource: approval.resource,
        document: approval.document,
        digest: approval.digest,
    };
    html::page(Runs::Nothing, &page)
}

/// The arguments of a call, one by one, for a first look.
fn arguments(document: &str) -> Vec<(String, String)> {
    let read: Value = serde_json::from_str(document).unwrap_or_default();
    let Some(members) = read.get("arguments").and_then(Value::as_object) else {
        return Vec::new();
    };
    let shown = |value: &Value| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let cut: String = text.chars().take(ARGUMENT_CHARS).collect();
        if cut.len() < text.len() {
            cut + "…"
        } else {
            cut
        }
    };
    members
        .iter()
        .take(ARGUMENTS)
        .map(|(name, value)| (spelled_out(name), spelled_out(&shown(value))))
        .collect()
}
