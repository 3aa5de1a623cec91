//! Grants: each by itself, and against the one that it was derived from.

use std::collections::HashMap;

use kavachos_core::grant::MAX_DEPTH;
use kavachos_core::id::GrantId;
use kavachos_core::principal::Owner;
use kavachos_core::revocation::HandleKind;
use kavachos_store::Cell;
use kavachos_store::grant::GrantRow;
use kavachos_store::transfer::Table;

use super::{kind, named, read, told};
use crate::compile;
use crate::text;
use crate::transfer::line::Wrong;

/// A grant, as it will be read: there its depth stands after its guards.
pub(in crate::transfer) fn grant_row(table: &Table, cells: &[Cell]) -> Result<GrantRow, Wrong> {
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

pub(super) fn grant(row: &GrantRow) -> Result<(), Wrong> {
    compile::grant(row).map_err(told)?;
    kind(row.mark, HandleKind::Grant)?;
    if let Some(reason) = &row.reason {
        text::plain("reason", reason, text::MAX_REASON_BYTES).map_err(|error| named(&error))?;
    }
    if let Some(audience) = &row.reserved_for {
        compile::audience(audience).map_err(told)?;
        if row.parent.is_none() {
            return Err("a grant for one token alone comes from an agent".to_owned());
        }
    }
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
pub(in crate::transfer) fn derived(
    row: &GrantRow,
    parents: &HashMap<GrantId, GrantRow>,
) -> Result<(), Wrong> {
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
