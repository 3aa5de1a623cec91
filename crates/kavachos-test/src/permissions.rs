//! Permissions, as they are written in requests.

use serde_json::{Value, json};

/// One permission in a list: these actions on these resources.
pub fn may(actions: &[&str], resource: &str) -> Value {
    json!([{ "resource": resource, "actions": actions }])
}

/// One permission in a list: these actions on these resources under these constraints.
#[expect(
    clippy::needless_pass_by_value,
    reason = "tests pass a literal of `json!`"
)]
pub fn may_under(actions: &[&str], resource: &str, constraints: Value) -> Value {
    json!([{ "resource": resource, "actions": actions, "constraints": constraints }])
}
