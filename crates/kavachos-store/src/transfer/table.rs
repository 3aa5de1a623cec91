//! What a table is that moves, how its rows are read in the order of their key, and how one is written back.

use crate::batch::{Param, Write};
use crate::row::{Cell, Query};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// TEXT.
    Text,
    /// BIGINT that is counted up, so never negative.
    Number,
    /// BIGINT of a plugin, which alone knows what it says.
    Signed,
    /// BYTEA.
    Bytes,
}

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// What it is called outside.
    pub member: &'static str,
    /// What it holds.
    pub form: Form,
    /// Whether it may hold nothing.
    pub optional: bool,
    pub(super) name: &'static str,
}

/// One table, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    /// What one row of it is called.
    pub kind: &'static str,
    /// The plugin whose table it is; `None` for the server's own.
    pub plugin: Option<&'static str>,
    /// Its columns, those of the key first.
    pub columns: &'a [Column],
    /// How many columns the key has.
    pub key: usize,
    /// How many rows are read at once: few where a row may be long.
    pub page: usize,
    pub(super) name: &'static str,
    /// The column by which rows are read before all others, so that a row stands after the one above it.
    pub(super) level: Option<&'static str>,
    pub(super) part: Part,
}

/// Which part of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Rows,
    /// Some columns of rows that are there already, where the last of them is set.
    Rest,
}

/// How many rows of a table whose rows may be long are read at once.
pub(super) const FEW: usize = 64;
/// How many rows of any other table.
pub(super) const MANY: usize = 250;
/// How many levels a table may have: those of delegations.
pub const LEVELS: u8 = kavachos_core::grant::MAX_DEPTH;

pub(super) const fn text(member: &'static str, name: &'static str) -> Column {
    column(member, name, Form::Text)
}

pub(super) const fn number(member: &'static str, name: &'static str) -> Column {
    column(member, name, Form::Number)
}

pub(super) const fn bytes(member: &'static str, name: &'static str) -> Column {
    column(member, name, Form::Bytes)
}

const fn column(member: &'static str, name: &'static str, form: Form) -> Column {
    Column {
        member,
        form,
        optional: false,
        name,
    }
}

impl Column {
    /// A column of a plugin, which is called the same outside.
    pub const fn of_plugin(name: &'static str, form: Form) -> Self {
        column(name, name, form)
    }

    /// The same column, which may hold nothing.
    pub const fn or_null(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
}

pub(super) const fn table(
    kind: &'static str,
    name: &'static str,
    page: usize,
    columns: &'static [Column],
) -> Table<'static> {
    Table {
        kind,
        plugin: None,
        columns,
        key: 1,
        page,
        name,
        level: None,
        part: Part::Rows,
    }
}

impl<'a> Table<'a> {
    /// A table of a plugin, whose rows are called like it; so many of its columns are the key.
    pub const fn of_plugin(
        plugin: &'static str,
        name: &'static str,
        (columns, key): (&'a [Column], usize),
    ) -> Self {
        Self {
            kind: name,
            plugin: Some(plugin),
            columns,
            key,
            page: FEW,
            name,
            level: None,
            part: Part::Rows,
        }
    }

    /// How many levels it is read in, the first one first.
    pub const fn levels(&self) -> u8 {
        if self.level.is_some() { LEVELS + 1 } else { 1 }
    }

    /// The next rows of one level after the row with this key, all columns of each.
    pub fn rows(&self, level: u8, after: Option<&[Cell]>) -> Query {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let mut conditions = Vec::new();
        let mut params: Vec<Param> = Vec::new();
        let key = if let Some(name) = self.level {
            params.push(level.into());
            conditions.push(format!("t.{name} = ?1"));
            names.get(1..self.key).unwrap_or_default()
        } else {
            names.get(..self.key).unwrap_or_default()
        };
        if self.part == Part::Rest
            && let Some(name) = names.last()
        {
            conditions.push(format!("t.{name} IS NOT NULL"));
        }
        let key: Vec<String> = key.iter().map(|name| format!("t.{name}")).collect();
        if let Some(after) = after {
            let skipped = self.key.saturating_sub(key.len());
            let mut slots = Vec::with_capacity(key.len());
            for cell in after.iter().skip(skipped) {
                params.push(param(cell));
                slots.push(format!("?{}", params.len()));
            }
            conditions.push(format!("({}) > ({})", key.join(", "), slots.join(", ")));
        }
        let mut sql = format!("SELECT t.{} FROM {} t", names.join(", t."), self.name);
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        sql.push_str(&format!(" ORDER BY {} LIMIT {}", key.join(", "), self.page));
        let mut query = Query::new(self.page, sql);
        query.params = params;
        query
    }

    /// Stores one row with these columns.
    pub fn store(&self, cells: &[Cell]) -> Write {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let sql = match self.part {
            Part::Rows => {
                let slots: Vec<String> = (1..=names.len()).map(|slot| format!("?{slot}")).collect();
                let (names, slots) = (names.join(", "), slots.join(", "));
                format!("INSERT INTO {} ({names}) VALUES ({slots})", self.name)
            }
            Part::Rest => format!(
                "UPDATE {} SET {} = ?2 WHERE {} = ?1",
                self.name,
                names.get(1).unwrap_or(&""),
                names.first().unwrap_or(&"")
            ),
        };
        let mut write = Write::exactly(1, sql);
        write.params = cells.iter().map(param).collect();
        write
    }
}

pub(super) fn param(cell: &Cell) -> Param {
    match cell {
        Cell::Null => Param::Null,
        Cell::Integer(number) => Param::Integer(*number),
        Cell::Text(text) => Param::Text(text.clone().into()),
        Cell::Blob(bytes) => Param::Blob(bytes.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{AGENT_OWNERS, GRANTS, USERS};

    #[test]
    fn rows_are_read_after_a_key_and_by_level() {
        let users = USERS.rows(0, Some(&[Cell::Text("user_1".to_owned())]));
        assert!(
            users
                .sql
                .contains("WHERE (t.id) > (?1) ORDER BY t.id LIMIT 64")
        );
        let key = [Cell::Integer(2), Cell::Text("grant_1".to_owned())];
        let grants = GRANTS.rows(2, Some(&key));
        assert!(
            grants
                .sql
                .contains("WHERE t.depth = ?1 AND (t.id) > (?2) ORDER BY t.id")
        );
        let owners = AGENT_OWNERS.rows(0, None);
        assert!(
            owners
                .sql
                .contains("WHERE t.owner_agent IS NOT NULL ORDER BY t.id")
        );
    }

    #[test]
    fn a_table_of_a_plugin_is_read_by_all_of_its_key() {
        let columns = [
            Column::of_plugin("user_id", Form::Text),
            Column::of_plugin("hash", Form::Bytes),
            Column::of_plugin("used_at", Form::Signed).or_null(),
        ];
        let codes = Table::of_plugin("totp", "totp_code", (&columns, 2));
        let key = [Cell::Text("user_1".to_owned()), Cell::Blob(vec![7])];
        let page = codes.rows(0, Some(&key));
        assert!(
            page.sql
                .contains("WHERE (t.user_id, t.hash) > (?1, ?2) ORDER BY t.user_id, t.hash")
        );
        let row = [key[0].clone(), key[1].clone(), Cell::Null];
        let stored = codes.store(&row);
        assert_eq!(
            stored.sql,
            "INSERT INTO totp_code (user_id, hash, used_at) VALUES (?1, ?2, ?3)"
        );
    }
}
