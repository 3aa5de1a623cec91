//! JSON things as text for people: records of labels and values, and tables.

use serde_json::{Map, Value};

/// No cell is filled up beyond this; longer ones push the others aside.
const MAX_WIDTH: usize = 1_000;
/// What stands for a value that is not there.
const NOTHING: &str = "-";
/// What separates columns.
const GAP: &str = "  ";

/// One thing: a line for each of these members that it has, further lines for values of several lines.
pub(crate) fn record(thing: &Value, members: &[&str]) -> Vec<String> {
    let rows: Vec<(String, Vec<String>)> = members
        .iter()
        .filter_map(|member| Some((label(member), lines(thing.get(*member)?))))
        .collect();
    pairs(&rows)
}

/// One thing with all its members.
pub(crate) fn whole(thing: &Map<String, Value>) -> Vec<String> {
    let rows: Vec<(String, Vec<String>)> = thing
        .iter()
        .map(|(member, value)| (label(member), lines(value)))
        .collect();
    pairs(&rows)
}

/// A line for each label and its value, further lines for values of several lines.
pub(crate) fn pairs(rows: &[(String, Vec<String>)]) -> Vec<String> {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let mut out = Vec::new();
    for (label, values) in rows {
        for (index, value) in values.iter().enumerate() {
            let label = if index == 0 { label.as_str() } else { "" };
            out.push(format!("{label:width$}{GAP}{value}"));
        }
    }
    out
}

/// Things as a table of these members; one line that says so when there are none.
pub(crate) fn table(things: &[Value], members: &[&str]) -> Vec<String> {
    if things.is_empty() {
        return vec!["nothing found".to_owned()];
    }
    let header = members
        .iter()
        .map(|member| label(member).to_uppercase())
        .collect();
    let rows = things
        .iter()
        .map(|thing| members.iter().map(|member| cell(thing, member)).collect());
    aligned(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}

/// One thing in a line, for those that come one by one.
pub(crate) fn row(thing: &Value, members: &[&str]) -> String {
    let cells: Vec<String> = members.iter().map(|member| cell(thing, member)).collect();
    cells.join(GAP)
}

fn cell(thing: &Value, member: &str) -> String {
    thing
        .get(member)
        .map_or(NOTHING.to_owned(), |value| lines(value).join("; "))
}

/// Rows with their columns under each other.
pub(crate) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0).min(MAX_WIDTH))
        .collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// `keyExpiresAt` as `key expires at`.
fn label(member: &str) -> String {
    let mut out = String::new();
    for c in member.chars() {
        if c.is_uppercase() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// A value as one line or more: a list of permissions takes one each.
pub(crate) fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) if items.is_empty() => vec![NOTHING.to_owned()],
        Value::Array(items) if items.iter().all(Value::is_string) => vec![words(items)],
        Value::Array(items) => items
            .iter()
            .map(|item| permission(item).unwrap_or_else(|| item.to_string()))
            .collect(),
        Value::Null => vec![NOTHING.to_owned()],
        Value::String(text) => vec![text.clone()],
        other => {
            let text = external(other).or_else(|| reach(other));
            vec![text.unwrap_or_else(|| other.to_string())]
        }
    }
}

/// `{provider, externalId}` as `demo:ada`, as commands take it.
fn external(value: &Value) -> Option<String> {
    let text = |member: &str| value.get(member)?.as_str();
    Some(format!("{}:{}", text("provider")?, text("externalId")?))
}

/// `{effectiveBy, state, acknowledged, followers}` as `partial by 2026-11-21T10:00:10Z, known to 1 of 2 followers`.
fn reach(value: &Value) -> Option<String> {
    let text = |member: &str| value.get(member)?.as_str();
    let number = |member: &str| value.get(member)?.as_u64();
    Some(format!(
        "{} by {}, known to {} of {} followers",
        text("state")?,
        text("effectiveBy")?,
        number("acknowledged")?,
        number("followers")?
    ))
}

fn words(items: &[Value]) -> String {
    let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
    words.join(", ")
}

/// `{resource, actions, constraints}` as `read,write mcp:github:* if {...}`.
fn permission(value: &Value) -> Option<String> {
    let resource = value.get("resource")?.as_str()?;
    let actions: Vec<&str> = value
        .get("actions")?
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let actions = actions.join(",");
    Some(
        match value
            .get("constraints")
            .filter(|constraints| !constraints.is_null())
        {
            None => format!("{actions} {resource}"),
            Some(constraints) => format!("{actions} {resource} if {constraints}"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_aligns_its_labels_and_gives_each_permission_a_line() {
        let thing = json!({
            "id": "agent_1", "keyExpiresAt": null, "absent": 1,
            "external": { "provider": "demo", "externalId": "ada" },
            "permissions": [
                { "resource": "mcp:github:*", "actions": ["read", "list"] },
                { "resource": "mcp:deploy:production", "actions": ["execute"], "constraints": { "requireApproval": true } },
            ],
        });
        assert_eq!(
            record(
                &thing,
                &["id", "external", "keyExpiresAt", "permissions", "token"]
            ),
            [
                "id              agent_1",
                "external        demo:ada",
                "key expires at  -",
                "permissions     read,list mcp:github:*",
                "                execute mcp:deploy:production if {\"requireApproval\":true}",
            ]
        );
    }

    #[test]
    fn how_far_a_change_has_reached_is_one_line() {
        let narrowed = serde_json::json!({
            "effectiveBy": "2026-11-21T10:00:10Z", "state": "partial", "acknowledged": 1, "followers": 2,
        });
        assert_eq!(
            lines(&narrowed),
            ["partial by 2026-11-21T10:00:10Z, known to 1 of 2 followers"]
        );
    }

    #[test]
    fn a_table_aligns_its_columns_and_says_when_it_is_empty() {
        let things = [
            json!({ "id": "a", "name": "long name" }),
            json!({ "id": "bcd", "name": null }),
        ];
        assert_eq!(
            table(&things, &["id", "name"]),
            ["ID   NAME", "a    long name", "bcd  -"]
        );
        assert_eq!(table(&[], &["id"]), ["nothing found"]);
    }
}
