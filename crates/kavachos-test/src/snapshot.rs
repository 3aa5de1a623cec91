//! What an answer looks like, without what differs from run to run.

use serde_json::Value;

use crate::client::Reply;

/// How many characters of a typed id follow its prefix.
const ID_DIGITS: usize = 26;

impl Reply {
    /// The status, then the body, with ids as `[agent]` and credentials as `[kv_agent]`.
    pub fn redacted(&self) -> String {
        let mut body = self.body.clone();
        redact(&mut body);
        let body = serde_json::to_string_pretty(&body).unwrap_or_default();
        format!("{}\n{body}", self.status)
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(kind) = kind(text) {
                *text = format!("[{kind}]");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(members) => members.values_mut().for_each(redact),
        _ => {}
    }
}

/// What an id or a credential names; `None` for other texts.
fn kind(text: &str) -> Option<&str> {
    let (kind, rest) = text.rsplit_once('_')?;
    let is_id = rest.len() == ID_DIGITS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_id || kind.starts_with("kv_")).then_some(kind)
}
