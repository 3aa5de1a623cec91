//! `/account/agents/new`: a new agent, and its key, once.

use axum::extract::{Request, State as FromState};
use http::StatusCode;
use kavachos_core::grant::TokenUses;
use kavachos_core::permission::PermissionSet;
use kavachos_core::time::Timestamp;
use kavachos_engine::{Agent, AgentKind, Error, Issued, NewAgent, NewOwner, Proofs};
use serde_json::{Value, json};
use std::time::Duration;

use crate::error::Failure;
use crate::pages::browser::{Browser, with_return};
use crate::pages::failure::sentence;
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Field, Notice, Room, Rule};
use crate::pages::{Shown, see_other, words};
use crate::state::State;

/// How many lines for permissions the form has at first, and at the most.
const ROWS: usize = 2;
const MAX_ROWS: usize = 20;
const DAY: u64 = 24 * 60 * 60;
/// How long an agent may live: what is sent, its words, how many days.
const LIVES: [(&str, &str, u64); 4] = [
    ("day", "One day", 1),
    ("week", "A week", 7),
    ("month", "30 days", 30),
    ("quarter", "90 days", 90),
];
const USUAL_LIFE: &str = "month";
const KINDS: [(&str, &str, &str, AgentKind); 3] = [
    (
        "autonomous",
        "Autonomous",
        "Works on its own",
        AgentKind::Autonomous,
    ),
    (
        "delegated",
        "Assistant",
        "Works while you are there",
        AgentKind::Delegated,
    ),
    ("service", "Service", "A job or a bot", AgentKind::Service),
];
const PATH: &str = "/account/agents/new";

pub(super) async fn show(FromState(state): FromState<State>, browser: Browser) -> Shown {
    if !browser.is_fresh(&state) {
        return Ok(see_other(&with_return("/re-authenticate", PATH)));
    }
    form(&state, &browser, &Form::default(), None).await
}

pub(super) async fn create(
    FromState(state): FromState<State>,
    browser: Browser,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    let sent = Form::read(&parts, body, browser.secret()).await?;
    if sent.has("more") {
        return form(&state, &browser, &sent, None).await;
    }
    let new = match read(&state, &browser, &sent) {
        Ok(new) => new,
        Err(failure) => return form(&state, &browser, &sent, Some(failure)).await,
    };
    match state
        .engine
        .create_agent(&browser.actor, &new, &Proofs::default())
        .await
    {
        Ok(made) => key(&state, &browser, &made).await,
        Err(Error::Internal(words)) => Err(Error::Internal(words).into()),
        Err(error) => form(&state, &browser, &sent, Some(error.into())).await,
    }
}

/// The page with the key.
async fn key(state: &State, browser: &Browser, made: &Issued<Agent>) -> Shown {
    let agent = &made.thing;
    let mut shell = browser
        .shell(state, Room::Agents, format!("{} is ready", agent.name))
        .await?;
    shell.frame.notice = Some(Notice::new("ok", "The agent was created."));
    let until = agent.key_expires_at.unwrap_or(Timestamp::MAX);
    let page = view::AgentKey {
        shell,
        agent: agent.name.clone(),
        href: format!("/account/agents/{}", agent.id),
        key: made
            .token
            .as_ref()
            .map_or_else(String::new, |token| token.reveal().to_owned()),
        until: words::time(until, state.engine.now()),
    };
    html::page(Runs::Nothing, &page)
}

fn read(state: &State, browser: &Browser, sent: &Form) -> Result<NewAgent, Failure> {
    let now = state.engine.now();
    let days = LIVES
        .iter()
        .find(|life| life.0 == sent.text("life"))
        .map_or(1, |life| life.2);
    let life = Duration::from_secs(days * DAY);
    let kind = KINDS.iter().find(|kind| kind.0 == sent.text("type"));
    Ok(NewAgent {
        owner: NewOwner::User(browser.id()),
        name: sent.text("name").trim().to_owned(),
        kind: kind.map_or(AgentKind::Autonomous, |kind| kind.3),
        permissions: permissions(sent)?,
        guards: None,
        uses: TokenUses::default(),
        max_depth: None,
        parent: None,
        expires_at: Some(now.plus(life)),
        key_ttl: Some(life),
        metadata: None,
        proof_key: None,
    })
}

