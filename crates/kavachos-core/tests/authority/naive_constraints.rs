//! The reference's reading of constraints: those kinds, in those spellings, that the random worlds use.

use std::time::Duration;

use kavachos_core::time::Timestamp;
use serde_json::Value;

use crate::naive::rank;
use crate::world::{Counter, Holder, Question};

/// The counters of constraints, each with what a call takes; `None` is a cost that was not stated.
pub fn counters(q: &Question, who: Holder, what: &str, c: &Value) -> Vec<(Counter, Option<u64>)> {
    let mut list = Vec::new();
    if let Some(per) = c["rate"]["per"].as_u64() {
        list.push(((who, what.to_owned(), format!("rate {per}")), Some(1)));
    }
    if let Some(unit) = c["budget"]["unit"].as_str() {
        let stated = q.cost.filter(|(_, theirs)| *theirs == unit);
        let n = if unit == "calls" {
            Some(1)
        } else {
            stated.map(|(amount, _)| amount)
        };
        list.push(((who, what.to_owned(), format!("budget {unit}")), n));
    }
    list
}

pub type Outcome = (&'static str, Option<Duration>);

/// Longer is worse, and no time at all is for ever.
pub fn badness(outcome: &Outcome) -> (usize, Duration) {
    (rank(outcome.0), outcome.1.unwrap_or(Duration::MAX))
}

/// The worst of all that constraints say.
pub fn check(q: &Question, who: Holder, what: &str, c: &Value, answer: Option<&str>) -> Outcome {
    let mut said: Vec<Outcome> = vec![("allowed", None)];
    let mut say = |holds: bool, code| said.extend((!holds).then_some((code, None)));
    say(
        c["timeWindow"].is_null() || in_window(q, &c["timeWindow"]),
        "outside_time_window",
    );
    say(
        c["notBefore"].is_null() || q.now >= micros(&c["notBefore"]),
        "outside_time_window",
    );
    say(
        c["expiresAt"].is_null() || q.now < micros(&c["expiresAt"]),
        "grant_expired",
    );
    say(
        c["ipAllowlist"].is_null() || is_listed(q, &c["ipAllowlist"]),
        "ip_not_allowed",
    );
    say(arguments_fit(q, &c["args"]), "argument_not_allowed");
    say(c["rate"]["limit"].as_u64() != Some(0), "rate_limited");
    let cost = counters(q, who, what, c)
        .into_iter()
        .find(|(key, _)| key.2.starts_with("budget"));
    let affords = |(_, n): (Counter, Option<u64>)| {
        c["budget"]["amount"]
            .as_u64()
            .is_some_and(|amount| amount > 0 && n.is_some_and(|n| n <= amount))
    };
    say(cost.is_none_or(affords), "budget_exhausted");
    if !c["requireApproval"].is_null() {
        said.push(match answer {
            None => ("approval_required", None),
            Some("pending") => ("approval_pending", None),
            Some("approved") => ("allowed", None),
            Some(_) => ("approval_denied", None),
        });
    }
    for (counter, _) in counters(q, who, what, c) {
        for (full, wait) in q.full.iter().filter(|(full, _)| *full == counter) {
            said.push(if full.2.starts_with("rate") {
                ("rate_limited", *wait)
            } else {
                ("budget_exhausted", None)
            });
        }
    }
    said.into_iter().max_by_key(badness).unwrap()
}

fn micros(text: &Value) -> i64 {
    let time: Timestamp = text.as_str().unwrap().parse().unwrap();
    time.as_micros()
}

fn in_window(q: &Question, window: &Value) -> bool {
    let minutes = |text: &Value| {
        let (h, m) = text.as_str().unwrap().split_once(':').unwrap();
        h.parse::<i64>().unwrap() * 60 + m.parse::<i64>().unwrap()
    };
    let minute = q.now / 60_000_000 % 1440;
    let (start, end) = (minutes(&window["start"]), minutes(&window["end"]));
    if start < end {
        (start..end).contains(&minute)
    } else {
        minute >= start || minute < end
    }
}

/// The worlds have networks of 256 addresses only.
fn is_listed(q: &Question, list: &Value) -> bool {
    let Some([a, b, c, _]) = q.ip else {
        return false;
    };
    let network = format!("{a}.{b}.{c}.0/24");
    list.as_array()
        .unwrap()
        .iter()
        .any(|listed| *listed == network)
}

fn arguments_fit(q: &Question, rules: &Value) -> bool {
    let none = Value::Null;
    let arguments = q.arguments.as_ref().unwrap_or(&none);
    let path = rules["/path"]["prefix"].as_str().is_none_or(|prefix| {
        let inside = |path: &str| path == prefix || path.starts_with(&format!("{prefix}/"));
        arguments["path"].as_str().is_some_and(inside)
    });
    let n = rules["/n"]["range"]["max"].as_i64().is_none_or(|max| {
        let n = arguments["n"].as_i64();
        n.is_some_and(|n| n <= max)
    });
    path && n
}
