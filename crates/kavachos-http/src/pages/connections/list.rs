//! `GET /account/connections`: the applications that the human let in, those that are live first.

use kavachos_core::id::AgentId;
use kavachos_engine::Connection;
use kavachos_engine::page::{PageOf, decode_cursor, encode_cursor};

use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room};
use crate::pages::{Shown, words};
use crate::params::Params;

/// How many connections one page shows.
const CONNECTIONS: usize = 25;
const PATH: &str = "/account/connections";

pub(super) async fn handle(at: At<Browser>, mut params: Params) -> Shown {
    let cursor: Option<String> = params.take("cursor")?;
    params.end()?;
    let after = cursor.map(|text| decode_cursor(&text, "")).transpose()?;
    show(&at, after, None).await
}

pub(super) async fn show(
    at: &At<Browser>,
    after: Option<AgentId>,
    notice: Option<Notice>,
) -> Shown {
    let page = PageOf {
        after,
        limit: CONNECTIONS,
    };
    let found = at.engine().connections(&at.who.actor, None, page).await?;
    let mut items = found.items;
    items.sort_by_key(is_gone);
    let mut shell = at.shell(Room::Connections, "Connections").await?;
    shell.frame.notice = notice;
    let page = view::Connections {
        shell,
        all: items.iter().map(|one| row(at, one)).collect(),
        next: found
            .next
            .map(|id| format!("{PATH}?cursor={}", encode_cursor(&id, ""))),
        first: after.is_none(),
    };
    html::page(Runs::Nothing, &page)
}

/// Whether it ended for good.
pub(super) fn is_gone(one: &Connection) -> bool {
    !["active", "suspended"].contains(&one.status)
}

fn row(at: &At<Browser>, one: &Connection) -> view::ConnectionRow {
    let now = at.engine().now();
    let names: Vec<&str> = one.resources.iter().map(|to| to.name.as_str()).collect();
    let href = format!("{PATH}/{}", one.agent_id);
    let live = one.lines.iter().filter(|line| line.status == "active");
    view::ConnectionRow {
        name: one.name.clone(),
        status: words::status(one.status),
        word: words::said_by(&one.source, one.host.as_deref()),
        places: names.join(", "),
        used: one.used_at.map(|used| words::time(used, now)),
        live: live.count(),
        end: (!is_gone(one)).then(|| format!("{href}/end")),
        href,
    }
}
