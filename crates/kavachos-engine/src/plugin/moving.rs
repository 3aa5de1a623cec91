//! What plugins have of a tenant that moves: the tables that go with it, what stays behind, and what is asked of a row that
//! comes from elsewhere.
//!
//! Promises: a table moves unless its plugin names it as passing, so nothing is left behind because nobody thought of it;
//! a second factor moves with what proves it, or the tenant does not move.

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_store::Cell;
use kavachos_store::transfer::{Factor, Table};

use super::tables::{OwnTable, Tables};
use super::{Plugin, Plugins};
use crate::engine::Engine;

/// In which rows of a plugin it stands that its method is a second factor of a human.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorRows {
    /// The table, which moves.
    pub table: &'static str,
    /// Its column that names the human.
    pub human: &'static str,
    /// Its column that holds something once the factor is asked for.
    pub since: &'static str,
}

/// A row of a plugin that comes from another database.
#[derive(Debug, Clone, Copy)]
pub struct MovedRow<'a> {
    table: &'a Table<'a>,
    cells: &'a [Cell],
}

impl MovedRow<'_> {
    /// In which table it is to stand.
    pub fn table(&self) -> &'static str {
        self.table.kind
    }

    /// The text in this column; `None` where there is nothing.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.cell(column)? {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number in this column; `None` where there is nothing.
    pub fn number(&self, column: &str) -> Option<i64> {
        match self.cell(column)? {
            Cell::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The bytes in this column; `None` where there is nothing.
    pub fn bytes(&self, column: &str) -> Option<&[u8]> {
        match self.cell(column)? {
            Cell::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The human whose id stands in this column.
    ///
    /// # Errors
    /// It is no id of a human.
    pub fn human(&self, column: &str) -> Result<UserId, String> {
        let id = self.text(column).and_then(|text| text.parse().ok());
        id.ok_or_else(|| format!("`{column}` is no id of a human"))
    }

    fn cell(&self, column: &str) -> Option<&Cell> {
        let at = self
            .table
            .columns
            .iter()
            .position(|one| one.member == column);
        at.and_then(|at| self.cells.get(at))
    }
}

/// What one plugin has of a tenant.
pub(crate) struct Belongings {
    pub(crate) plugin: &'static str,
    /// The number of the last migration.
    pub(crate) version: u32,
    moved: Vec<OwnTable>,
    /// In the order in which their rows can be removed.
    passing: Vec<&'static str>,
    /// Of those that move.
    good_once: Vec<&'static str>,
    factor: Option<FactorRows>,
    keeper: Arc<dyn Plugin>,
}

impl Belongings {
    pub(super) fn of(plugin: &Arc<dyn Plugin>) -> Result<Self, String> {
        let migrations = plugin.migrations();
        let tables = Tables::of(&migrations)?;
        let passing = plugin.passing();
        let all = Self {
            plugin: plugin.id(),
            version: migrations.last().map_or(0, |last| last.number),
            moved: tables.moved(&passing)?,
            passing: tables.latest_first(&passing),
            good_once: plugin.good_once(),
            factor: plugin.factor(),
            keeper: Arc::clone(plugin),
        };
        all.check_factor()?;
        all.check_good_once()?;
        Ok(all)
    }

    fn check_good_once(&self) -> Result<(), String> {
        let moves = |name: &&&str| self.moved.iter().any(|table| table.name == **name);
        match self.good_once.iter().find(|name| !moves(name)) {
            None => Ok(()),
            Some(other) => Err(format!(
                "`{other}`, which it says holds what is good once, is no table of its own that moves"
            )),
        }
    }

    fn check_factor(&self) -> Result<(), String> {
        let Some(rows) = &self.factor else {
            return Ok(());
        };
        let table = self.tables().find(|table| table.kind == rows.table);
        let has = |name: &str, optional: bool| {
            let columns = table.iter().flat_map(|table| table.columns);
            let mut named = columns.filter(|column| column.member == name);
            named.any(|column| column.optional == optional)
        };
        if has(rows.human, false) && has(rows.since, true) {
            return Ok(());
        }
        Err(format!(
            "its factor stands in `{}`, which must move and have the column `{}`, and `{}` that may hold nothing",
            rows.table, rows.human, rows.since
        ))
    }

    /// The tables whose rows move.
    pub(crate) fn tables(&self) -> impl Iterator<Item = Table<'_>> {
        let tables = self.moved.iter();
        tables.map(|table| Table::of_plugin(self.plugin, table.name, (&table.columns, table.key)))
    }

    fn factor(&self) -> Option<Factor<'_>> {
        let rows = self.factor?;
        let table = self.tables().find(|table| table.kind == rows.table)?;
        Some(Factor {
            method: self.plugin,
            table,
            human: rows.human,
            since: rows.since,
        })
    }
}

impl Plugins {
    /// What plugins have of a tenant, those with tables that move, by their ids.
    pub(crate) fn belongings(&self) -> Vec<&Belongings> {
        let moving = |one: &&Belongings| !one.moved.is_empty();
        let mut all: Vec<&Belongings> = self.belongings.iter().filter(moving).collect();
        all.sort_unstable_by_key(|one| one.plugin);
        all
    }

    /// Their tables, in the order in which they are written and read.
    pub(crate) fn moved_tables(&self) -> Vec<Table<'_>> {
        let all = self.belongings().into_iter();
        all.flat_map(Belongings::tables).collect()
    }

    /// The tables whose rows a tenant does without, in the order in which they can be removed.
    pub(crate) fn passing_tables(&self) -> Vec<&'static str> {
        let all = self.belongings.iter();
        all.flat_map(|one| one.passing.iter().copied()).collect()
    }

    /// The tables that hold what may have been used up since a backup, in the order in which they can be removed.
    pub(crate) fn tables_used_up(&self) -> Vec<&'static str> {
        let all = self.belongings.iter();
        let once = all.flat_map(|one| one.good_once.iter().copied());
        self.passing_tables().into_iter().chain(once).collect()
    }

    /// Where second factors stand.
    pub(crate) fn factors(&self) -> Vec<Factor<'_>> {
        self.belongings
            .iter()
            .filter_map(Belongings::factor)
            .collect()
    }

    /// Checks a row that comes from elsewhere, by itself.
    pub(crate) fn admit(
        &self,
        engine: &Engine,
        table: &Table,
        cells: &[Cell],
    ) -> Result<(), String> {
        let mut all = self.belongings.iter();
        let Some(owner) = all.find(|one| Some(one.plugin) == table.plugin) else {
            return Ok(());
        };
        owner.keeper.admit(engine, &MovedRow { table, cells })
    }
}
