//! What a row must be like before it is written: everything that is read from it later can be read, it keeps to the limits
//! that what is made here keeps to, and it says nothing that rows before it contradict.

mod approval;
mod client;
mod grant;
mod party;
mod record;
mod service;

use kavachos_core::id::{GrantId, KeyId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::{HandleKind, LogHead, Mark};
use kavachos_core::secret::SecretKind;
use kavachos_core::time::Timestamp;
use kavachos_store::handle;
use kavachos_store::transfer::Table;
use kavachos_store::{Cell, FromRow, MAX_COUNTER_BYTES, Row};

use super::line::Wrong;
use crate::engine::Engine;
use crate::error::Error;

pub(super) use grant::{derived, grant_row};
pub(super) use record::{Place, record};
pub(super) use service::administers;

/// Checks one row by itself, of any table but those of the logs.
pub(super) fn row(engine: &Engine, table: &Table, cells: &[Cell]) -> Result<(), Wrong> {
    match table.kind {
        "handle" => handle_row(cells),
        "user" => party::user(&typed(table, cells)?),
        "formerIdentity" => party::former_identity(table, cells),
        "password" => read::<(UserId, String, bool, Timestamp)>(table, cells.to_vec()).map(drop),
        "secondFactor" => read::<(UserId, String, Timestamp)>(table, cells.to_vec()).map(drop),
        "agent" => party::agent(table, cells),
        "agentKey" => party::agent_key(&typed(table, cells)?),
        "grant" => grant::grant(&grant_row(table, cells)?),
        "tokenGrant" => read::<(GrantId, Timestamp)>(table, cells.to_vec()).map(drop),
        "toolServer" => service::tool_server(&typed(table, cells)?),
        "client" => client::client(&typed(table, cells)?),
        "connection" => client::connection(&read(table, cells.to_vec())?),
        "consent" => client::consent(&read(table, cells.to_vec())?),
        "refreshLine" => client::refresh_line(&read(table, cells.to_vec())?),
        "refreshToken" => read::<([u8; 32], [u8; 32], u64)>(table, cells.to_vec()).map(drop),
        "authorizationCode" => client::authorization_code(&read(table, cells.to_vec())?),
        "operatorKey" => service::operator_key(&typed(table, cells)?),
        "session" => party::session(&typed(table, cells)?),
        "approval" => approval::approval(table, cells),
        "webhook" => service::webhook(engine, &typed(table, cells)?),
        "delivery" => service::delivery(&typed(table, cells)?),
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
        Error::Invalid(invalid) => named(&invalid),
        other => other.to_string(),
    }
}

/// What is wrong with a member, by its name.
fn named(invalid: &Invalid) -> Wrong {
    match invalid.field() {
        "" => invalid.message().to_owned(),
        field => format!("`{field}`: {}", invalid.message()),
    }
}

/// The same of a member that does not say its own name.
fn of(member: &str) -> impl Fn(Invalid) -> Wrong {
    move |invalid| named(&invalid.within(member))
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

/// What is shown of a credential is no free text.
fn shown(text: &str, kind: SecretKind) -> Result<(), Wrong> {
    if kind.is_shown_as(text) {
        return Ok(());
    }
    Err(format!(
        "`shown` is not the beginning of a credential with `{}`",
        kind.prefix()
    ))
}

/// Who answered or opened something: never an agent.
fn caller(member: &str, text: &str) -> Result<(), Wrong> {
    if text == "system" || text.parse::<KeyId>().is_ok() || text.parse::<UserId>().is_ok() {
        return Ok(());
    }
    Err(format!(
        "`{member}` is neither a human, nor an operator key, nor `system`"
    ))
}

fn handle_row(cells: &[Cell]) -> Result<(), Wrong> {
    match cells {
        [Cell::Blob(bytes), Cell::Integer(1..)] if handle::decode(bytes).is_some() => Ok(()),
        _ => Err("it is no handle with a generation from 1".to_owned()),
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
