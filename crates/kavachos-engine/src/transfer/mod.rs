//! A tenant in portable form: out of one database, into another, whole or not at all.
//!
//! The form is JSON Lines: a head, the [`plugins`] with their tables, the rows of every table in the order of [`tables`], and
//! an end with counts and a digest of all before it. [`line`] knows one line, [`export`] writes them, [`import`] reads them
//! through the [`loader`] into the one transaction that fills an empty database, no slower than [`pace`] says; [`check`] says
//! what a row must be like, and [`testimony`] what the records say of it.
//!
//! Promises: the same rows give the same lines, whatever the database; memory is bounded by a page of rows, whatever the
//! size; a file that was cut or edited is refused with the number of the line, as far as that shows without a signature,
//! and nothing of it stays.

mod check;
mod export;
mod import;
mod line;
mod loader;
mod pace;
mod plugins;
mod record;
mod testimony;

use kavachos_store::transfer::{TABLES, Table};

use crate::engine::Engine;

pub use export::TenantExport;
pub use import::{Imported, LedgerRoot};
pub(crate) use record::record_of;

/// The name of the form, in its first line.
const FORM: &str = "kavachos-tenant";
/// The version of the form.
const VERSION: u64 = 2;

/// Everything that a tenant is made of, in the order in which it is written and read. Those of plugins stand before the
/// ledger, which is the last.
fn tables(engine: &Engine) -> Vec<Table<'_>> {
    let mut all: Vec<Table<'_>> = TABLES.to_vec();
    let ledger = all.len().saturating_sub(1);
    all.splice(ledger..ledger, engine.plugins().moved_tables());
    all
}
