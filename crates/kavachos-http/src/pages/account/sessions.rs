//! `/account/sessions`: where the human is signed in, and signing out there; `/account/sign-out`: signing out here.

use kavachos_core::id::kind;
use kavachos_engine::Session;

use crate::cookie;
use crate::error::Failure;
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Place, Room};
use crate::pages::{Shown, see_other, words};
use crate::routes::PathId;

pub(super) async fn handle(at: At<Browser>) -> Shown {
    show(&at, None).await
}

/// The sessions of the human that work.
pub(super) async fn live(at: &At<Browser>) -> Result<Vec<Session>, Failure> {
    Ok(at.engine().own_live_sessions(&at.who.actor).await?)
}

/// The same, with what is done.
async fn said(at: &At<Browser>, words: &str) -> Shown {
    show(at, Some(Notice::new("ok", words))).await
}

async fn show(at: &At<Browser>, notice: Option<Notice>) -> Shown {
    let sessions = live(at).await?;
    let mut shell = at.shell(Room::Security, "Where you are signed in").await?;
    shell.frame.notice = notice;
    let page = view::Sessions {
        shell,
        others: sessions.iter().filter(|session| !session.current).count(),
        places: sessions.iter().map(|session| place(at, session)).collect(),
    };
    html::page(Runs::Nothing, &page)
}

fn place(at: &At<Browser>, session: &Session) -> Place {
    let (device, phone) = words::device(session.user_agent.as_deref().unwrap_or_default());
    let note = match (&session.impersonated_by, &session.method) {
        (Some(_), _) => "opened by whoever runs this server, in your name".to_owned(),
        (None, Some(method)) if method == "anonymous" => "as a guest".to_owned(),
        (None, Some(method)) => format!("signed in by {}", words::methods(method)),
        (None, None) => "opened for you by whoever runs this server".to_owned(),
    };
    Place {
        id: session.id.to_string(),
        device,
        address: session.ip.clone().unwrap_or_default(),
        used: words::time(session.used_at, at.engine().now()),
        here: session.current,
        phone,
        note,
    }
}

pub(super) async fn end(
    PathId(id): PathId<kind::Session>,
    Sent { at, .. }: Sent<Browser>,
) -> Shown {
    at.engine().revoke_session(&at.who.actor, id).await?;
    said(&at, "Signed out there.").await
}

pub(super) async fn end_others(Sent { at, .. }: Sent<Browser>) -> Shown {
    at.engine().end_other_sessions(&at.who.actor).await?;
    said(&at, "You are signed in here only.").await
}

pub(super) async fn sign_out(Sent { at, .. }: Sent<Browser>) -> Shown {
    at.engine().sign_out(&at.who.actor).await?;
    Ok(html::with_cookie(
        see_other("/sign-in?done=signed_out"),
        &cookie::remove_session(),
    ))
}
