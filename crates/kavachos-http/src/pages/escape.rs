//! The one escaper of the pages: whatever a template shows goes through it, whoever wrote it.
//!
//! Promises: no text ends an element or an attribute; and nobody is fooled by a text that does not look like what it is:
//! control characters, and what shows nothing or turns the order of what follows around, are shown by their number.

use std::fmt::{self, Write};

use askama::filters::Escaper;
use kavachos_core::unseen::{is_of_spelling, is_unseen};

/// Escapes for HTML, and makes visible what else would be seen by nobody.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        string.chars().try_for_each(|c| write(&mut dest, c))
    }
}

fn write(dest: &mut impl Write, c: char) -> fmt::Result {
    match c {
        '&' => dest.write_str("&amp;"),
        '<' => dest.write_str("&lt;"),
        '>' => dest.write_str("&gt;"),
        '"' => dest.write_str("&#34;"),
        '\'' => dest.write_str("&#39;"),
        '\n' | '\t' => dest.write_char(c),
        c if c.is_control() || (is_unseen(c) && !is_of_spelling(c)) => dest.write_str(&numbered(c)),
        c => dest.write_char(c),
    }
}

/// The text with all of that by its number, also of what names are written with: for what somebody approves by reading it.
pub(crate) fn spelled_out(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unseen(c) {
            true => shown.push_str(&numbered(c)),
            false => shown.push(c),
        }
    }
    shown
}

fn numbered(c: char) -> String {
    format!("\u{27e8}U+{:04X}\u{27e9}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = String::new();
        Visible.write_escaped_str(&mut out, text).unwrap();
        out
    }

    #[test]
    fn nothing_ends_an_element_or_an_attribute() {
        let hostile = r#"</script><img src=x onerror='a'>&"`"#;
        assert_eq!(
            shown(hostile),
            "&lt;/script&gt;&lt;img src=x onerror=&#39;a&#39;&gt;&amp;&#34;`"
        );
    }

    #[test]
    fn what_nobody_would_see_is_shown_by_its_number() {
        assert_eq!(shown("pay\u{202e}lap"), "pay⟨U+202E⟩lap");
        assert_eq!(shown("a\u{0}\u{1b}[31m"), "a⟨U+0000⟩⟨U+001B⟩[31m");
        assert_eq!(shown("pass\u{200b}port"), "pass⟨U+200B⟩port");
        assert_eq!(shown("a\u{3164}\u{2800}b"), "a⟨U+3164⟩⟨U+2800⟩b");
        // What people write in is left alone.
        for text in ["Zoë Łukasiewicz", "محمد", "山田太郎", "👩‍💻 bot", "a\n\tb"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn what_is_approved_hides_nothing_that_a_name_may_hold() {
        for (text, expected) in [
            ("ma\u{200d}in", "ma⟨U+200D⟩in"),
            ("main\u{fe0f}", "main⟨U+FE0F⟩"),
            ("main\u{e0101}", "main⟨U+E0101⟩"),
            ("ma\u{200b}in", "ma⟨U+200B⟩in"),
        ] {
            assert_eq!(shown(&spelled_out(text)), expected);
        }
        // The twin: in a name it is part of the spelling.
        assert_eq!(shown("ma\u{200d}in"), "ma\u{200d}in");
    }
}
