//! `--only`: one member of what a command answers with, and nothing else.
//!
//! Promises: a name that the answer cannot have is refused before anything is done, as far as the OpenAPI document tells
//! what answers have; so a token that is shown once is not lost to a misspelt name.

use http::Method;
use serde_json::Value;

use crate::failure::Failure;

/// The statuses of answers with data.
const SUCCESSES: [&str; 2] = ["200", "201"];
/// Where the description of an answer has that of its data.
const DATA: &str = "content/application~1json/schema/properties/data";

/// The name of the member that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Only(String);

impl Only {
    /// The member of this name.
    pub(crate) fn new(name: String) -> Self {
        Self(name)
    }

    /// The member of a thing.
    pub(crate) fn of<'a>(&self, thing: &'a Value) -> Option<&'a Value> {
        thing.get(&self.0)
    }

    /// Why an answer that came does not have it.
    pub(crate) fn missing(&self, thing: &Value) -> String {
        match thing {
            Value::Object(members) => {
                let there = named(members.keys().map(String::as_str));
                let name = &self.0;
                format!("the answer has no member `{name}`; it has {there}, and is all of this:")
            }
            _ => "`--only` is for an answer of one thing, and this one is a list".to_owned(),
        }
    }

    /// Refuses a name that is none of these.
    pub(crate) fn check<'a>(
        &self,
        members: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Result<(), Failure> {
        if members.clone().into_iter().any(|member| member == self.0) {
            return Ok(());
        }
        let (name, there) = (&self.0, named(members));
        Err(Failure::Usage(format!(
            "the answer would have no member `{name}`, so nothing was done; it has {there}"
        )))
    }

    /// Refuses a name that the answer to this request cannot have.
    pub(crate) fn check_request(&self, method: &Method, path: &str) -> Result<(), Failure> {
        match members(method, path) {
            Some(members) => self.check(members.iter().map(String::as_str)),
            None => Ok(()),
        }
    }
}

fn named<'a>(members: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = members
        .into_iter()
        .map(|member| format!("`{member}`"))
        .collect();
    names.join(", ")
}

/// The members of the one thing that a request is answered with; `None` for a list, and for what is not described.
fn members(method: &Method, path: &str) -> Option<Vec<String>> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let document: Value = serde_json::from_str(&kavachos_http::openapi()).ok()?;
    let paths = document.get("paths")?.as_object()?;
    let operations = paths.get(path).or_else(|| {
        let mut templates = paths.iter();
        templates.find_map(|(template, operations)| fits(template, path).then_some(operations))
    })?;
    let answers = operations
        .get(method.as_str().to_lowercase())?
        .get("responses")?;
    let data = SUCCESSES
        .iter()
        .find_map(|status| answers.pointer(&format!("/{status}/{DATA}")))?;
    let described = match data.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(reference.strip_prefix('#')?)?,
        None => data,
    };
    let members = described.get("properties")?.as_object()?;
    Some(members.keys().cloned().collect())
}

/// Whether the path is one of those that the template stands for.
fn fits(template: &str, path: &str) -> bool {
    template.split('/').count() == path.split('/').count()
        && template
            .split('/')
            .zip(path.split('/'))
            .all(|(part, given)| part == given || part.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(name: &str, method: &Method, path: &str) -> bool {
        Only::new(name.to_owned())
            .check_request(method, path)
            .is_err()
    }

    #[test]
    fn a_name_that_the_answer_cannot_have_is_refused_and_the_others_are_not() {
        for (method, path, has, lacks) in [
            (Method::POST, "/api/v1/agents", "token", "tokn"),
            (Method::POST, "/api/v1/keys", "token", "key"),
            (Method::GET, "/api/v1/agents/agent_1?x=y", "name", "token"),
            (Method::DELETE, "/api/v1/agents/agent_1", "state", "token"),
            (
                Method::POST,
                "/api/v1/users/u/sessions",
                "token",
                "sessions",
            ),
            (Method::POST, "/api/v1/authorize", "approvalId", "approval"),
            (
                Method::POST,
                "/api/v1/webhooks/w/rotate",
                "secret",
                "secrets",
            ),
        ] {
            assert!(!refused(has, &method, path), "{path}");
            assert!(refused(lacks, &method, path), "{path}");
        }
    }

    #[test]
    fn lists_in_which_names_are_looked_up_and_unknown_paths_are_not_judged() {
        for path in [
            "/api/v1/agents",
            "/api/v1/users?limit=1000",
            "/api/v2/agents",
            "/",
        ] {
            assert_eq!(members(&Method::GET, path), None, "{path}");
            assert!(!refused("token", &Method::GET, path));
        }
    }

    #[test]
    fn a_refusal_names_what_there_is() {
        let only = Only::new("x".to_owned());
        let told = only.check(["a", "b"]).unwrap_err().to_string();
        assert!(told.ends_with("it has `a`, `b`"), "{told}");
        let told = only.missing(&json!({ "a": 1 }));
        assert!(told.contains("it has `a`,"), "{told}");
        assert!(only.missing(&json!([])).contains("a list"));
    }
}
