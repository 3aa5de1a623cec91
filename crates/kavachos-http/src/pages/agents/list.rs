//! `GET /account/agents`: all of them, and who acts for whom.

use kavachos_engine::page::{decode_cursor, encode_cursor};

use super::tree::Tree;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room};
use crate::pages::{Shown, words};
use crate::params::Params;

pub(super) async fn handle(at: At<Browser>, mut params: Params) -> Shown {
    let cursor: Option<String> = params.take("cursor")?;
    params.end()?;
    let after = cursor.map(|text| decode_cursor(&text, "")).transpose()?;
    let tree = Tree::read(&at, after).await?;
    show(&at, &tree, None).await
}

pub(super) async fn show(at: &At<Browser>, tree: &Tree, notice: Option<Notice>) -> Shown {
    let mut shell = at.shell(Room::Agents, "Agents").await?;
    shell.frame.notice = notice;
    let next = tree
        .next
        .map(|id| format!("/account/agents?cursor={}", encode_cursor(&id, "")));
    html::page(
        Runs::Nothing,
        &view::Agents {
            shell,
            roots: tree.roots(),
            next,
        },
    )
}

/// Says that something is stopped, and from when on.
pub(in crate::pages) fn stopped(name: &str, revoked: &kavachos_engine::Revoked) -> Notice {
    let when = words::clock(revoked.effective_by);
    let text = match revoked.state {
        kavachos_engine::Reach::Closed => {
            format!("{name} is stopped. Nobody accepts it any more, since {when}.")
        }
        kavachos_engine::Reach::Partial => format!(
            "{name} is stopped here. By {when} at the latest nobody else accepts it either."
        ),
    };
    Notice::new("ok", text)
}
