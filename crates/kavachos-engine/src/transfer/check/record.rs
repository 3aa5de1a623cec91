//! A record: that it follows the one before it, that its personal part is the one that was recorded, and what filters
//! ask for.

use kavachos_core::hex;
use kavachos_core::id::AuditId;
use kavachos_core::json;
use kavachos_core::ledger::{Hash, LogId, MAX_RECORD_BYTES, leaf};
use kavachos_core::time::Timestamp;
use kavachos_store::transfer::Record;
use kavachos_store::{Cell, Row};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::one_of;
use crate::transfer::line::Wrong;
use crate::transfer::testimony::Testimony;

/// Where a record stands.
pub(in crate::transfer) struct Place {
    pub(in crate::transfer) log: LogId,
    pub(in crate::transfer) seq: u64,
    /// No record is older than the one before it.
    pub(in crate::transfer) not_before: Timestamp,
    pub(in crate::transfer) not_after: Timestamp,
}

/// The record that this row is: its leaf, the columns that follow from its body, and what it says of other rows.
pub(in crate::transfer) fn record(
    place: &Place,
    cells: &[Cell],
) -> Result<(Record, Testimony), Wrong> {
    let (seq, time, body, salt, personal): (
        u64,
        Timestamp,
        String,
        Option<Vec<u8>>,
        Option<String>,
    ) = Row::new(cells.to_vec())
        .decode()
        .map_err(|error| format!("a member of this record is not {}", error.expected))?;
    if seq != place.seq {
        return Err(format!("the record of number {} is missing", place.seq));
    }
    if time < place.not_before || time > place.not_after {
        return Err(
            "its time does not lie between that of the record before it and that of the log"
                .to_owned(),
        );
    }
    let text = personal.as_deref().unwrap_or_default();
    if body.len().saturating_add(text.len()) > MAX_RECORD_BYTES {
        return Err("it is longer than a record may be".to_owned());
    }
    let members = members(&body)?;
    check_personal(&members, salt.as_deref(), personal.as_deref())?;
    let (named, about, chain) = columns(&members)?;
    let record = Record {
        leaf: leaf(place.log, seq, time, &body),
        seq,
        time,
        body,
        salt,
        personal,
        named,
        about,
        chain,
    };
    Ok((record, Testimony::of(&members)?))
}

fn members(body: &str) -> Result<Map<String, Value>, Wrong> {
    let wrong = || "its body is not the canonical JSON of an object".to_owned();
    let value = json::parse(body.as_bytes()).map_err(|_| wrong())?;
    if json::canonical(&value) != body {
        return Err(wrong());
    }
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(wrong()),
    }
}

/// Personal fields are there with their salt, or erased with it.
fn check_personal(
    body: &Map<String, Value>,
    salt: Option<&[u8]>,
    personal: Option<&str>,
) -> Result<(), Wrong> {
    let (salt, personal) = match (salt, personal) {
        (None, None) => return Ok(()),
        (Some(salt), Some(personal)) => (salt, personal),
        _ => {
            return Err("its personal part and its salt must both be there or both not".to_owned());
        }
    };
    let hash: Hash = Sha256::new()
        .chain_update(salt)
        .chain_update(personal)
        .finalize()
        .into();
    let is_same = body.get("priv").and_then(Value::as_str) == Some(hex::encode(&hash).as_str());
    let is_object = matches!(serde_json::from_str(personal), Ok(Value::Object(_)));
    if is_same && is_object {
        return Ok(());
    }
    Err("its personal part is not the one that was recorded".to_owned())
}

type Columns = ([String; 5], [Option<String>; 5], Vec<String>);

/// What filters ask for.
fn columns(body: &Map<String, Value>) -> Result<Columns, Wrong> {
    let text = |name: &str| match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{name}` of its body is no text")),
    };
    let need = |name: &str| text(name)?.ok_or_else(|| format!("its body has no `{name}`"));
    let named = [
        need("id")?,
        need("kind")?,
        need("outcome")?,
        need("code")?,
        need("actor")?,
    ];
    let [id, _, outcome, ..] = &named;
    if id.parse::<AuditId>().is_err() {
        return Err("`id` of its body is no id of a record".to_owned());
    }
    one_of("outcome", outcome, &["allowed", "denied"])?;
    let about = [
        text("subject")?,
        text("agent")?,
        text("action")?,
        text("resource")?,
        text("requestId")?,
    ];
    let chain = match body.get("chain") {
        None => Vec::new(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or("`chain` of its body is no list of texts")?,
        Some(_) => return Err("`chain` of its body is no list".to_owned()),
    };
    Ok((named, about, chain))
}
