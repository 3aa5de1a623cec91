//! `GET /account`: what waits, who acts, what happened lately.

use axum::extract::State as FromState;
use kavachos_core::principal::Status;
use kavachos_engine::page::PageOf;
use kavachos_engine::{AgentFilter, AuditFilter};

use super::activity::told;
use super::keep;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room, Shell};
use crate::pages::{Shown, api};
use crate::params::Params;
use crate::state::State;

/// How many records are shown.
const RECORDS: usize = 6;
/// How many agents are counted.
const AGENTS: usize = 100;

pub(super) async fn handle(
    FromState(state): FromState<State>,
    browser: Browser,
    mut params: Params,
) -> Shown {
    let mail_sent = params
        .take::<String>("done")?
        .is_some_and(|done| done == "mail_sent");
    let name = browser.name();
    let first = name.split(' ').next().unwrap_or(&name).to_owned();
    let active = AgentFilter {
        status: Some(Status::Active),
        ..AgentFilter::default()
    };
    let page = PageOf {
        after: None,
        limit: AGENTS,
    };
    let agents = state.engine.agents(&browser.actor, active, page).await?;
    let page = PageOf {
        after: None,
        limit: RECORDS,
    };
    let records = state
        .engine
        .audit(&browser.actor, &AuditFilter::default(), page)
        .await?;
    let mut shell = browser
        .shell(&state, Room::Overview, format!("Hello, {first}"))
        .await?;
    shell.frame.notice = mail_sent.then(|| {
        Notice::new(
            "ok",
            "A mail is on its way. Open its link in this browser, and the account is yours.",
        )
    });
    let more = if agents.next.is_some() { "+" } else { "" };
    let page = view::Overview {
        agents: format!(
            "{}{more}",
            agents
                .items
                .iter()
                .filter(|one| one.status == "active")
                .count()
        ),
        waiting: waiting(&shell),
        recent: told(&state, &browser, &records.items).await?,
        advice: advice(&state, &browser),
        shell,
    };
    html::page(Runs::Nothing, &page)
}

fn waiting(shell: &Shell) -> String {
    if shell.waiting > Shell::MOST_SHOWN {
        format!("{}+", Shell::MOST_SHOWN)
    } else {
        shell.waiting.to_string()
    }
}

/// A passkey is better than what the human signed in with.
fn advice(state: &State, browser: &Browser) -> Option<(&'static str, &'static str, &'static str)> {
    let by_passkey = browser
        .session
        .method
        .as_deref()
        .is_some_and(|method| method.contains("passkey"));
    if keep::is_guest(state, browser) {
        let why = "You are here as a guest: when you sign out, nobody gets back in.";
        return Some((why, "/account/keep", "Keep this account"));
    }
    let can = api::takes(state, "passkey/register/options");
    (can && !by_passkey).then_some((
        "A passkey is quicker than a password, and no false page can take it.",
        "/account/security",
        "Add a passkey",
    ))
}
