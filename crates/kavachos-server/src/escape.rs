//! Text from elsewhere, made safe for a terminal: one line, and nothing in it that moves the cursor, changes colours,
//! hides or reorders what is read.
//!
//! JSON stays the same JSON: what is dangerous stands there as `\u` escapes, which every reader takes for the same value.

use std::str::from_utf8;

/// The text with every dangerous character written as `\u{..}`.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON of the same value, in as many lines, with every dangerous character written as `\uXXXX`. In JSON these stand in
/// texts only; a carriage return stands between values only, and becomes a blank.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_json(text, &mut out);
    out
}

fn push_json(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push(' '),
            c if is_dangerous(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
}

/// What a server sends in many pieces, on its way to a terminal: written like [`json`], whatever it is.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// The beginning of a character whose end did not come yet.
    begun: Vec<u8>,
}

impl Guard {
    /// What may be printed of what came so far. What is no UTF-8 becomes U+FFFD.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut out = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            push_json(chunk.valid(), &mut out);
            let rest = chunk.invalid();
            if chunks.peek().is_none() && is_beginning(rest) {
                self.begun = rest.to_owned();
            } else if !rest.is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        out
    }
}

/// Whether a character may begin like this.
fn is_beginning(bytes: &[u8]) -> bool {
    from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Control characters of both sets, separators of lines, marks that reorder text (Unicode Bidirectional Algorithm),
/// and characters without a width that make one name look like another.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// One character of each kind that JSON may hold as it is.
    const HOSTILE: &str = "{\"a\u{7f}\":\r\n\t[\"\u{85}\u{9b}2J\",\"x\u{202e}y\u{2069}\u{2028}\",\"\u{200b}\u{e0041}é日\"]}";

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn acts(text: &str) -> bool {
        text.chars()
            .any(|c| is_dangerous(c) && c != '\n' && c != '\t')
    }

    #[test]
    fn nothing_that_moves_the_cursor_or_reorders_text_reaches_the_terminal() {
        for (text, safe) in [
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\rb\nc\td", "a\\u{d}b\\u{a}c\\u{9}d"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("ad\u{200b}min", "ad\\u{200b}min"),
            ("a\u{2028}b\u{7f}", "a\\u{2028}b\\u{7f}"),
        ] {
            assert_eq!(shown(text), safe);
        }
    }

    #[test]
    fn words_of_every_script_stay_as_they_are() {
        for text in [
            "github-reader",
            "Zoë Łukasiewicz",
            "日本語",
            "שלום",
            "mcp:github:*",
        ] {
            assert_eq!(shown(text), text);
            assert_eq!(json(text), text);
        }
    }

    #[test]
    fn json_acts_on_no_terminal_and_stays_the_same_value() {
        // The twin: as it came, it would.
        assert!(acts(HOSTILE));
        let safe = json(HOSTILE);
        assert!(!acts(&safe), "{safe}");
        assert_eq!(value(&safe), value(HOSTILE));
        assert!(safe.contains(r#""x\u202ey\u2069\u2028""#), "{safe}");
        assert!(safe.contains(r"\udb40\udc41é日"), "{safe}");
    }

    #[test]
    fn what_comes_in_pieces_is_guarded_wherever_they_are_cut() {
        for size in [1, 2, 3, 5, HOSTILE.len()] {
            let mut guard = Guard::default();
            let pieces = HOSTILE.as_bytes().chunks(size);
            let printed: String = pieces.map(|piece| guard.take(piece)).collect();
            assert_eq!(printed, json(HOSTILE), "{size}");
        }
    }

    #[test]
    fn what_is_no_text_is_told_by_a_mark() {
        let mut guard = Guard::default();
        // A control character of the second set in one byte, as terminals of one byte a character know it.
        assert_eq!(guard.take(b"a\x9b2J"), "a\u{fffd}2J");
        assert_eq!(guard.take(b"\xe2\x80"), "");
        assert_eq!(guard.take(b"b\xff"), "\u{fffd}b\u{fffd}");
        assert_eq!(guard.take(b"c"), "c");
    }
}
