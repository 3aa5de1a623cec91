//! Records as comma-separated values (RFC 4180), in which no cell is a formula.
//!
//! Spreadsheets run a cell that begins with `=`, `+`, `-` or `@`; some take the wide forms of these signs for them, and
//! pass over what is not seen before a sign. What a record holds was chosen by others, so such a cell gets an apostrophe
//! before it: a spreadsheet shows the rest as text.

use kavachos_core::json;
use kavachos_core::unseen::is_unseen;
use kavachos_engine::AuditRecord;
use serde_json::Value;

/// The columns, one for each member that a record may have.
pub(super) const COLUMNS: [&str; 29] = [
    "seq",
    "time",
    "id",
    "kind",
    "outcome",
    "code",
    "actor",
    "impersonator",
    "subject",
    "agent",
    "chain",
    "grantPath",
    "agentProof",
    "action",
    "resource",
    "scopeDelta",
    "reason",
    "durationUs",
    "requestId",
    "cost",
    "revocationHead",
    "reportedBy",
    "ip",
    "userAgent",
    "argumentsDigest",
    "email",
    "name",
    "metadata",
    "details",
];

/// The first line: what the columns are called.
pub(super) fn head() -> String {
    let mut line = COLUMNS.join(",");
    line.push_str("\r\n");
    line
}

/// One record, as a line.
pub(super) fn line(record: &AuditRecord, out: &mut String) {
    for (index, column) in COLUMNS.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        cell(&text(record.members.get(*column)), out);
    }
    out.push_str("\r\n");
}

/// A member as text: lists of texts with spaces between, all else that is not plain as JSON.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            items.join(" ")
        }
        Some(other) => json::canonical(other),
    }
}

/// Whether a spreadsheet might run it: it begins with a sign, whatever is not seen before that, or with what ends cells and
/// lines.
fn is_formula(text: &str) -> bool {
    text.starts_with(['\t', '\r', '\n']) || text.trim_start_matches(is_blank).starts_with(is_sign)
}

/// The signs that formulas begin with, and their small and full-width forms.
fn is_sign(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@')
        || matches!(c, '\u{fe66}' | '\u{fe62}' | '\u{fe63}' | '\u{fe6b}')
        || matches!(c, '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
}

/// Blanks of every width, control characters, and what shows nothing.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_unseen(c)
}

fn cell(text: &str, out: &mut String) {
    let formula = is_formula(text);
    let quoted = text.contains([',', '"', '\r', '\n']);
    if quoted {
        out.push('"');
    }
    if formula {
        out.push('\'');
    }
    if quoted {
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        cell(text, &mut out);
        out
    }

    #[test]
    fn what_would_be_a_formula_is_text() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            (
                "=HYPERLINK(\"a\",\"b\")",
                "\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\"",
            ),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
        }
        // The twin: what is none stays as it is.
        for text in ["a=b", "1-1", "user@example.com", "mcp:github:*", "'=1"] {
            assert_eq!(written(text), text);
        }
    }

    #[test]
    fn wide_signs_and_signs_behind_what_is_not_seen_are_text_too() {
        let signs = "=+-@\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}\u{fe66}\u{fe62}\u{fe63}\u{fe6b}";
        let unseen = [
            "",
            " ",
            "  ",
            "\u{a0}",
            "\u{3000}",
            "\u{200b}",
            "\u{feff} ",
            "\u{202e}",
        ];
        for before in unseen {
            for sign in signs.chars() {
                let text = format!("{before}{sign}1");
                assert_eq!(written(&text), format!("'{text}"), "{text:?}");
            }
            // The twin: with no sign behind it, it is no formula.
            let text = format!("{before}1");
            assert_eq!(written(&text), text, "{text:?}");
        }
        assert_eq!(written("\nx"), "\"'\nx\"");
        assert_eq!(written(" \n=1"), "\"' \n=1\"");
        assert_eq!(written("x\u{ff1d}1"), "x\u{ff1d}1");
        // Full-width letters are words.
        assert_eq!(written("\u{ff21}\u{ff22}"), "\u{ff21}\u{ff22}");
    }

    #[test]
    fn commas_quotes_and_line_ends_stay_inside_of_their_cell() {
        assert_eq!(written("a,b"), "\"a,b\"");
        assert_eq!(written("a\"b"), "\"a\"\"b\"");
        assert_eq!(written("a\r\nb,c"), "\"a\r\nb,c\"");
        assert_eq!(written("a b"), "a b");
    }
}
