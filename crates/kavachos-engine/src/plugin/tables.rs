//! Which tables a plugin has, as its migrations leave them: what is read of each when a tenant moves, and by which key.
//!
//! Promises: a table that cannot be moved whole is refused before anything starts, unless the plugin names it as passing.
//! Migrations are few and were read before ([`super::statement`]); what is not understood here is refused as well.

use std::borrow::Cow;

use kavachos_store::migration::Migration;
use kavachos_store::transfer::{Column, Form};

use super::statement::{self, Token, word};

/// The tables of one plugin, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Tables(Vec<Draft>);

/// A table, as far as the migrations have come.
#[derive(Debug)]
struct Draft {
    name: &'static str,
    columns: Vec<DraftColumn>,
    key: Vec<&'static str>,
    /// The tables that its rows refer to.
    refers: Vec<String>,
}

#[derive(Debug)]
struct DraftColumn {
    name: &'static str,
    /// Nothing where its type is none of those that every database has.
    form: Option<Form>,
    optional: bool,
}

/// A table whose rows move.
#[derive(Debug)]
pub(super) struct OwnTable {
    pub(super) name: &'static str,
    /// Those of the key first.
    pub(super) columns: Vec<Column>,
    pub(super) key: usize,
}

type Tokens<'t> = &'t [Token<'static>];

impl Tables {
    /// What the migrations come to.
    pub(super) fn of(migrations: &[Migration]) -> Result<Self, String> {
        let mut all = Self::default();
        for step in migrations {
            let wrong =
                |why: String| format!("its migration {} `{}`: {why}", step.number, step.name);
            let tokens = statement::tokens(step.sql).map_err(wrong)?;
            for statement in tokens.split(|token| *token == Token::Mark(b';')) {
                all.follow(statement).map_err(wrong)?;
            }
        }
        Ok(all)
    }

    fn follow(&mut self, statement: Tokens<'_>) -> Result<(), String> {
        let verb = (
            statement.first().and_then(word),
            statement.get(1).and_then(word),
        );
        let rest = statement.get(2..).unwrap_or_default();
        match verb {
            (Some("create"), Some("table")) => self.create(after_condition(rest)),
            (Some("alter"), Some("table")) => self.alter(after_condition(rest)),
            (Some("drop"), Some("table")) => {
                let gone = after_condition(rest).first().and_then(word);
                self.0.retain(|table| Some(table.name) != gone);
                Ok(())
            }
            // Indexes and rows.
            _ => Ok(()),
        }
    }

    fn create(&mut self, rest: Tokens<'_>) -> Result<(), String> {
        let mut draft = Draft {
            name: name(rest.first())?,
            columns: Vec::new(),
            key: Vec::new(),
            refers: Vec::new(),
        };
        for item in items(rest.get(1..).unwrap_or_default()) {
            draft.define(item)?;
        }
        self.0.push(draft);
        Ok(())
    }

    fn alter(&mut self, rest: Tokens<'_>) -> Result<(), String> {
        let table = rest.first().and_then(word);
        let found = self.0.iter_mut().find(|one| Some(one.name) == table);
        let draft = found.ok_or("it alters a table that was not made")?;
        let words: Vec<&str> = rest.iter().skip(1).take(3).map_while(word).collect();
        match words.as_slice() {
            ["add", "column", ..] => draft.define(rest.get(3..).unwrap_or_default()),
            ["rename", "column", old] => draft.rename(old, name(rest.get(5))?),
            ["drop", "column", gone] => {
                draft.columns.retain(|column| column.name != *gone);
                Ok(())
            }
            _ => Err(
                "ALTER TABLE is followed by ADD COLUMN, RENAME COLUMN or DROP COLUMN".to_owned(),
            ),
        }
    }

    /// Whether there is such a column.
    pub(super) fn has(&self, table: &str, column: &str) -> bool {
        let mut tables = self.0.iter();
        let table = tables.find(|one| one.name == table);
        table.is_some_and(|table| table.columns.iter().any(|one| one.name == column))
    }

    /// Those whose rows move, which are all but these.
    pub(super) fn moved(&self, passing: &[&str]) -> Result<Vec<OwnTable>, String> {
        let known = |name: &&&str| self.0.iter().any(|table| table.name == **name);
        if let Some(unknown) = passing.iter().find(|name| !known(name)) {
            return Err(format!(
                "it names `{unknown}` as passing, and has no such table"
            ));
        }
        let mut moved: Vec<OwnTable> = Vec::new();
        for draft in &self.0 {
            if passing.contains(&draft.name) {
                continue;
            }
            let table = draft.moved(&moved).map_err(|why| {
                let name = draft.name;
                format!("the table `{name}` {why}; or name it as passing, if a tenant does without its rows")
            })?;
            moved.push(table);
        }
        Ok(moved)
    }

    /// The names of these, those first that may refer to others.
    pub(super) fn latest_first(&self, of: &[&str]) -> Vec<&'static str> {
        let names = self.0.iter().rev().map(|table| table.name);
        names.filter(|name| of.contains(name)).collect()
    }
}

