//! Which tables a statement of a plugin touches: its own, or it is refused.
//!
//! Promises: a statement that is let through names no table outside of `<id>_...`, on SQLite and on PostgreSQL alike. It
//! reads less SQL than databases do: what it does not know, or what they read differently, is refused. So a statement that
//! is right and refused can be written more plainly; one that is wrong and let through would be a defect.

use std::borrow::Cow;

/// The longest statement, or all of one migration, in bytes.
const MAX_SQL_BYTES: usize = 64 * 1024;
/// How deep parentheses may be nested.
const MAX_DEPTH: usize = 32;

/// After these a table is named.
const BEFORE_TABLE: [&str; 7] = [
    "from",
    "index",
    "into",
    "join",
    "references",
    "table",
    "update",
];
/// These end the list of tables of a query. Each is reserved in both databases, so none of them can be a table's other
/// name there; `set` is not, see [`ends_tables`].
const AFTER_TABLES: [&str; 10] = [
    "except",
    "group",
    "having",
    "intersect",
    "limit",
    "order",
    "returning",
    "select",
    "union",
    "where",
];
/// These bring in tables, or code, in ways that are not followed here.
const NOT_READ: [&str; 36] = [
    "attach",
    "begin",
    "commit",
    "copy",
    "detach",
    "execute",
    "explain",
    "function",
    "grant",
    "inherit",
    "inherits",
    "lateral",
    "of",
    "only",
    "owner",
    "partition",
    "pragma",
    "procedure",
    "recursive",
    "revoke",
    "rollback",
    "rule",
    "savepoint",
    "schema",
    "sequence",
    "tablesample",
    "tablespace",
    "temp",
    "temporary",
    "trigger",
    "type",
    "using",
    "vacuum",
    "view",
    "virtual",
    "with",
];
/// What may stand before a parenthesis without being the name of a function.
const BEFORE_PARENTHESIS: [&str; 29] = [
    "add",
    "all",
    "and",
    "as",
    "between",
    "by",
    "case",
    "check",
    "conflict",
    "default",
    "distinct",
    "else",
    "exists",
    "having",
    "in",
    "is",
    "key",
    "like",
    "not",
    "on",
    "or",
    "returning",
    "select",
    "set",
    "then",
    "unique",
    "values",
    "when",
    "where",
];
/// The functions that every database has and that touch nothing.
const FUNCTIONS: [&str; 15] = [
    "abs", "avg", "cast", "coalesce", "count", "length", "lower", "max", "min", "nullif",
    "replace", "substr", "sum", "trim", "upper",
];
/// The types and endings of tables that migrations are written with.
const PLACEHOLDERS: [&str; 5] = ["bytes", "int", "keyed", "rows", "text"];

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name, in lower case; a borrowed one was written so.
    Word(Cow<'a, str>),
    /// A type, or what ends a table.
    Placeholder(Cow<'a, str>),
    /// A number, a text or a parameter: names nothing.
    Value,
    Mark(u8),
}

/// Checks an INSERT, UPDATE or DELETE.
pub(super) fn check_write(id: &str, sql: &str) -> Result<(), String> {
    one(id, sql, &["insert", "update", "delete"])
}

/// Checks a SELECT.
pub(super) fn check_read(id: &str, sql: &str) -> Result<(), String> {
    one(id, sql, &["select"])
}

/// Checks the statements of a migration.
pub(super) fn check_migration(id: &str, sql: &str) -> Result<(), String> {
    let tokens = tokens(sql)?;
    let statements = tokens.split(|token| *token == Token::Mark(b';'));
    for statement in statements.filter(|statement| !statement.is_empty()) {
        let words: Vec<&str> = statement.iter().take(2).filter_map(word).collect();
        match words.as_slice() {
            ["create", "table" | "index" | "unique"] | ["alter", "table"] => {
                check_definition(statement)?;
            }
            ["drop", "table" | "index"] => {
                if statement.contains(&Token::Mark(b',')) {
                    return Err("it drops several things at once; drop each by itself".to_owned());
                }
            }
            ["insert", "into"] | ["update", _] | ["delete", "from"] => {}
            _ => {
                return Err(
                    "a migration holds CREATE TABLE, CREATE INDEX, ALTER TABLE, DROP, INSERT, UPDATE \
                     and DELETE"
                        .to_owned(),
                );
            }
        }
        check_tables(id, statement)?;
    }
    Ok(())
}

fn one(id: &str, sql: &str, verbs: &[&str]) -> Result<(), String> {
    if sql.contains(['{', '}']) {
        return Err("placeholders of types are for migrations".to_owned());
    }
    let tokens = tokens(sql)?;
    if tokens.contains(&Token::Mark(b';')) {
        return Err("it is more than one statement".to_owned());
    }
    if !tokens
        .first()
        .and_then(word)
        .is_some_and(|verb| verbs.contains(&verb))
    {
        return Err(format!(
            "it must begin with {}",
            verbs.join(", ").to_uppercase()
        ));
    }
    check_tables(id, &tokens)
}

/// A definition names nothing new but columns: no copies of tables, no other name for one.
fn check_definition(statement: &[Token<'_>]) -> Result<(), String> {
    for (at, token) in statement.iter().enumerate() {
        let next = statement.get(at.saturating_add(1)).and_then(word);
        match word(token) {
            Some("rename") if next != Some("column") => {
                return Err("tables keep their names".to_owned());
            }
            Some("as" | "like" | "select" | "from") => {
                return Err("a table is defined by its columns alone".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every table that is named is the plugin's own, every function a harmless one.
fn check_tables(id: &str, tokens: &[Token]) -> Result<(), String> {
    let mut frames = vec![false];
    let defines_index = tokens
        .iter()
        .take(3)
        .filter_map(word)
        .any(|word| word == "index");
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let rest = tokens.get(at.saturating_add(1)..).unwrap_or_default();
        match token {
            Token::Word(text) => {
                let names_table =
                    names_table(text, before.and_then(word)) || (defines_index && text == "on");
                check_word(text, rest)?;
                if names_table {
                    check_table(id, text, rest)?;
                }
                let opens = rest.first() == Some(&Token::Mark(b'('));
                let is_table = before
                    .and_then(word)
                    .is_some_and(|word| names_table_alone(word) || (defines_index && word == "on"));
                if opens && !is_table {
                    check_call(text)?;
                }
                if let Some(in_tables) = frames.last_mut() {
                    *in_tables = text == "from" || (*in_tables && !ends_tables(tokens, at));
                }
            }
            Token::Mark(b'(') if frames.len() >= MAX_DEPTH => {
                return Err(format!("parentheses lie deeper than {MAX_DEPTH}"));
            }
            Token::Mark(b'(') => frames.push(false),
            Token::Mark(b')') => drop(frames.pop()),
            Token::Mark(b',') if frames.last() == Some(&true) => {
                return Err("it lists tables with a comma; write JOIN".to_owned());
            }
            Token::Mark(b'.') => check_dot(before, rest.first())?,
            Token::Mark(_) | Token::Placeholder(_) | Token::Value => {}
        }
    }
    Ok(())
}

/// Whether the list of tables ends with this word. `FROM note_a set, agents` gives a table another name in PostgreSQL, so
/// `set` ends it nowhere but in `DO UPDATE SET`.
fn ends_tables(tokens: &[Token], at: usize) -> bool {
    let word_at = |back: usize| {
        at.checked_sub(back)
            .and_then(|at| tokens.get(at))
            .and_then(word)
    };
    match word_at(0) {
        Some("set") => word_at(1) == Some("update") && word_at(2) == Some("do"),
        Some(text) => AFTER_TABLES.contains(&text),
        None => false,
    }
}

/// A point stands between a table and its column, or in a number. PostgreSQL calls any function of one argument with
/// `(value).function`.
fn check_dot(before: Option<&Token>, after: Option<&Token>) -> Result<(), String> {
    match (before, after) {
        (Some(Token::Word(_)), Some(Token::Word(_) | Token::Mark(b'*')))
        | (Some(Token::Value), Some(Token::Value)) => Ok(()),
        _ => Err("a point stands between a table and its column, or in a number".to_owned()),
    }
}

/// Whether a table is named after this word: not where rows are updated on a conflict or with what they refer to.
fn names_table(text: &str, before: Option<&str>) -> bool {
    let is_clause = text == "update" && matches!(before, Some("do" | "on"));
    BEFORE_TABLE.contains(&text) && !is_clause
}

/// After these a table's columns follow it in parentheses.
fn names_table_alone(word: &str) -> bool {
    matches!(word, "into" | "references" | "table")
}

fn check_word(text: &str, rest: &[Token]) -> Result<(), String> {
    if NOT_READ.contains(&text) {
        return Err(format!(
            "it holds `{text}`, which a plugin's statement may not"
        ));
    }
    // SQLite reads a table after IN too.
    if text == "in" && rest.first() != Some(&Token::Mark(b'(')) {
        return Err("after IN comes a parenthesis".to_owned());
    }
    Ok(())
}

fn check_table(id: &str, after: &str, rest: &[Token]) -> Result<(), String> {
    let own = |name: &&str| {
        name.strip_prefix(id)
            .is_some_and(|rest| rest.starts_with('_'))
    };
    let name = rest.first().and_then(word).filter(own);
    let Some(name) = name else {
        let after = after.to_uppercase();
        return Err(format!(
            "after {after} it names something else than a table `{id}_...`"
        ));
    };
    match rest.get(1) {
        Some(Token::Mark(b'.')) => Err(format!("`{name}` is a table and no schema")),
        Some(Token::Mark(b'(')) if matches!(after, "from" | "join") => {
            Err(format!("`{name}` is a table and no function"))
        }
        _ => Ok(()),
    }
}

fn check_call(name: &str) -> Result<(), String> {
    if FUNCTIONS.contains(&name) || BEFORE_PARENTHESIS.contains(&name) {
        return Ok(());
    }
    Err(format!(
        "it calls `{name}`; known are {}",
        FUNCTIONS.join(", ")
    ))
}

pub(super) fn word<'t>(token: &'t Token<'_>) -> Option<&'t str> {
    match token {
        Token::Word(word) => Some(word),
        Token::Placeholder(_) | Token::Value | Token::Mark(_) => None,
    }
}

/// The pieces of a statement, without comments.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token<'_>>, String> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(format!("it is longer than {MAX_SQL_BYTES} bytes"));
    }
    let mut rest = sql.as_bytes();
    let mut tokens = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match byte {
            b' ' | b'\n' | b'\t' => behind,
            b'-' if behind.first() == Some(&b'-') => after_comment(behind)?,
            b'/' if behind.first() == Some(&b'*') => {
                return Err("comments begin with two dashes".to_owned());
            }
            b'\'' => {
                tokens.push(Token::Value);
                after_text(behind)?
            }
            b'{' => {
                let (name, behind) = after_placeholder(behind)?;
                tokens.push(Token::Placeholder(name));
                behind
            }
            b'?' | b'0'..=b'9' => {
                tokens.push(Token::Value);
                after_digits(behind)?
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let (name, behind) = after_word(rest);
                if behind.first() == Some(&b'\'') {
                    return Err("a text has no letter before it".to_owned());
                }
                tokens.push(Token::Word(name));
                behind
            }
            b'(' | b')' | b',' | b'=' | b'<' | b'>' | b'!' | b'+' | b'-' | b'*' | b'/' | b'%'
            | b'|' | b'.' | b';' => {
                tokens.push(Token::Mark(byte));
                behind
            }
            _ => return Err("it holds a character that is read nowhere but in a text".to_owned()),
        };
    }
    Ok(tokens)
}

fn after_word(bytes: &[u8]) -> (Cow<'_, str>, &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let (name, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let name = match String::from_utf8_lossy(name) {
        name if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(name.to_ascii_lowercase())
        }
        name => name,
    };
    (name, rest)
}

/// SQLite reads `?1from agents` as a parameter and FROM, so nothing follows a number without a space.
fn after_digits(bytes: &[u8]) -> Result<&[u8], String> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit());
    let rest = bytes.get(end.unwrap_or(bytes.len())..).unwrap_or_default();
    match rest.first() {
        Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_' => {
            Err("a number or parameter is digits alone, with a space behind it".to_owned())
        }
        _ => Ok(rest),
    }
}

