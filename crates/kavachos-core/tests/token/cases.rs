//! A vector: a token, what is known when it is shown, and what comes of it.

use serde_json::{Map, Value, json};

use crate::scene::{NOW, TOOLS};

/// One vector under construction. Members that are not set have the values of `defaults` in the file.
pub struct Case {
    pub name: String,
    members: Map<String, Value>,
}

/// What holds where a vector says nothing else.
pub fn defaults() -> Value {
    json!({
        "now": NOW, "audience": TOOLS, "proofPolicy": "optional", "scheme": "Bearer", "revoked": [], "epoch": 1,
        "fresh": true, "method": "POST", "uri": TOOLS,
    })
}

impl Case {
    pub fn new(kind: &str, name: &str, token: impl Into<String>) -> Self {
        let case = Self {
            name: format!("{kind}: {name}"),
            members: Map::new(),
        };
        let member = if kind == "proof" { "proof" } else { "token" };
        case.with("kind", json!(kind))
            .with(member, json!(token.into()))
    }

    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.members.insert(member.to_owned(), value);
        self
    }

    /// A token that is refused.
    pub fn fails(self, code: &str) -> Value {
        self.with("expect", json!({"code": code})).done()
    }

    /// A token that holds; what it says is filled in from what was signed.
    pub fn passes(self) -> Value {
        self.with("expect", json!({"valid": true})).done()
    }

    fn done(self) -> Value {
        let mut vector = Map::new();
        vector.insert("name".to_owned(), self.name.into());
        vector.extend(self.members);
        Value::Object(vector)
    }
}
