//! `/account/agents/new`: a new agent, by the route of the API, and its key, once.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderValue, Method, StatusCode};
use kavachos_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::Failure;
use crate::pages::api::{IDEMPOTENCY_KEY, Refusal, Reply};
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Field, Notice, Room, Rule};
use crate::pages::{Shown, words};

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
const KINDS: [(&str, &str, &str); 3] = [
    ("autonomous", "Autonomous", "Works on its own"),
    ("delegated", "Assistant", "Works while you are there"),
    ("service", "Service", "A job or a bot"),
];
const USUAL_KIND: &str = "autonomous";
const PATH: &str = "/account/agents/new";

pub(super) async fn show(at: At<Browser>) -> Shown {
    if let Some(first) = at.prove_first(PATH) {
        return Ok(first);
    }
    form(&at, &Form::default(), None).await
}

pub(super) async fn create(Sent { mut at, form: sent }: Sent<Browser>) -> Shown {
    if sent.has("more") {
        return form(&at, &sent, None).await;
    }
    // Sent once more, by a reload or a second press, it makes no second agent.
    let once = sent.given("once").map(HeaderValue::from_str);
    if let Some(Ok(once)) = once {
        at.parts.headers.insert(IDEMPOTENCY_KEY, once);
    }
    let asked = (Method::POST, "/api/v1/agents");
    match at.api.send(asked, &at.parts, &agent(&at, &sent)).await {
        Ok(made) if made.text("token").is_empty() => again(&at, made.text("id")).await,
        Ok(made) => key(&at, &made).await,
        Err(refusal) if refusal.is_final() => Err(refusal.into_failure()),
        Err(refusal) => form(&at, &sent, Some(&refusal)).await,
    }
}

/// The page with the key.
async fn key(at: &At<Browser>, made: &Reply) -> Shown {
    let name = made.text("name").to_owned();
    let title = format!("{name} is ready");
    let mut shell = at.shell(Room::Agents, title).await?;
    shell.frame.notice = Some(Notice::new("ok", "The agent was created."));
    let until = made.text("keyExpiresAt").parse().unwrap_or(Timestamp::MAX);
    let page = view::AgentKey {
        shell,
        agent: name,
        href: format!("/account/agents/{}", made.text("id")),
        key: made.text("token").to_owned(),
        until: words::time(until, at.engine().now()),
    };
    html::page(Runs::Nothing, &page)
}

/// The agent, which was made before by the same form.
async fn again(at: &At<Browser>, id: &str) -> Shown {
    let words = "This agent was made already, and its key was shown then. If you do not have the key, stop the agent and \
                 make another one.";
    let id = id.parse().map_err(Failure::from)?;
    super::show::show(at, id, Some(Notice::new("warn", words))).await
}

/// The form as the JSON that the API reads. It is the same each time that the same form is sent.
fn agent(at: &At<Browser>, sent: &Form) -> Map<String, Value> {
    let life = LIVES.iter().find(|life| life.0 == sent.text("life"));
    let life = Duration::from_secs(life.map_or(1, |life| life.2) * DAY);
    let opened = sent.text("opened").parse().ok();
    let opened: Timestamp = opened.unwrap_or_else(|| at.engine().now());
    let filled = (1..=rows(sent)).filter_map(|number| row(sent, number));
    let members = [
        ("name", sent.text("name").trim().into()),
        ("type", sent.given("type").unwrap_or(USUAL_KIND).into()),
        ("permissions", filled.collect()),
        ("expiresAt", opened.plus(life).to_string().into()),
        ("keyTtlSeconds", life.as_secs().into()),
    ];
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
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
async fn form(at: &At<Browser>, sent: &Form, refusal: Option<&Refusal>) -> Shown {
    let mut shell = at.shell(Room::Agents, "New agent").await?;
    let field = refusal.and_then(|refusal| refusal.field.as_deref());
    let field = field.unwrap_or_default();
    let reason = refusal.map(|refusal| refusal.reason.clone());
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
            required: true,
            autocomplete: "off",
            ..Field::own_name()
        }
        .with_hint("So that you know it again, for example “deploy-bot”.")
        .with_value(sent.text("name"))
        .with_error(reason.clone().filter(|_| of_name)),
        kinds: kinds(sent),
        rules: (1..=count).map(|number| rule(sent, number)).collect(),
        rules_error: reason.filter(|_| of_rules),
        lives: lives(sent),
        more_rules: count < MAX_ROWS,
        once: BASE64_URL_SAFE_NO_PAD.encode(at.engine().random::<16>()),
        opened: at.engine().now().to_string(),
    };
    let status = refusal.map_or(StatusCode::OK, |refusal| refusal.status);
    html::answer(status, Runs::Nothing, &page)
}

fn kinds(sent: &Form) -> Vec<(&'static str, &'static str, &'static str, bool)> {
    let chosen = sent.given("type").unwrap_or(USUAL_KIND);
    KINDS
        .iter()
        .map(|(kind, name, means)| (*kind, *name, *means, *kind == chosen))
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
