//! Those who act: humans with their sessions, agents with their keys.

use kavachos_core::id::UserId;
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::SecretKind;
use kavachos_core::time::Timestamp;
use kavachos_store::Cell;
use kavachos_store::agent::{AgentKeyRow, AgentRow};
use kavachos_store::session::SessionRow;
use kavachos_store::transfer::Table;
use kavachos_store::user::UserRow;
use serde_json::Value;

use super::{caller, kind, named, one_of, read, shown, told};
use crate::clients::{SHOWN, SHOWN_OF_CLIENT};
use crate::compile;
use crate::impersonation;
use crate::proof_keys;
use crate::text;
use crate::transfer::line::Wrong;
use crate::users::External;

/// What kinds of agents there are.
const AGENT_KINDS: [&str; 3] = ["autonomous", "delegated", "service"];

pub(super) fn user(row: &UserRow) -> Result<(), Wrong> {
    compile::user(row).map_err(told)?;
    if let Some(email) = &row.email
        && text::email(email).map_err(|error| named(&error))? != *email
    {
        return Err("`email`: is not in lower case".to_owned());
    }
    if let Some(text) = &row.name {
        name("name", text)?;
    }
    if let Some(pair) = row.external.clone() {
        external(pair)?;
    }
    kind(row.mark, HandleKind::User)
}

pub(super) fn former_identity(table: &Table, cells: &[Cell]) -> Result<(), Wrong> {
    type Cells = (String, String, UserId, Timestamp);
    let (provider, external_id, ..): Cells = read(table, cells.to_vec())?;
    external((provider, external_id))
}

fn external((provider, external_id): (String, String)) -> Result<(), Wrong> {
    let external = External {
        provider,
        external_id,
    };
    external.check().map_err(|error| named(&error))
}

/// Its owner, if that is an agent, is still to come: until then it stands for itself.
pub(super) fn agent(table: &Table, cells: &[Cell]) -> Result<(), Wrong> {
    let mut all: Vec<Cell> = Vec::with_capacity(cells.len().saturating_add(2));
    for (column, cell) in table.columns.iter().zip(cells) {
        all.push(cell.clone());
        match column.member {
            "ownerUser" if *cell == Cell::Null => all.extend(cells.first().cloned()),
            "ownerUser" => all.push(Cell::Null),
            "handle" => all.push(Cell::Integer(1)),
            "proofHandle" if *cell == Cell::Null => all.push(Cell::Null),
            "proofHandle" => all.push(Cell::Integer(1)),
            _ => {}
        }
    }
    let row: AgentRow = read(table, all)?;
    one_of("type", &row.kind, &AGENT_KINDS)?;
    name("name", &row.name)?;
    if let Some(metadata) = &row.metadata {
        let metadata: Value = compile::stored("metadata", metadata).map_err(told)?;
        text::metadata(&metadata).map_err(|error| named(&error))?;
    }
    if let Some(key) = &row.proof_key {
        let made = proof_keys::compiled(key).map_err(told)?.print.handle();
        if key.mark.handle != made {
            return Err("`proofHandle` is not made of the thumbprint of `proofKey`".to_owned());
        }
    }
    kind(row.mark, HandleKind::Agent)
}

pub(super) fn agent_key(row: &AgentKeyRow) -> Result<(), Wrong> {
    if ![SHOWN, SHOWN_OF_CLIENT].contains(&row.shown.as_str()) {
        shown(&row.shown, SecretKind::Agent)?;
    }
    kind(row.mark, HandleKind::Key)
}

pub(super) fn session(row: &SessionRow) -> Result<(), Wrong> {
    shown(&row.shown, SecretKind::Session)?;
    caller("openedBy", &row.opened_by)?;
    impersonation::stored(row).map_err(told)?;
    kind(row.mark, HandleKind::Session)
}

/// A name, as it may be given.
pub(super) fn name(member: &str, name: &str) -> Result<(), Wrong> {
    text::plain(member, name, text::MAX_NAME_BYTES).map_err(|error| named(&error))
}
