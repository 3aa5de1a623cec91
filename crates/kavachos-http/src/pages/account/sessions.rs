//! `/account/sessions`: where the human is signed in, and signing out there; `/account/sign-out`: signing out here.

use axum::extract::{Request, State as FromState};
use kavachos_core::id::kind;
use kavachos_engine::Session;
use kavachos_engine::page::PageOf;

use crate::cookie;
use crate::error::Failure;
use crate::pages::browser::Browser;
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Place, Room};
use crate::pages::{Shown, see_other, words};
use crate::routes::PathId;
use crate::state::State;

/// How many sessions are shown; a human has no more unless the limit was raised.
const SESSIONS: usize = 200;

pub(super) async fn handle(FromState(state): FromState<State>, browser: Browser) -> Shown {
    show(&state, &browser, None).await
}

/// The sessions of the human that work.
pub(super) async fn live(state: &State, browser: &Browser) -> Result<Vec<Session>, Failure> {
    let page = PageOf {
        after: None,
        limit: SESSIONS,
    };
    let mut sessions = state.engine.own_sessions(&browser.actor, page).await?.items;
    sessions.retain(|session| session.status == "active");
    sessions.sort_by_key(|session| (!session.current, std::cmp::Reverse(session.used_at)));
    Ok(sessions)
}

async fn show(state: &State, browser: &Browser, notice: Option<Notice>) -> Shown {
    let sessions = live(state, browser).await?;
    let mut shell = browser
        .shell(state, Room::Security, "Where you are signed in")
        .await?;
    shell.frame.notice = notice;
    let page = view::Sessions {
        shell,
        others: sessions.iter().filter(|session| !session.current).count(),
        places: sessions
            .iter()
            .map(|session| place(state, session))
            .collect(),
    };
    html::page(Runs::Nothing, &page)
}

fn place(state: &State, session: &Session) -> Place {
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
        used: words::time(session.used_at, state.engine.now()),
        here: session.current,
        phone,
        note,
    }
}

pub(super) async fn end(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Session>,
    request: Request,
) -> Shown {
    ours(&browser, request).await?;
    state.engine.revoke_session(&browser.actor, id).await?;
    show(
        &state,
        &browser,
        Some(Notice::new("ok", "Signed out there.")),
    )
    .await
}

pub(super) async fn end_others(
    FromState(state): FromState<State>,
    browser: Browser,
    request: Request,
) -> Shown {
    ours(&browser, request).await?;
    for session in live(&state, &browser)
        .await?
        .iter()
        .filter(|session| !session.current)
    {
        state
            .engine
            .revoke_session(&browser.actor, session.id)
            .await?;
    }
    show(
        &state,
        &browser,
        Some(Notice::new("ok", "You are signed in here only.")),
    )
    .await
}

pub(super) async fn sign_out(
    FromState(state): FromState<State>,
    browser: Browser,
    request: Request,
) -> Shown {
    ours(&browser, request).await?;
    state.engine.sign_out(&browser.actor).await?;
    Ok(html::with_cookie(
        see_other("/sign-in?done=signed_out"),
        &cookie::remove_session(),
    ))
}

async fn ours(browser: &Browser, request: Request) -> Result<Form, Failure> {
    let (parts, body) = request.into_parts();
    Form::read(&parts, body, browser.secret()).await
}