/// A line ends with a line feed for SQLite, with a carriage return too for PostgreSQL.
fn after_comment(bytes: &[u8]) -> Result<&[u8], String> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (comment, rest) = bytes.split_at(end);
    if comment.contains(&b'\r') {
        return Err("lines end with a line feed alone".to_owned());
    }
    Ok(rest)
}

/// A quote is written twice in a text; whether a backslash means anything depends on the database.
fn after_text(mut bytes: &[u8]) -> Result<&[u8], String> {
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = match (byte, rest.split_first()) {
            (b'\'', Some((b'\'', behind))) => behind,
            (b'\'', _) => return Ok(rest),
            (b'\\', _) => return Err("a text holds a backslash; bind it".to_owned()),
            _ => rest,
        };
    }
    Err("a text has no end".to_owned())
}

fn after_placeholder(bytes: &[u8]) -> Result<(Cow<'_, str>, &[u8]), String> {
    let (name, rest) = after_word(bytes);
    match rest.split_first() {
        Some((b'}', rest)) if PLACEHOLDERS.contains(&&*name) => Ok((name, rest)),
        _ => Err(format!(
            "a placeholder is one of {}",
            PLACEHOLDERS.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_own_tables_may_be_written_and_read() {
        for sql in [
            "INSERT INTO notes_note (id, text) VALUES (?1, ?2)",
            "INSERT INTO notes_note (id) VALUES (?1) ON CONFLICT (id) DO UPDATE SET n = n + 1",
            "INSERT INTO notes_note (id) SELECT id FROM notes_old WHERE a IN (?1, ?2)",
            "UPDATE notes_note SET text = 'it''s; FROM agents' WHERE id = ?1 AND used IS NULL",
            "DELETE FROM notes_note WHERE time < ?1",
        ] {
            assert_eq!(check_write("notes", sql), Ok(()), "{sql}");
        }
        for sql in [
            "SELECT count(*), max(n.time) FROM notes_note AS n JOIN notes_tag t ON t.id = n.id",
            "SELECT a, b FROM notes_note WHERE a IN (SELECT a FROM notes_tag) ORDER BY a, b LIMIT 5",
            "SELECT a FROM notes_note -- FROM agents, users\n WHERE coalesce(a, ?1) = ?1",
        ] {
            assert_eq!(check_read("notes", sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn whatever_reaches_another_table_is_refused() {
        for sql in [
            "SELECT a FROM agents",
            "SELECT a FROM notes",
            "SELECT a FROM notesx",
            "SELECT a FROM \"notes_note\"",
            "SELECT a FROM main.notes_note",
            "SELECT a FROM notes_x.agents",
            "SELECT a FROM notes_note, agents",
            "SELECT a FROM notes_note n JOIN notes_tag t ON n.a = t.a, agents",
            "SELECT a FROM notes_note JOIN agents ON 1 = 1",
            "SELECT a FROM (SELECT b FROM notes_note) x, agents",
            "SELECT a FROM notes_note WHERE a IN agents",
            "SELECT a FROM notes_note WHERE a IN (SELECT id FROM agents)",
            "SELECT a FROM notes_note UNION SELECT id FROM agents",
            "SELECT a FROM notes_note UNION TABLE agents",
            "SELECT a FROM ONLY agents",
            "SELECT a FROM/**/agents",
            "SELECT a FROM notes_note -- \r FROM agents\n",
            "SELECT E'\\' FROM agents --'",
            "SELECT '\\' FROM agents --'",
            "SELECT a FROM notes_note; SELECT a FROM agents",
            "SELECT a FROM notes_json()",
            "SELECT query_to_xml(?1) FROM notes_note",
            "SELECT pg_read_file(?1)",
            "SELECT load_extension(?1)",
            "SELECT a INTO agents FROM notes_note",
            "SELECT a FROM notes_note FOR UPDATE",
            "WITH x AS (SELECT 1) SELECT a FROM x",
            "SELECT a FROM notes_note n CROSS JOIN LATERAL agents",
            "SELECT a FROM $$agents$$",
            "SELECT a FROM agènts",
            "TABLE agents",
            "PRAGMA writable_schema = 1",
            "",
        ] {
            assert!(check_read("notes", sql).is_err(), "{sql}");
        }
        for sql in [
            "INSERT INTO agents (id) VALUES (?1)",
            "INSERT INTO notes_note SELECT id FROM agents",
            "UPDATE agents SET status = 'active'",
            "UPDATE notes_note SET a = u.a FROM users u",
            "DELETE FROM notes_note USING agents WHERE 1 = 1",
            "DELETE FROM ledger",
            "SELECT a FROM notes_note",
            "DROP TABLE notes_note",
        ] {
            assert!(check_write("notes", sql).is_err(), "{sql}");
        }
    }

    /// What only one of the databases reads as another table or as a call of a function. Each was tried on it; beside each
    /// stands the nearest statement that is right, and is let through.
    #[test]
    fn what_one_database_reads_otherwise_is_refused() {
        for (wrong, right) in [
            // SQLite.
            (
                "SELECT hash, ?1from agent_keys",
                "SELECT hash, ?1 FROM notes_key",
            ),
            ("SELECT id, ?from agents", "SELECT id, ? FROM notes_note"),
            (
                "SELECT a FROM notes_note WHERE a = ?1union SELECT id FROM agents",
                "SELECT a FROM notes_note WHERE a = ?1 UNION SELECT id FROM notes_tag",
            ),
            // PostgreSQL before 15 too.
            ("SELECT id, 1from agents", "SELECT id, 1 FROM notes_note"),
            (
                "SELECT id, 1.5from agents",
                "SELECT 1.5, n.* FROM notes_note n",
            ),
            // PostgreSQL.
            (
                "SELECT id FROM notes_note set, agents",
                "SELECT id, a FROM notes_note n",
            ),
            (
                "SELECT id FROM notes_note AS set, agents",
                "SELECT id, a FROM notes_note AS n",
            ),
            (
                "SELECT id FROM notes_note update set, agents",
                "SELECT id FROM notes_note n ORDER BY id, a",
            ),
            (
                "SELECT ('/etc/passwd').pg_read_file",
                "SELECT n.a FROM notes_note n",
            ),
            ("SELECT (?1).pg_sleep", "SELECT (?1)"),
            (
                "SELECT (n.a).pg_read_file FROM notes_note n",
                "SELECT (n.a) FROM notes_note n",
            ),
        ] {
            assert!(check_read("notes", wrong).is_err(), "{wrong}");
            assert_eq!(check_read("notes", right), Ok(()), "{right}");
        }
        let upsert = "INSERT INTO notes_note (id, n) SELECT id, n FROM notes_old WHERE 1 = 1 ON CONFLICT (id) DO \
                      UPDATE SET n = 1, m = 2";
        assert_eq!(check_write("notes", upsert), Ok(()));
        let wrong = "INSERT INTO notes_note (id) SELECT u.id FROM notes_old set, users u";
        assert!(check_write("notes", wrong).is_err());
    }

    #[test]
    fn a_migration_defines_what_is_its_own_and_nothing_else() {
        for sql in [
            "-- Notes.\nCREATE TABLE notes_note (id {text} NOT NULL PRIMARY KEY, n {int} NOT NULL \
             CHECK (n > 0 AND length(id) < 9), of_note {text} REFERENCES notes_note (id) ON DELETE \
             CASCADE) {rows};\nCREATE UNIQUE INDEX notes_by_n ON notes_note (n, id);",
            "ALTER TABLE notes_note ADD COLUMN more {text}; DROP INDEX notes_by_n;",
            "UPDATE notes_note SET n = 1; DELETE FROM notes_note WHERE n = 2;",
        ] {
            assert_eq!(check_migration("notes", sql), Ok(()), "{sql}");
        }
        for sql in [
            "CREATE TABLE agents (id {text})",
            "CREATE TABLE notes_x (id {text} REFERENCES agents (id))",
            "CREATE TABLE notes_x AS SELECT id FROM agents",
            "CREATE TABLE notes_x (a {int}) INHERITS (agents)",
            "CREATE TABLE notes_x PARTITION OF agents",
            "CREATE TABLE notes_x (LIKE agents)",
            "CREATE TABLE notes_x (id {odd})",
            "CREATE TEMP TABLE notes_x (id {text})",
            "CREATE VIEW notes_x AS SELECT id FROM agents",
            "CREATE TRIGGER notes_x AFTER INSERT ON agents BEGIN DELETE FROM ledger; END",
            "CREATE INDEX notes_x ON agents (id)",
            "CREATE INDEX by_n ON notes_note (n)",
            "ALTER TABLE agents ADD COLUMN x {int}",
            "ALTER TABLE notes_note INHERIT agents",
            "ALTER TABLE notes_note RENAME TO agents",
            "ALTER TABLE notes_note ADD COLUMN x {int} REFERENCES agents (id)",
            "DROP TABLE notes_note, agents",
            "DROP TABLE agents",
            "DELETE FROM agents",
            "PRAGMA foreign_keys = off",
            "VACUUM",
        ] {
            assert!(check_migration("notes", sql).is_err(), "{sql}");
        }
    }
}
