//! From the common subset to PostgreSQL: `$1` where the subset has `?1`, and a space where it has a comment.
//!
//! Promises: what stands in quotes is left alone, and what SQLite and PostgreSQL would cut into pieces differently (text
//! with escapes, dollar quotes, comments within comments) is refused, so that nothing is a placeholder to one of them and
//! text to the other. It does not know whether a statement is right otherwise: that the server says.

use crate::batch::MAX_PARAMS;

/// The statement as PostgreSQL reads it.
///
/// # Errors
/// Says what is not in the common subset, and what to write instead.
pub(super) fn rewrite(sql: &str) -> Result<String, String> {
    let mut rewritten = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (piece, behind) = match first {
            '\'' => through(rest, '\'').ok_or("a text has no end: close it with `'`")?,
            '"' => through(rest, '"').ok_or("a name has no end: close it with `\"`")?,
            '-' if rest.starts_with("--") => (" ", after_line(rest)?),
            '/' if rest.starts_with("/*") => (" ", after_block(rest)?),
            '?' => {
                rewritten.push('$');
                number(rest)?
            }
            '$' => {
                return Err("`$` means nothing here: write `?1`, and texts as `'...'`".to_owned());
            }
            '[' | '`' => return Err("a name is quoted with `\"`".to_owned()),
            _ if in_word(first) => word(rest)?,
            _ => split(rest, first.len_utf8()),
        };
        rewritten.push_str(piece);
        rest = behind;
    }
    Ok(rewritten)
}

/// One of the writer's own statements. A test reads them all; one that cannot be read would be refused by the server.
pub(super) fn own(sql: &'static str) -> String {
    rewrite(sql).unwrap_or_else(|_| sql.to_owned())
}

/// What stands in this quote, with it. A quote in a text is doubled, which reads as two texts side by side.
fn through(rest: &str, quote: char) -> Option<(&str, &str)> {
    let begun = quote.len_utf8();
    let end = rest.get(begun..)?.find(quote)?;
    rest.split_at_checked(begun.saturating_add(end).saturating_add(quote.len_utf8()))
}

/// A comment up to the end of its line. SQLite ends it at a line feed, PostgreSQL at a carriage return too.
fn after_line(rest: &str) -> Result<&str, String> {
    let (comment, behind) = split(rest, rest.find('\n').unwrap_or(rest.len()));
    let comment = comment.strip_suffix('\r').unwrap_or(comment);
    if comment.contains('\r') {
        return Err("a line of a comment ends with a line feed".to_owned());
    }
    Ok(behind)
}

/// A comment in `/*` and `*/`. PostgreSQL counts those within it, SQLite does not.
fn after_block(rest: &str) -> Result<&str, String> {
    let inner = rest.strip_prefix("/*").unwrap_or(rest);
    let ended = inner.split_once("*/");
    let (comment, behind) = ended.ok_or("a comment has no end: close it with `*/`")?;
    if comment.contains("/*") {
        return Err("a comment holds no other comment".to_owned());
    }
    Ok(behind)
}

/// The number of a placeholder.
fn number(rest: &str) -> Result<(&str, &str), String> {
    let rest = rest.strip_prefix('?').unwrap_or(rest);
    let end = rest.find(|letter: char| !letter.is_ascii_digit());
    let (number, behind) = split(rest, end.unwrap_or(rest.len()));
    let counted = number
        .parse()
        .is_ok_and(|number| (1..=MAX_PARAMS).contains(&number));
    // PostgreSQL reads a zero in front of it as well, and newer servers no letter behind it.
    if !counted || number.starts_with('0') || behind.starts_with(in_word) {
        return Err(format!(
            "a placeholder is `?` and a number from 1 to {MAX_PARAMS}, with no letter behind it"
        ));
    }
    Ok((number, behind))
}

/// A keyword, a name or a number. Right before a quote it would say how to read what stands in it, as in `E'\''`.
fn word(rest: &str) -> Result<(&str, &str), String> {
    let end = rest.find(|letter| !(in_word(letter) || letter == '$'));
    let (word, behind) = split(rest, end.unwrap_or(rest.len()));
    if behind.starts_with('\'') {
        return Err("a text has no letter before it: write a space".to_owned());
    }
    Ok((word, behind))
}

fn in_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii()
}

fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::errand::REPLACE_LOG;
    use crate::writer::statement::{CREATE, INSERT_KILL, INSERT_MIGRATION, RAISE};

    fn is(sql: &str, expected: &str) {
        assert_eq!(rewrite(sql).as_deref(), Ok(expected), "{sql}");
    }

    #[test]
    fn placeholders_are_rewritten_and_what_is_quoted_is_not() {
        is(
            "SELECT '?1', 'it''s ?2', \"?3\", \"a\"\"?4\" FROM t WHERE a = ?1 AND b = ?12",
            "SELECT '?1', 'it''s ?2', \"?3\", \"a\"\"?4\" FROM t WHERE a = $1 AND b = $12",
        );
        is("SELECT ?1||'$1'||?2", "SELECT $1||'$1'||$2");
        is(
            "SELECT a$1, \u{e9}\u{20ac}?1",
            "SELECT a$1, \u{e9}\u{20ac}$1",
        );
        is("SELECT '--', '/*', ?1", "SELECT '--', '/*', $1");
        is("SELECT '\\', ?1", "SELECT '\\', $1");
        is("", "");
    }

    #[test]
    fn comments_are_a_space_whatever_they_hold() {
        is("SELECT -- ?1 it's\n ?1", "SELECT  \n $1");
        is("SELECT /* ?1 \" ' $$ */ ?1", "SELECT   $1");
        is("-- first\r\nUPDATE t SET a=?1--?2", " \nUPDATE t SET a=$1 ");
        is("SELECT/**/?1/* - -- */-?2", "SELECT $1 -$2");
        is("SELECT ?1 - -?2 / ?3", "SELECT $1 - -$2 / $3");
    }

    #[test]
    fn what_the_two_would_read_differently_is_refused() {
        for (sql, why) in [
            ("SELECT $1", "`$`"),
            ("SELECT $$ ?1 $$", "`$`"),
            ("SELECT $tag$ ?1 $tag$", "`$`"),
            ("SELECT E'\\'', ?1", "letter before"),
            ("SELECT x'01'", "letter before"),
            ("SELECT /* /* */ ?1 */ 1", "no other comment"),
            ("SELECT -- a\rb ?1\n", "line feed"),
            ("SELECT [?1]", "quoted"),
            ("SELECT `?1`", "quoted"),
            ("SELECT 'a", "no end"),
            ("SELECT \"a", "no end"),
            ("SELECT /* a", "no end"),
            ("SELECT /*/ a", "no end"),
            ("SELECT ?", "placeholder"),
            ("SELECT ?, ??1", "placeholder"),
            ("SELECT ?0", "placeholder"),
            ("SELECT ?01", "placeholder"),
            ("SELECT ?101", "placeholder"),
            ("SELECT ?99999999999999999999", "placeholder"),
            ("SELECT ?1FROM t", "placeholder"),
        ] {
            let refused = rewrite(sql).unwrap_err();
            assert!(refused.contains(why), "{sql}: {refused}");
        }
    }

    #[test]
    fn the_writers_own_statements_are_in_the_subset() {
        for sql in [RAISE, INSERT_KILL, CREATE, INSERT_MIGRATION, REPLACE_LOG] {
            let rewritten = rewrite(sql).unwrap();
            assert_eq!(rewritten, sql.replace('?', "$"));
            assert_eq!(own(sql), rewritten);
        }
    }
}
