//! What people call things, turned into ids: an agent by its name, a human by e-mail address or outside identity.
//!
//! Looks through the lists of the API, page by page, so it needs no more rights than the caller has. A name that
//! stands for several things is refused with all of them.

use kavachos_core::id::{AgentId, UserId};
use serde_json::Value;

use crate::client::{Client, Query};
use crate::failure::Failure;

/// How many things one page of a list has.
const PAGE: usize = 1_000;
/// How many pages are looked through for a name.
const MAX_PAGES: usize = 100;
/// How many things of the same name are told.
const MAX_TOLD: usize = 20;

/// The id of an agent that is given by id or by name.
pub(crate) async fn agent(client: &Client, given: &str) -> Result<String, Failure> {
    if given.parse::<AgentId>().is_ok() {
        return Ok(given.to_owned());
    }
    let found = search(client, "agents", |agent| text(agent, "name") == Some(given)).await?;
    only(
        "agent",
        given,
        "give an id, or a name that `kavach agent list` shows to this credential",
        &found,
    )
}

/// The id of a human who is given by id, by e-mail address or as `provider:id`.
pub(crate) async fn user(client: &Client, given: &str) -> Result<String, Failure> {
    if given.parse::<UserId>().is_ok() {
        return Ok(given.to_owned());
    }
    let email = given.to_lowercase();
    let is = |user: &Value| {
        let external = user.get("external");
        let part = |name: &str| external.and_then(|external| text(external, name));
        let outside = part("provider")
            .zip(part("externalId"))
            .map(|(provider, id)| format!("{provider}:{id}"));
        text(user, "email") == Some(&email) || outside.as_deref() == Some(given)
    };
    let found = search(client, "users", is).await?;
    only(
        "human",
        given,
        "give an id, an e-mail address or `provider:id`",
        &found,
    )
}

/// The id of a human or an agent: what has an `@` or a `:` names a human.
pub(crate) async fn owner(client: &Client, given: &str) -> Result<String, Failure> {
    if given.parse::<UserId>().is_ok() || given.contains(['@', ':']) {
        user(client, given).await
    } else {
        agent(client, given).await
    }
}

async fn search(
    client: &Client,
    list: &str,
    is: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let query = Query::default()
            .with("limit", Some(PAGE))
            .with("cursor", cursor);
        let page = client.get(&format!("/api/v1/{list}"), &query).await?;
        found.extend(page.items().iter().filter(|thing| is(thing)).cloned());
        cursor = page.next_cursor().map(str::to_owned);
        if cursor.is_none() {
            return Ok(found);
        }
    }
    Err(Failure::Name(format!(
        "there are too many {list} to look for a name: give an id instead"
    )))
}

/// The one thing that is meant: of several, the one that was not stopped for good.
fn only(kind: &str, given: &str, hint: &str, found: &[Value]) -> Result<String, Failure> {
    let is_live = |thing: &&Value| text(thing, "status") != Some("revoked");
    let live: Vec<&Value> = found.iter().filter(is_live).collect();
    let meant = if live.is_empty() {
        found.iter().collect()
    } else {
        live
    };
    match meant.as_slice() {
        [] => Err(Failure::Name(format!(
            "there is no {kind} `{given}`: {hint}"
        ))),
        [thing] => text(thing, "id")
            .map(str::to_owned)
            .ok_or(Failure::Stranger { status: 200 }),
        several => {
            let told: Vec<String> = several
                .iter()
                .take(MAX_TOLD)
                .map(|thing| describe(thing))
                .collect();
            let more = several.len().saturating_sub(MAX_TOLD);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            Err(Failure::Name(format!(
                "`{given}` names {} {kind}s, give the id of one: {}{more}",
                several.len(),
                told.join(", ")
            )))
        }
    }
}

fn describe(thing: &Value) -> String {
    let part = |name: &str| text(thing, name).unwrap_or("-");
    format!(
        "{} ({}, created {})",
        part("id"),
        part("status"),
        part("createdAt")
    )
}

fn text<'a>(thing: &'a Value, member: &str) -> Option<&'a str> {
    thing.get(member).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(id: &str, status: &str) -> Value {
        json!({ "id": id, "status": status, "createdAt": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn a_name_means_the_one_that_was_not_stopped_for_good() {
        let chosen = |found: Vec<Value>| only("agent", "x", "", &found).ok();
        assert_eq!(chosen(vec![agent("a", "active")]).as_deref(), Some("a"));
        assert_eq!(
            chosen(vec![agent("a", "revoked"), agent("b", "suspended")]).as_deref(),
            Some("b")
        );
        assert_eq!(chosen(vec![agent("a", "revoked")]).as_deref(), Some("a"));
        assert_eq!(
            chosen(vec![agent("a", "revoked"), agent("b", "revoked")]),
            None
        );
    }

    #[test]
    fn an_ambiguous_name_is_refused_with_all_that_it_names() {
        let error = only(
            "agent",
            "x",
            "",
            &[agent("a", "active"), agent("b", "active")],
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.starts_with("`x` names 2 agents")
                && error.contains("a (active")
                && error.contains("b (active")
        );
        assert!(
            only("agent", "x", "try y", &[])
                .unwrap_err()
                .to_string()
                .ends_with("try y")
        );
    }
}
