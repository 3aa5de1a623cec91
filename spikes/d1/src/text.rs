//! What has to be seen in the text of a statement, because D1 does not tell: whether it is one statement, and whether
//! it changes rows. D1 prepares `DELETE ...; DELETE ...` and a SELECT among the writes without complaint.

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Code,
    Quoted(char),
    /// To the end of the line.
    Comment,
    /// Before the star that begins one with an end.
    Opening,
    Block,
    /// Behind a star in it.
    Closing,
}

/// The letters with their offsets, each marked with whether it is code rather than quoted or a comment.
fn letters(sql: &str) -> impl Iterator<Item = (usize, char, bool)> {
    let mut place = Place::Code;
    let mut letters = sql.char_indices().peekable();
    std::iter::from_fn(move || {
        let (offset, letter) = letters.next()?;
        let before = place;
        place = match (place, letter) {
            (Place::Code, '\'' | '"') => Place::Quoted(letter),
            (Place::Code, '-') if letters.peek().is_some_and(|(_, next)| *next == '-') => {
                Place::Comment
            }
            (Place::Code, '/') if letters.peek().is_some_and(|(_, next)| *next == '*') => {
                Place::Opening
            }
            (Place::Closing, '/') => Place::Code,
            (Place::Block | Place::Closing, '*') => Place::Closing,
            (Place::Opening | Place::Closing, _) => Place::Block,
            (Place::Quoted(quote), _) if quote == letter => Place::Code,
            (Place::Comment, '\n') => Place::Code,
            (place, _) => place,
        };
        let code = before == Place::Code && place == Place::Code;
        Some((offset, letter, code))
    })
}

/// The statements of a migration. None of them may have a body of its own, as triggers do.
pub(crate) fn split(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = sql;
    while let Some(end) = end_of_first(rest) {
        let (first, others) = rest.split_at(end);
        statements.push(first);
        rest = others.trim_start_matches(';');
    }
    statements.push(rest);
    statements.retain(|statement| has_code(statement));
    statements
}

/// Whether a statement is one, and an INSERT, UPDATE or DELETE that returns no rows.
pub(crate) fn is_change(sql: &str) -> bool {
    let code: String = letters(sql)
        .map(|(_, letter, code)| if code { letter } else { ' ' })
        .collect();
    let mut words = code
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty());
    let changes = words.next().is_some_and(|first| {
        ["INSERT", "UPDATE", "DELETE"]
            .iter()
            .any(|word| first.eq_ignore_ascii_case(word))
    });
    changes && !code.contains(';') && !words.any(|word| word.eq_ignore_ascii_case("RETURNING"))
}

/// The statement with `CAST(?n AS INTEGER)` for `?n`.
pub(crate) fn cast_placeholder(sql: &str, number: usize) -> String {
    let name = format!("?{number}");
    let mut cast = String::with_capacity(sql.len());
    let mut rest = 0;
    for (offset, letter, code) in letters(sql) {
        let Some((before, from)) = sql.split_at_checked(offset) else {
            continue;
        };
        let is_it = letter == '?' && code && from.strip_prefix(&name).is_some_and(ends_number);
        if is_it {
            cast.push_str(before.get(rest..).unwrap_or_default());
            cast.push_str(&format!("CAST({name} AS INTEGER)"));
            rest = offset.saturating_add(name.len());
        }
    }
    cast.push_str(sql.get(rest..).unwrap_or_default());
    cast
}

fn ends_number(rest: &str) -> bool {
    !rest.starts_with(|letter: char| letter.is_ascii_digit())
}

fn end_of_first(sql: &str) -> Option<usize> {
    letters(sql)
        .find(|(_, letter, code)| *code && *letter == ';')
        .map(|(offset, ..)| offset)
}

fn has_code(sql: &str) -> bool {
    letters(sql).any(|(_, letter, code)| code && !letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_split_where_statements_end_and_nowhere_else() {
        let sql = "-- It's; one.\nCREATE TABLE a (b TEXT DEFAULT ';');\n\nDROP TABLE \";\"; -- The end;\n";
        let statements: Vec<&str> = split(sql).iter().map(|one| one.trim()).collect();
        assert_eq!(
            statements,
            [
                "-- It's; one.\nCREATE TABLE a (b TEXT DEFAULT ';')",
                "DROP TABLE \";\""
            ]
        );
    }

    #[test]
    fn only_a_single_change_without_rows_is_a_write() {
        for change in [
            " update t SET a = ';'",
            "/*/ SELECT; **/ UPDATE t SET a = 1 /* ; */",
            "INSERT INTO t VALUES ('RETURNING')",
            "DELETE FROM t",
        ] {
            assert!(is_change(change), "{change}");
        }
        for other in [
            "SELECT 1",
            "DELETE FROM t; DELETE FROM t",
            "UPDATE t SET a = 1 returning a",
            "COMMIT",
            "/* UPDATE t */ SELECT 1",
            "",
        ] {
            assert!(!is_change(other), "{other}");
        }
    }
}