/// The lines that are filled in, as the same JSON that the API reads.
fn permissions(sent: &Form) -> Result<PermissionSet, Failure> {
    let filled = (1..=rows(sent)).filter_map(|number| row(sent, number));
    let all: Vec<Value> = filled.collect();
    let set = PermissionSet::from_json(&Value::Array(all));
    set.map_err(|invalid| invalid.within("permissions").into())
}

fn row(sent: &Form, number: usize) -> Option<Value> {
    let resource = sent.text(&format!("resource{number}")).trim();
    let actions = sent.text(&format!("actions{number}"));
    let actions: Vec<&str> = actions
        .split([',', ' '])
        .map(str::trim)
        .filter(|action| !action.is_empty())
        .collect();
    if resource.is_empty() && actions.is_empty() {
        return None;
    }
    Some(match sent.has(&format!("approval{number}")) {
        true => {
            let asks = json!({ "requireApproval": true });
            json!({ "resource": resource, "actions": actions, "constraints": asks })
        }
        false => json!({ "resource": resource, "actions": actions }),
    })
}

fn rows(sent: &Form) -> usize {
    let rows: usize = sent.text("rows").parse().unwrap_or(ROWS);
    rows.clamp(ROWS, MAX_ROWS)
}

/// The form, with what was filled in and what is wrong with it.
async fn form(state: &State, browser: &Browser, sent: &Form, failure: Option<Failure>) -> Shown {
    let mut shell = browser.shell(state, Room::Agents, "New agent").await?;
    let field = failure
        .as_ref()
        .and_then(Failure::field)
        .unwrap_or_default()
        .to_owned();
    let reason = failure.as_ref().map(|failure| sentence(&failure.told()));
    let of_name = field == "name";
    let of_rules = field.starts_with("permissions");
    if let Some(reason) = reason.as_ref().filter(|_| !of_name && !of_rules) {
        shell.frame.notice = Some(Notice::new("bad", reason.clone()));
    }
    let count = rows(sent) + usize::from(sent.has("more"));
    let count = count.min(MAX_ROWS);
    let page = view::NewAgent {
        shell,
        name: Field {
            max: 200,
            ..Field::text("name", "Name")
        }
        .with_hint("So that you know it again, for example “deploy-bot”.")
        .with_value(sent.text("name"))
        .with_error(reason.clone().filter(|_| of_name)),
        kinds: kinds(sent),
        rules: (1..=count).map(|number| rule(sent, number)).collect(),
        rules_error: reason.filter(|_| of_rules),
        lives: lives(sent),
        more_rules: count < MAX_ROWS,
    };
    let status = failure.map_or(StatusCode::OK, |failure| failure.status());
    html::answer(status, Runs::Nothing, &page)
}

fn kinds(sent: &Form) -> Vec<(&'static str, &'static str, &'static str, bool)> {
    let chosen = sent.given("type").unwrap_or("autonomous");
    KINDS
        .iter()
        .map(|kind| (kind.0, kind.1, kind.2, kind.0 == chosen))
        .collect()
}

fn lives(sent: &Form) -> Vec<(&'static str, &'static str, bool)> {
    let chosen = sent.given("life").unwrap_or(USUAL_LIFE);
    LIVES
        .iter()
        .map(|life| (life.0, life.1, life.0 == chosen))
        .collect()
}

fn rule(sent: &Form, number: usize) -> Rule {
    let is_first = number == 1;
    let field = |name: String, label: &str, hint: &str| Field {
        look: "mono",
        required: is_first,
        ..Field::text(name.clone(), label)
            .with_value(sent.text(&name))
            .with_hint(if is_first { hint } else { "" })
    };
    Rule {
        number,
        resource: field(
            format!("resource{number}"),
            "On what",
            "For example mcp:github:*",
        ),
        actions: field(
            format!("actions{number}"),
            "It may",
            "For example read, list",
        ),
        approval: sent.has(&format!("approval{number}")),
    }
}
