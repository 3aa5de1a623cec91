//! Server-sent events: the data lines of a stream, as they come.
//!
//! Only what the feed needs of the format: `data` of one line. Comments, names, ids and blank lines are passed over.

/// The longest line in bytes; a record of the feed has about a hundred.
const MAX_LINE_BYTES: usize = 4 * 1024;

/// Cuts a stream of bytes into the texts of its `data` lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

/// A line was longer than any that the feed sends: what follows cannot be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    /// Takes the next bytes; gives the data that is complete now.
    ///
    /// # Errors
    /// A line is too long.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut data = Vec::new();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        for line in lines {
            if self.rest.len().saturating_add(line.len()) > MAX_LINE_BYTES {
                return Err(TooLong);
            }
            self.rest.extend_from_slice(line);
            if line.ends_with(b"\n") {
                data.extend(data_of(&self.rest));
                self.rest.clear();
            }
        }
        Ok(data)
    }
}

fn data_of(line: &[u8]) -> Option<Vec<u8>> {
    let value = line.strip_prefix(b"data:")?;
    let value = value.strip_prefix(b" ").unwrap_or(value);
    Some(value.trim_ascii_end().to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b": here\n\nid: 1\ndata: {\"a\":1}\r\n\ndata:2\n\nevent: x\ndata: 3";

    fn all(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
        let mut lines = Lines::default();
        let data = pieces.flat_map(|piece| lines.take(&piece).unwrap());
        data.map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn data_is_read_and_all_else_passed_over_and_what_is_not_complete_waits() {
        assert_eq!(all([STREAM.to_vec()].into_iter()), ["{\"a\":1}", "2"]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_pieces_end(size in 1_usize..40) {
            let pieces = STREAM.chunks(size).map(<[u8]>::to_vec);
            prop_assert_eq!(all(pieces), all([STREAM.to_vec()].into_iter()));
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; MAX_LINE_BYTES / 2];
        assert_eq!(lines.take(&piece), Ok(Vec::new()));
        assert_eq!(lines.take(&piece), Ok(Vec::new()));
        assert_eq!(lines.take(b"x"), Err(TooLong));
    }
}
