//! What a row must be like before it is written: everything that is read from it later can be read, and it says nothing
//! that rows before it contradict.

use std::collections::HashMap;

use kavachos_core::grant::MAX_DEPTH;
use kavachos_core::hex;
use kavachos_core::id::{AuditId, GrantId};
use kavachos_core::json;
use kavachos_core::ledger::{Hash, LogId, MAX_RECORD_BYTES, leaf};
use kavachos_core::principal::Owner;
use kavachos_core::revocation::{HandleKind, LogHead, Mark};
use kavachos_core::time::Timestamp;
use kavachos_store::agent::{AgentKeyRow, AgentRow};
use kavachos_store::approval::ApprovalRow;
use kavachos_store::grant::GrantRow;
use kavachos_store::handle;
use kavachos_store::operator_key::OperatorKeyRow;
use kavachos_store::session::SessionRow;
use kavachos_store::tool_server::ToolServerRow;
use kavachos_store::transfer::{Record, Table};
use kavachos_store::user::UserRow;
use kavachos_store::webhook::{DeliveryRow, WebhookRow};
use kavachos_store::{Cell, FromRow, MAX_COUNTER_BYTES, Row};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::line::Wrong;
use crate::compile;
use crate::error::Error;

/// What kinds of agents there are.
const AGENT_KINDS: [&str; 3] = ["autonomous", "delegated", "service"];
/// Where an operator's key may come from.
const ORIGINS: [&str; 3] = ["created", "init", "env"];

/// Checks one row by itself, of any table but those of the logs.
pub(super) fn row(table: &Table, cells: &[Cell]) -> Result<(), Wrong> {
    match table.kind {
        "handle" => handle_row(cells),
        "user" => user(&typed(table, cells)?),
        "agent" => agent(table, cells),
        "agentKey" => {
            let key: AgentKeyRow = typed(table, cells)?;
            kind(key.mark, HandleKind::Key)
        }
        "grant" => grant(&grant_row(table, cells)?),
        "toolServer" => {
            let server: ToolServerRow = typed(table, cells)?;
            compile::tool_server_key(&server).map_err(told)?;
            compile::stored::<Map<String, Value>>("policy", &server.policy).map_err(told)?;
            kind(server.mark, HandleKind::Key)
        }
        "operatorKey" => {
            let key: OperatorKeyRow = typed(table, cells)?;
            compile::operator_key(&key).map_err(told)?;
            one_of("origin", &key.origin, &ORIGINS)?;
            kind(key.mark, HandleKind::Key)
        }
        "session" => {
            let session: SessionRow = typed(table, cells)?;
            kind(session.mark, HandleKind::Session)
        }
        "approval" => approval(table, cells),
        "webhook" => {
            let webhook: WebhookRow = typed(table, cells)?;
            compile::stored::<Vec<String>>("kinds", &webhook.kinds).map_err(told)?;
            Ok(())
        }
        "delivery" => typed::<DeliveryRow>(table, cells).map(drop),
        "counter" => counter(cells),
        _ => Ok(()),
    }
}

/// The row as it will be read. Its generation stands in the live set; any will do here.
fn typed<T: FromRow>(table: &Table, cells: &[Cell]) -> Result<T, Wrong> {
    let mut all = Vec::with_capacity(cells.len().saturating_add(1));
    for (column, cell) in table.columns.iter().zip(cells) {
        all.push(cell.clone());
        if column.member == "handle" {
            all.push(Cell::Integer(1));
        }
    }
    read(table, all)
}

fn read<T: FromRow>(table: &Table, cells: Vec<Cell>) -> Result<T, Wrong> {
    Row::new(cells).decode().map_err(|error| {
        let expected = error.expected;
        format!("a member of this {} is not {expected}", table.kind)
    })
}

fn told(error: Error) -> Wrong {
    match error {
        Error::Internal(words) => words,
        other => other.to_string(),
    }
}

fn kind(mark: Mark, expected: HandleKind) -> Result<(), Wrong> {
    if mark.handle.kind == expected {
        return Ok(());
    }
    Err("its handle is one of another kind of thing".to_owned())
}

fn one_of(member: &str, text: &str, known: &[&str]) -> Result<(), Wrong> {
    if known.contains(&text) {
        return Ok(());
    }
    Err(format!("`{member}` is none of {}", known.join(", ")))
}

fn handle_row(cells: &[Cell]) -> Result<(), Wrong> {
    match cells {
        [Cell::Blob(bytes), Cell::Integer(1..)] if handle::decode(bytes).is_some() => Ok(()),
        _ => Err("it is no handle with a generation from 1".to_owned()),
    }
}

fn user(row: &UserRow) -> Result<(), Wrong> {
    compile::user(row).map_err(told)?;
    kind(row.mark, HandleKind::User)
}

/// Its owner, if that is an agent, is still to come: until then it stands for itself.
fn agent(table: &Table, cells: &[Cell]) -> Result<(), Wrong> {
    let mut all: Vec<Cell> = Vec::with_capacity(cells.len().saturating_add(2));
    for (column, cell) in table.columns.iter().zip(cells) {
        all.push(cell.clone());
        match column.member {
            "ownerUser" if *cell == Cell::Null => all.extend(cells.first().cloned()),
            "ownerUser" => all.push(Cell::Null),
            "handle" => all.push(Cell::Integer(1)),
            _ => {}
        }
    }
    let row: AgentRow = read(table, all)?;
    one_of("type", &row.kind, &AGENT_KINDS)?;
    if let Some(metadata) = &row.metadata {
        compile::stored::<Value>("metadata", metadata).map_err(told)?;
    }
    kind(row.mark, HandleKind::Agent)
}

