//! Ending an application, which is asked about on a page of its own; ending one line of it, and having it ask again, which are
//! done at once: neither takes anything that is not had back by a yes.

use kavachos_core::id::kind;

use super::{list, show};
use crate::pages::Shown;
use crate::pages::agents::stopped;
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{ConfirmAct, Notice, Room};
use crate::routes::PathId;
use crate::routes::connections::{PathLine, PathResource};

pub(super) async fn ask(at: At<Browser>, PathId(id): PathId<kind::Agent>) -> Shown {
    let one = at.engine().connection(&at.who.actor, id).await?;
    let page = format!("/account/connections/{id}");
    let question = ConfirmAct {
        shell: at
            .shell(Room::Connections, format!("End {}?", one.name))
            .await?,
        text: "It may do nothing for you any more, wherever it is used.".to_owned(),
        consequences: vec![
            "All that it was given stops working at once.".to_owned(),
            "If it asks again, you are asked, and it begins anew.".to_owned(),
            "What it did stays on record.".to_owned(),
        ],
        fields: Vec::new(),
        action: format!("{page}/end"),
        button: "End it",
        back: page,
    };
    html::page(Runs::Nothing, &question)
}

pub(super) async fn connection(
    PathId(id): PathId<kind::Agent>,
    Sent { at, .. }: Sent<Browser>,
) -> Shown {
    let name = at.engine().connection(&at.who.actor, id).await?.name;
    let revoked = at.engine().revoke_connection(&at.who.actor, id).await?;
    list::show(&at, None, Some(stopped(&name, &revoked))).await
}

pub(super) async fn line(
    PathId(id): PathId<kind::Agent>,
    PathLine(line): PathLine,
    Sent { at, .. }: Sent<Browser>,
) -> Shown {
    let revoked = at.engine().revoke_line(&at.who.actor, id, line).await?;
    let said = stopped("What was let in then", &revoked);
    show::show(&at, id, Some(said)).await
}

pub(super) async fn consent(
    PathId(id): PathId<kind::Agent>,
    PathResource(server): PathResource,
    Sent { at, .. }: Sent<Browser>,
) -> Shown {
    let withdrawn = at.engine().withdraw_consent(&at.who.actor, id, server);
    withdrawn.await?;
    let words =
        "You are asked before it is let in there again. What it has goes on until you end it.";
    show::show(&at, id, Some(Notice::new("ok", words))).await
}
