//! Characters that nobody sees: the one table of them, for every place where somebody decides by a text that another wrote.
//!
//! Promises: what the fonts of Unicode show nothing of is in it (`Default_Ignorable_Code_Point` of version 17), and so are
//! other marks of format and of lines, and letters and signs that are blank. Control characters and blanks that separate words
//! are not: the standard library knows those. What becomes of one (it is refused, left out, shown by its number) is up to whoever
//! asks.

/// Whether a text with this character in it shows nothing of it.
///
/// ```
/// use kavachos_core::unseen::is_unseen;
///
/// assert!("pass\u{200b}port".contains(is_unseen));
/// assert!(!"passport".contains(is_unseen));
/// ```
pub const fn is_unseen(c: char) -> bool {
    is_ignorable(c)
        || matches!(
            c,
            // Separators of lines, signs that are blank, annotations, and marks of the scores and scripts of few.
            '\u{2028}'..='\u{2029}' | '\u{2800}' | '\u{fff9}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
        )
}

/// `Default_Ignorable_Code_Point`.
const fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether it turns the order of what stands around it, so that a text looks like another one (Unicode Bidirectional
/// Algorithm, explicit formatting).
pub const fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether names are written with it: what joins and parts letters and emoji, and chooses between forms of them.
pub const fn is_of_spelling(c: char) -> bool {
    matches!(
        c,
        '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = char> {
        (0..=u32::from(char::MAX)).filter_map(char::from_u32)
    }

    #[test]
    fn what_reorders_and_what_names_are_spelled_with_is_unseen_and_nothing_is_both() {
        assert_eq!(all().filter(|c| is_reordering(*c)).count(), 12);
        for c in all() {
            assert!(is_unseen(c) || !(is_reordering(c) || is_of_spelling(c)));
            assert!(!(is_reordering(c) && is_of_spelling(c)));
        }
    }

    #[test]
    fn fillers_tags_and_marks_of_format_are_unseen_and_what_people_write_is_not() {
        for c in [
            '\u{ad}',
            '\u{34f}',
            '\u{115f}',
            '\u{1160}',
            '\u{200b}',
            '\u{200d}',
            '\u{2028}',
            '\u{2060}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{e0061}',
            '\u{e01ef}',
        ] {
            assert!(is_unseen(c), "U+{:04X}", u32::from(c));
        }
        for c in "Zoë Łukasiewicz محمد 山田太郎 👩💻 \u{a0}\u{600}\u{6dd}".chars() {
            assert!(!is_unseen(c), "U+{:04X}", u32::from(c));
        }
        // By the table of Unicode: 4,174 that are ignorable, and 22 more.
        assert_eq!(all().filter(|c| is_ignorable(*c)).count(), 4_174);
        assert_eq!(all().filter(|c| is_unseen(*c)).count(), 4_174 + 22);
    }
}
