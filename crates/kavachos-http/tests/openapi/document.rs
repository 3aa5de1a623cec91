//! The document is a committed file. After a change, look at the difference and write it anew:
//! `cargo run -q -- openapi > docs/openapi.json`

use std::collections::BTreeSet;

use serde_json::Value;

const GOLDEN: &str = include_str!("../../../../docs/openapi.json");

fn document() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let items = document["paths"].as_object().unwrap().values();
    items.flat_map(|item| item.as_object().unwrap().values())
}

#[test]
fn the_document_is_the_committed_one() {
    let made = kavachos_http::openapi();
    for (number, (made, golden)) in made.lines().zip(GOLDEN.lines()).enumerate() {
        assert_eq!(
            made,
            golden,
            "line {} differs: look at it, then run `cargo run -q -- openapi > docs/openapi.json`",
            number + 1
        );
    }
    assert_eq!(made.lines().count(), GOLDEN.lines().count());
}

#[test]
fn operations_have_names_of_their_own_and_say_what_they_do() {
    let document = document();
    let mut names = BTreeSet::new();
    let tags: BTreeSet<_> = (document["tags"].as_array().unwrap().iter())
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    for operation in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "`{name}` names two operations");
        let summary = operation["summary"].as_str().unwrap();
        let sentence = !summary.is_empty() && !summary.ends_with('.');
        assert!(sentence, "{name}: `{summary}`");
        assert!(
            tags.contains(operation["tags"][0].as_str().unwrap()),
            "{name}"
        );
    }
    assert!(names.len() > 50, "operations are missing");
}

/// A schema whose name was taken is numbered by the generator: two types need two names.
#[test]
fn schemas_have_names_of_their_own_and_every_reference_leads_somewhere() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(
            !name.ends_with(|c: char| c.is_ascii_digit()),
            "`{name}` was taken"
        );
    }
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "`{reference}` leads nowhere"
        );
    }
    for name in schemas.keys() {
        let used = references.contains(format!("#/components/schemas/{name}").as_str());
        assert!(used, "nothing uses `{name}`");
    }
}

fn collect<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference);
            }
            members.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn every_object_that_we_write_is_closed() {
    let document = document();
    for operation in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let schema = &response["content"]["application/json"]["schema"];
            let members = schema["properties"].is_object();
            let closed = schema["additionalProperties"] == false;
            let name = &operation["operationId"];
            assert!(!members || closed, "{name} {status} is open");
        }
    }
}
