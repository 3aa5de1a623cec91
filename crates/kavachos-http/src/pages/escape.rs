//! The one escaper of the pages: whatever a template shows goes through it, whoever wrote it.
//!
//! Promises: no text ends an element or an attribute; and nobody is fooled by a text that does not look like what it is:
//! control characters, and marks that turn the order of what follows around, are shown by their number.

use std::fmt::{self, Write};

use askama::filters::Escaper;

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
        c if c.is_control() || is_unseen(c) => {
            write!(dest, "\u{27e8}U+{:04X}\u{27e9}", u32::from(c))
        }
        c => dest.write_char(c),
    }
}

/// Marks that are not seen themselves and change how the text around them looks: explicit directions (Unicode
/// Bidirectional Algorithm), characters of no width, separators of lines, tags.
const fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
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
        // What people write in is left alone.
        for text in ["Zoë Łukasiewicz", "محمد", "山田太郎", "👩‍💻 bot", "a\n\tb"] {
            assert_eq!(shown(text), text);
        }
    }
}
