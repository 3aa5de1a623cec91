//! `GET /account`: what waits, who acts, what happened lately.

use kavachos_core::principal::Status;
use kavachos_engine::{AgentFilter, AuditFilter};

use super::activity::told;
use super::keep;
use super::security::passkeys;
use crate::error::Failure;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Notice, Room, Shell};
use crate::pages::{Shown, first};
use crate::params::Params;

/// How many records are shown.
const RECORDS: usize = 6;
/// How many agents are counted.
const AGENTS: usize = 100;

pub(super) async fn handle(at: At<Browser>, mut params: Params) -> Shown {
    let mail_sent = params
        .take::<String>("done")?
        .is_some_and(|done| done == "mail_sent");
    let name = at.who.name();
    let called = name.split(' ').next().unwrap_or(&name);
    let filter = AgentFilter {
        status: Some(Status::Active),
        ..AgentFilter::default()
    };
    let (engine, actor) = (at.engine(), &at.who.actor);
    let agents = engine.agents(actor, filter, first(AGENTS)).await?;
    let lately = AuditFilter::default();
    let records = engine.audit(actor, &lately, first(RECORDS)).await?;
    let mut shell = at.shell(Room::Overview, format!("Hello, {called}")).await?;
    shell.frame.notice = mail_sent.then(|| {
        Notice::new(
            "ok",
            "A mail is on its way. Open its link in this browser, and the account is yours.",
        )
    });
    // One whose time is over stands among them until it is swept away.
    let active = agents.items.iter().filter(|one| one.status == "active");
    let active = active.count();
    let more = if agents.next.is_some() { "+" } else { "" };
    let page = view::Overview {
        agents: format!("{active}{more}"),
        waiting: waiting(&shell),
        recent: told(&at, &records.items).await?,
        advice: advice(&at).await?,
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

/// A passkey is better than what the human signs in with.
async fn advice(at: &At<Browser>) -> Result<Option<Advice>, Failure> {
    if keep::is_guest(at) {
        let why = "You are here as a guest: when you sign out, nobody gets back in.";
        return Ok(Some((why, "/account/keep", "Keep this account")));
    }
    let has_none = passkeys(at).await?.is_some_and(|all| all.is_empty());
    Ok(has_none.then_some((
        "A passkey is quicker than a password, and no false page can take it.",
        "/account/security",
        "Add a passkey",
    )))
}

/// Why, where, and what is done there.
type Advice = (&'static str, &'static str, &'static str);
