//! Requests for approval: what is listed is what was asked, and what was asked is what a human can read.

use kavachos_core::action::Action;
use kavachos_core::decide::MAX_DOCUMENT_BYTES;
use kavachos_core::grant::MAX_DEPTH;
use kavachos_core::id::GrantId;
use kavachos_core::resource::Resource;
use kavachos_store::Cell;
use kavachos_store::approval::ApprovalRow;
use kavachos_store::transfer::Table;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{caller, of, read, told};
use crate::compile;
use crate::transfer::line::Wrong;

pub(super) fn approval(table: &Table, cells: &[Cell]) -> Result<(), Wrong> {
    let mut all = Vec::with_capacity(cells.len().saturating_add(1));
    for (column, cell) in table.columns.iter().zip(cells) {
        all.push(cell.clone());
        if column.member == "approverGeneration" {
            all.push(cell.clone());
        }
    }
    let row: ApprovalRow = read(table, all)?;
    check_texts(&row)?;
    let digest: [u8; 32] = Sha256::digest(&row.document).into();
    if digest != row.digest {
        return Err("its digest is not that of its document".to_owned());
    }
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

fn check_texts(row: &ApprovalRow) -> Result<(), Wrong> {
    row.action.parse::<Action>().map_err(of("action"))?;
    row.resource.parse::<Resource>().map_err(of("resource"))?;
    if row.document.len() > MAX_DOCUMENT_BYTES || !row.document.is_ascii() {
        return Err(format!(
            "`document`: is no plain ASCII of at most {MAX_DOCUMENT_BYTES} bytes"
        ));
    }
    if let Some(name) = &row.decided_by {
        caller("decidedBy", name)?;
    }
    let path: Vec<GrantId> = compile::stored("path of grants", &row.grant_path).map_err(told)?;
    if path.len() > usize::from(MAX_DEPTH).saturating_add(1) {
        return Err("`grantPath`: is longer than a chain may be".to_owned());
    }
    Ok(())
}