/// A grant, as it will be read: there its depth stands after its guards.
pub(super) fn grant_row(table: &Table, cells: &[Cell]) -> Result<GrantRow, Wrong> {
    let mut all = Vec::with_capacity(cells.len().saturating_add(1));
    for (column, cell) in table.columns.iter().zip(cells).skip(1) {
        all.push(cell.clone());
        match column.member {
            "guards" => all.extend(cells.first().cloned()),
            "handle" => all.push(Cell::Integer(1)),
            _ => {}
        }
    }
    read(table, all)
}

fn grant(row: &GrantRow) -> Result<(), Wrong> {
    compile::grant(row).map_err(told)?;
    kind(row.mark, HandleKind::Grant)?;
    let fits = row.depth <= row.max_depth && row.max_depth <= MAX_DEPTH;
    if !fits {
        return Err("it stands deeper than it may".to_owned());
    }
    let from_human = row.giver == Owner::User(row.root);
    if (row.depth == 0) != row.parent.is_none() || (row.depth == 0) != from_human {
        return Err(
            "a grant at depth 0 comes from its human, and any other from a grant".to_owned(),
        );
    }
    Ok(())
}

/// Checks a grant against the one it was derived from.
pub(super) fn derived(row: &GrantRow, parents: &HashMap<GrantId, GrantRow>) -> Result<(), Wrong> {
    let Some(id) = row.parent else {
        return Ok(());
    };
    let parent = parents
        .get(&id)
        .ok_or("the grant it was derived from does not stand before it")?;
    let linked = parent.depth.checked_add(1) == Some(row.depth)
        && parent.root == row.root
        && row.giver == Owner::Agent(parent.receiver)
        && row.receiver != parent.receiver;
    if !linked {
        return Err("it does not follow from the grant it was derived from".to_owned());
    }
    // A parent that was changed may be narrower by now: then its child gives no more than it, which decisions see to.
    if parent.version > 0 {
        return Ok(());
    }
    let (child, parent) = (
        compile::grant(row).map_err(told)?,
        compile::grant(parent).map_err(told)?,
    );
    if child.is_within(&parent) {
        Ok(())
    } else {
        Err("it gives more than the grant it was derived from".to_owned())
    }
}

fn approval(table: &Table, cells: &[Cell]) -> Result<(), Wrong> {
    let mut all = Vec::with_capacity(cells.len().saturating_add(1));
    for (column, cell) in table.columns.iter().zip(cells) {
        all.push(cell.clone());
        if column.member == "approverGeneration" {
            all.push(cell.clone());
        }
    }
    let row: ApprovalRow = read(table, all)?;
    let digest: [u8; 32] = Sha256::digest(&row.document).into();
    if digest != row.digest {
        return Err("its digest is not that of its document".to_owned());
    }
    compile::stored::<Vec<GrantId>>("path of grants", &row.grant_path).map_err(told)?;
    // What is listed is what was asked.
    let document: Map<String, Value> = compile::stored("document", &row.document).map_err(told)?;
    let asked = [
        ("action", row.action),
        ("resource", row.resource),
        ("agent", row.agent.to_string()),
        ("for", row.subject.to_string()),
    ];
    let differs = |(name, value): &(&str, String)| {
        document.get(*name).and_then(Value::as_str) != Some(value.as_str())
    };
    match asked.iter().find(|member| differs(member)) {
        Some((name, _)) => Err(format!("its `{name}` is not that of its document")),
        None => Ok(()),
    }
}

fn counter(cells: &[Cell]) -> Result<(), Wrong> {
    match cells {
        [Cell::Blob(key), ..] if key.len() <= MAX_COUNTER_BYTES => Ok(()),
        _ => Err("the key of a counter is too long".to_owned()),
    }
}

/// The revocation log after this row of it.
pub(super) fn revocation(head: LogHead, cells: &[Cell]) -> Result<LogHead, Wrong> {
    let [
        Cell::Integer(rseq),
        Cell::Blob(bytes),
        Cell::Integer(generation),
        Cell::Blob(rhash),
    ] = cells
    else {
        return Err("it is no revocation".to_owned());
    };
    let handle = handle::decode(bytes).ok_or("it revokes no handle")?;
    let generation = u64::try_from(*generation).unwrap_or(0);
    let next = head.append(Mark { handle, generation });
    if u64::try_from(*rseq) != Ok(next.rseq) {
        return Err(format!("the revocation of number {} is missing", next.rseq));
    }
    if next.rhash.as_slice() != rhash.as_slice() {
        return Err("it does not follow from the revocations before it".to_owned());
    }
    Ok(next)
}

/// Where a record stands.
pub(super) struct Place {
    pub(super) log: LogId,
    pub(super) seq: u64,
    /// No record is older than the one before it.
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// The record that this row is: its leaf, and the columns that follow from its body.
pub(super) fn record(place: &Place, cells: &[Cell]) -> Result<Record, Wrong> {
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
    Ok(Record {
        leaf: leaf(place.log, seq, time, &body),
        seq,
        time,
        body,
        salt,
        personal,
        named,
        about,
        chain,
    })
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
