//! The link to `worker.mjs`, over HTTP on loopback.

use std::sync::Arc;

use kavachos_store::{Cell, Param, Row};
use serde_json::{Value, json};

use crate::link::{Link, LinkError, Statement, Tally};

/// How much of an answer is read: a page of rows with their text, as hexadecimal digits at worst.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// What D1's errors contain when the statements are to blame, and so were rolled back.
const DATA: [&str; 7] = [
    ": SQLITE_CONSTRAINT",
    ": SQLITE_ERROR",
    ": SQLITE_TOOBIG",
    ": SQLITE_MISMATCH",
    "Wrong number of parameter bindings",
    "To execute a transaction",
    // workerd's words when a deferred constraint fails after the last statement: it throws the transaction away, and
    // with it the object in which the database lives.
    "constraints were violated",
];
/// What most of them begin with.
const OF_D1: &str = "D1_ERROR: ";

/// One database behind a Worker.
#[derive(Clone)]
pub struct Http {
    agent: ureq::Agent,
    url: String,
    tally: Arc<Tally>,
}

impl Http {
    /// The database that the Worker at this address knows by this name.
    pub fn new(address: &str, database: &str) -> Self {
        Self {
            agent: ureq::Agent::new_with_defaults(),
            url: format!("{}/{database}", address.trim_end_matches('/')),
            tally: Arc::default(),
        }
    }

    /// What went through this link and its clones.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Link for Http {
    fn batch(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, LinkError> {
        self.tally.count(statements);
        let lost = |error: ureq::Error| LinkError::Lost(error.to_string());
        let sent: Vec<Value> = statements.iter().map(encode).collect();
        let mut response = self.agent.post(&self.url).send_json(sent).map_err(lost)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        decode(&body.read_json().map_err(lost)?)
    }
}

fn encode(statement: &Statement) -> Value {
    let params: Vec<Value> = statement.params.iter().map(param).collect();
    json!({ "sql": statement.sql, "params": params })
}

fn param(param: &Param) -> Value {
    match param {
        Param::Null => Value::Null,
        Param::Integer(number) => json!(number),
        Param::Unsigned(number) => json!(number),
        Param::Text(text) => json!(text),
        Param::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

fn decode(answer: &Value) -> Result<Vec<Vec<Row>>, LinkError> {
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(judge(error));
    }
    let strange = || LinkError::Lost("the answer is none of the Worker's".to_owned());
    let lists = answer.get("rows").and_then(Value::as_array);
    let lists = lists.ok_or_else(strange)?.iter().map(|list| {
        let rows = list.as_array().ok_or_else(strange)?;
        rows.iter().map(row).collect()
    });
    lists.collect()
}

/// Anything else leaves open what happened: resets, overloads, lost connections and full disks among them.
fn judge(error: &str) -> LinkError {
    if DATA.iter().any(|words| error.contains(words)) {
        let reason = error.strip_prefix(OF_D1).unwrap_or(error);
        return LinkError::Refused(reason.to_owned());
    }
    LinkError::Lost(error.to_owned())
}

fn row(row: &Value) -> Result<Row, LinkError> {
    let strange = || LinkError::Refused("a row is no list of values".to_owned());
    let cells = row.as_array().ok_or_else(strange)?.iter().map(cell);
    Ok(Row::new(cells.collect::<Result<_, _>>()?))
}

fn cell(value: &Value) -> Result<Cell, LinkError> {
    let inexact = || LinkError::Refused("a number is beyond 2^53: D1 has rounded it".to_owned());
    match value {
        Value::Null => Ok(Cell::Null),
        Value::String(text) => Ok(Cell::Text(text.clone())),
        Value::Number(number) => number.as_i64().map(Cell::Integer).ok_or_else(inexact),
        other => {
            let hex = other.get("hex").and_then(Value::as_str);
            hex.and_then(unhex).map(Cell::Blob).ok_or_else(inexact)
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_statements_are_to_blame_for_is_known_to_be_undone() {
        for refused in [
            "D1_ERROR: UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)",
            "D1_ERROR: no such table: nowhere: SQLITE_ERROR",
        ] {
            assert!(matches!(judge(refused), LinkError::Refused(_)), "{refused}");
        }
        for lost in [
            "D1_ERROR: Network connection lost.",
            "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.",
            "D1_ERROR: disk I/O error: SQLITE_IOERR",
        ] {
            assert!(matches!(judge(lost), LinkError::Lost(_)), "{lost}");
        }
    }
}