impl Draft {
    /// Takes one definition of a column, or what holds of several.
    fn define(&mut self, item: Tokens<'_>) -> Result<(), String> {
        self.refers.extend(referred(item));
        let item = match item.first().and_then(word) {
            Some("constraint") => item.get(2..).unwrap_or_default(),
            _ => item,
        };
        match item.first().and_then(word) {
            Some("primary") => {
                let key = items(item.get(2..).unwrap_or_default());
                self.key = key
                    .iter()
                    .map(|one| name(one.first()))
                    .collect::<Result<_, _>>()?;
                Ok(())
            }
            Some("unique" | "check" | "foreign") => Ok(()),
            _ => self.column(item),
        }
    }

    fn column(&mut self, item: Tokens<'_>) -> Result<(), String> {
        let name = name(item.first())?;
        // What stands in parentheses is a condition, and says nothing of the column itself.
        let own: Vec<&str> = outside(item).filter_map(word).collect();
        let is = |words: [&str; 2]| own.windows(2).any(|pair| pair == words);
        let form = match item.get(1) {
            Some(Token::Placeholder(of)) => match &**of {
                "text" => Some(Form::Text),
                "int" => Some(Form::Signed),
                "bytes" => Some(Form::Bytes),
                _ => None,
            },
            _ => None,
        };
        if is(["primary", "key"]) {
            self.key = vec![name];
        }
        self.columns.push(DraftColumn {
            name,
            form,
            optional: !is(["not", "null"]),
        });
        Ok(())
    }

    fn rename(&mut self, old: &str, new: &'static str) -> Result<(), String> {
        let columns = self.columns.iter_mut().map(|column| &mut column.name);
        for name in columns.chain(&mut self.key).filter(|name| **name == old) {
            *name = new;
        }
        Ok(())
    }

