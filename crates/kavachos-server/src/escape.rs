//! Text from elsewhere, made safe for a terminal: one line, and nothing in it that moves the cursor, changes colours,
//! hides or reorders what is read.

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
        }
    }
}
