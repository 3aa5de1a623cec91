//! `GET /account/activity`: what happened in the human's name, newest first.

use std::collections::HashMap;

use kavachos_core::ledger::Outcome;
use kavachos_core::time::Timestamp;
use kavachos_engine::page::{PageOf, decode_cursor, encode_cursor};
use kavachos_engine::{AuditFilter, AuditRecord};

use crate::error::Failure;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::html::{self, Runs};
use crate::pages::view::{self, Event, Field, Room};
use crate::pages::{Shown, agents, words};
use crate::params::Params;

/// How many records a page shows.
const RECORDS: usize = 30;
const PATH: &str = "/account/activity";

/// What the filter says, as it was typed.
struct Filter {
    agent: String,
    action: String,
    outcome: String,
    since: String,
}

pub(super) async fn handle(at: At<Browser>, mut params: Params) -> Shown {
    let mut text = |name: &str| -> Result<String, Failure> {
        Ok(params
            .take::<String>(name)?
            .map(|text| text.trim().to_owned())
            .unwrap_or_default())
    };
    let filter = Filter {
        agent: text("agent")?,
        action: text("action")?,
        outcome: text("outcome")?,
        since: text("since")?,
    };
    let cursor = text("cursor")?;
    params.end()?;
    let names = agents::names(&at).await?;
    let after = (!cursor.is_empty()).then(|| decode_cursor(&cursor, &filter.query()));
    let first = after.is_none();
    let page = PageOf {
        after: after.transpose()?,
        limit: RECORDS,
    };
    let (items, next, wrong) = match filter.read(&names) {
        Ok(read) => {
            let found = at.engine().audit(&at.who.actor, &read, page).await?;
            (found.items, found.next, None)
        }
        Err(field) => (Vec::new(), None, Some(field)),
    };
    let page = view::Activity {
        shell: at.shell(Room::Activity, "Activity").await?,
        events: told(&at, &items).await?,
        agent: field("agent", "Agent", &filter.agent, wrong),
        action: field("action", "Action", &filter.action, wrong),
        since: Field {
            kind: "date",
            ..field("since", "Since", &filter.since, wrong)
        },
        outcomes: outcomes(&filter.outcome),
        filtered: !filter.is_empty(),
        next: next.map(|key| filter.path(&encode_cursor(&key, &filter.query()))),
        first,
    };
    html::page(Runs::Nothing, &page)
}

/// Records in words.
pub(super) async fn told(at: &At<Browser>, records: &[AuditRecord]) -> Result<Vec<Event>, Failure> {
    let names = words::Names {
        me: at.who.known_as(),
        agents: agents::names(at).await?,
    };
    let now = at.engine().now();
    Ok(records
        .iter()
        .map(|record| words::event(record, &names, now))
        .collect())
}

fn field(name: &'static str, label: &str, value: &str, wrong: Option<&str>) -> Field {
    let error = (wrong == Some(name)).then(|| match name {
        "agent" => "You have no agent of this name or id.".to_owned(),
        "since" => "Write a day like 2026-11-21.".to_owned(),
        _ => "Write one word, like read.".to_owned(),
    });
    Field {
        look: "filter",
        ..Field::text(name, label)
    }
    .optional()
    .with_value(value)
    .with_error(error)
}

fn outcomes(chosen: &str) -> Vec<(&'static str, &'static str, bool)> {
    let known = [("", "Any"), ("allowed", "Allowed"), ("denied", "Refused")];
    known
        .iter()
        .map(|(value, words)| (*value, *words, *value == chosen))
        .collect()
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.query().is_empty()
    }

    /// What of it is filled in, as the query of an address.
    fn query(&self) -> String {
        let all = [
            ("agent", &self.agent),
            ("action", &self.action),
            ("outcome", &self.outcome),
            ("since", &self.since),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in all.iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        query.finish()
    }

    fn path(&self, cursor: &str) -> String {
        let query = self.query();
        let and = if query.is_empty() { "" } else { "&" };
        format!("{PATH}?{query}{and}cursor={cursor}")
    }

    /// The filter of the ledger, or the field that makes no sense.
    fn read(&self, names: &HashMap<String, String>) -> Result<AuditFilter, &'static str> {
        let since = match self.since.as_str() {
            "" => None,
            day => Some(
                format!("{day}T00:00:00Z")
                    .parse::<Timestamp>()
                    .map_err(|_| "since")?,
            ),
        };
        let member = match self.agent.as_str() {
            "" => None,
            text => {
                let named = names
                    .iter()
                    .find(|(_, name)| name.eq_ignore_ascii_case(text));
                let id = named.map_or(text, |(id, _)| id.as_str());
                Some(id.parse().map_err(|_| "agent")?)
            }
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.action.len() > MAX_ACTION || !self.action.bytes().all(word) {
            return Err("action");
        }
        Ok(AuditFilter {
            member,
            action: Some(self.action.clone()).filter(|action| !action.is_empty()),
            outcome: match self.outcome.as_str() {
                "allowed" => Some(Outcome::Allowed),
                "denied" => Some(Outcome::Denied),
                _ => None,
            },
            since,
            ..AuditFilter::default()
        })
    }
}

/// The longest action.
const MAX_ACTION: usize = 64;