    /// The table as it moves, after those that move before it.
    fn moved(&self, before: &[OwnTable]) -> Result<OwnTable, String> {
        if self.key.is_empty() {
            return Err(
                "has no primary key, by which its rows are told apart when they move".to_owned(),
            );
        }
        let earlier = |name: &String| before.iter().any(|table| table.name == name);
        if let Some(other) = self.refers.iter().find(|name| !earlier(name)) {
            return Err(format!(
                "refers to `{other}`, which does not move before it"
            ));
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for key in &self.key {
            let column = self.columns.iter().find(|column| column.name == *key);
            let mut column = column.ok_or("has no column of its key")?.moved()?;
            column.optional = false;
            columns.push(column);
        }
        for column in self
            .columns
            .iter()
            .filter(|one| !self.key.contains(&one.name))
        {
            columns.push(column.moved()?);
        }
        Ok(OwnTable {
            name: self.name,
            columns,
            key: self.key.len(),
        })
    }
}

impl DraftColumn {
    fn moved(&self) -> Result<Column, String> {
        let Self {
            name,
            form,
            optional,
        } = self;
        let form = form.ok_or_else(|| {
            format!("has a column `{name}` that is none of {{text}}, {{int}} and {{bytes}}")
        })?;
        let column = Column::of_plugin(name, form);
        Ok(if *optional { column.or_null() } else { column })
    }
}

/// A name, written as it is stored.
fn name(token: Option<&Token<'static>>) -> Result<&'static str, String> {
    match token {
        Some(Token::Word(Cow::Borrowed(name))) => Ok(name),
        _ => Err("names of tables and columns are words in lower case".to_owned()),
    }
}

/// What follows IF EXISTS, or IF NOT EXISTS.
fn after_condition(rest: Tokens<'_>) -> Tokens<'_> {
    let is_condition = |token: &Token<'_>| matches!(word(token), Some("if" | "not" | "exists"));
    let words = rest.iter().take_while(|token| is_condition(token)).count();
    rest.get(words..).unwrap_or_default()
}

/// The tables that these refer to.
fn referred(item: Tokens<'_>) -> impl Iterator<Item = String> {
    let pairs = item.windows(2).filter_map(|pair| match pair {
        [refers, table] if word(refers) == Some("references") => word(table),
        _ => None,
    });
    pairs.map(str::to_owned)
}

/// What stands in no parentheses.
fn outside(item: Tokens<'_>) -> impl Iterator<Item = &Token<'static>> {
    let mut depth = 0_usize;
    item.iter().filter(move |token| {
        match token {
            Token::Mark(b'(') => depth = depth.saturating_add(1),
            Token::Mark(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

/// What stands in the first parentheses, cut at its own commas.
fn items(rest: Tokens<'_>) -> Vec<Tokens<'_>> {
    let (mut items, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, token) in rest.iter().enumerate() {
        let ends = match token {
            Token::Mark(b'(') => {
                depth = depth.saturating_add(1);
                if depth == 1 {
                    begin = at.saturating_add(1);
                }
                false
            }
            Token::Mark(b')') => {
                depth = depth.saturating_sub(1);
                depth == 0
            }
            Token::Mark(b',') => depth == 1,
            _ => false,
        };
        if ends {
            items.push(rest.get(begin..at).unwrap_or_default());
            begin = at.saturating_add(1);
        }
        if ends && depth == 0 {
            break;
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(sql: &'static str) -> Result<Tables, String> {
        Tables::of(&[Migration {
            owner: "notes",
            number: 1,
            name: "notes",
            sql,
            min_binary: 1,
        }])
    }

    /// The moved tables in a word: `name(key,key|column,column?)`.
    fn told(sql: &'static str, passing: &[&str]) -> Result<Vec<String>, String> {
        let moved = tables(sql)?.moved(passing)?;
        let column = |column: &Column| {
            let optional = if column.optional { "?" } else { "" };
            format!("{}{optional}", column.member)
        };
        let told = moved.iter().map(|table| {
            let columns: Vec<String> = table.columns.iter().map(column).collect();
            let (key, rest) = columns.split_at(table.key);
            format!("{}({}|{})", table.name, key.join(","), rest.join(","))
        });
        Ok(told.collect())
    }

    #[test]
    fn tables_are_what_the_migrations_leave() {
        let sql = "CREATE TABLE notes_note (
                -- The id, which is first.
                text {text} NOT NULL CHECK (length(text) > 0 AND text <> ','), at {int},
                id {text} NOT NULL PRIMARY KEY, raw {bytes} CHECK (length(raw) = 32),
                seen {int} CHECK (seen IS NOT NULL OR text > 0)
            ) {rows};
            CREATE INDEX notes_by_text ON notes_note (text, at);
            CREATE TABLE IF NOT EXISTS notes_tag (note {text} NOT NULL REFERENCES notes_note (id), tag {text},
                CONSTRAINT notes_one UNIQUE (tag), PRIMARY KEY (tag, note)) {keyed};
            CREATE TABLE notes_gone (id {int} NOT NULL PRIMARY KEY) {rows};
            DROP TABLE notes_gone;
            ALTER TABLE notes_note ADD COLUMN more {int} NOT NULL DEFAULT 0;
            ALTER TABLE notes_note RENAME COLUMN at TO since;
            ALTER TABLE notes_note DROP COLUMN raw";
        let all = [
            "notes_note(id|text,since?,seen?,more)",
            "notes_tag(tag,note|)",
        ];
        assert_eq!(told(sql, &[]).unwrap(), all);
        assert_eq!(told(sql, &["notes_tag"]).unwrap(), all[..1]);
        let latest = tables(sql).unwrap();
        assert_eq!(
            latest.latest_first(&["notes_note", "notes_tag"]),
            ["notes_tag", "notes_note"]
        );
    }

    #[test]
    fn a_table_that_cannot_move_is_passing_or_refused() {
        for (sql, why) in [
            (
                "CREATE TABLE notes_a (id {text}) {rows}",
                "has no primary key",
            ),
            (
                "CREATE TABLE notes_a (id BIGINT NOT NULL PRIMARY KEY)",
                "is none of",
            ),
            (
                "CREATE TABLE notes_a (id {text} NOT NULL PRIMARY KEY, up {text} REFERENCES notes_a (id)) {rows}",
                "refers to `notes_a`",
            ),
        ] {
            let error = told(sql, &[]).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert_eq!(told(sql, &["notes_a"]).unwrap(), [""; 0], "{sql}");
        }
        let upper = "CREATE TABLE notes_a (Id {text} NOT NULL PRIMARY KEY) {rows}";
        assert!(told(upper, &[]).unwrap_err().contains("lower case"));
        let whole = "CREATE TABLE notes_a (id {text} NOT NULL PRIMARY KEY) {rows}";
        assert!(told(whole, &["notes_b"]).unwrap_err().contains("`notes_b`"));
        assert_eq!(told(whole, &[]).unwrap(), ["notes_a(id|)"]);
    }
}
