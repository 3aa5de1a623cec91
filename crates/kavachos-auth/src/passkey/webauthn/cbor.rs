//! As much CBOR (RFC 8949) as authenticators write (CTAP 2.2, section 8): items of known length, one behind the other.
//!
//! Promises: nothing is read beyond the input, nothing is allocated, and the work grows with the bytes that are there, not
//! with the lengths that they claim. Items of unknown length, and what is cut off, are `None`.

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

/// The first three bits of an item (RFC 8949, section 3.1).
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

impl<'b> Reader<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub(super) const fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// A whole number.
    pub(super) fn integer(&mut self) -> Option<i64> {
        match self.head()? {
            (UNSIGNED, number) => i64::try_from(number).ok(),
            (NEGATIVE, number) => i64::try_from(number).ok()?.checked_neg()?.checked_sub(1),
            _ => None,
        }
    }

    /// A string of bytes.
    pub(super) fn bytes(&mut self) -> Option<&'b [u8]> {
        self.string(BYTES)
    }

    /// A text.
    pub(super) fn text(&mut self) -> Option<&'b str> {
        self.string(TEXT).and_then(|text| str::from_utf8(text).ok())
    }

    /// The beginning of a map: how many pairs follow.
    pub(super) fn map(&mut self) -> Option<u64> {
        match self.head()? {
            (MAP, pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Goes over one item, with all that is in it, and says how it was written.
    pub(super) fn skip(&mut self) -> Option<&'b [u8]> {
        let before = self.rest;
        let mut left = 1_u64;
        // Ends: every turn reads a byte at least.
        while left > 0 {
            left -= 1;
            let inside = match self.head()? {
                (BYTES | TEXT, length) => {
                    self.take(length)?;
                    0
                }
                (ARRAY, items) => items,
                (MAP, pairs) => pairs.checked_mul(2)?,
                (TAG, _) => 1,
                _ => 0,
            };
            left = left.checked_add(inside)?;
        }
        before.get(..before.len() - self.rest.len())
    }

    fn string(&mut self, kind: u8) -> Option<&'b [u8]> {
        match self.head()? {
            (found, length) if found == kind => self.take(length),
            _ => None,
        }
    }

    /// The kind of the next item and its number: its value, or how much follows.
    fn head(&mut self) -> Option<(u8, u64)> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let number = match first & 0x1f {
            small @ 0..24 => u64::from(small),
            24 => u64::from(*self.take(1)?.first()?),
            25 => u64::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)),
            26 => u64::from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)),
            27 => u64::from_be_bytes(self.take(8)?.try_into().ok()?),
            // Reserved, or of unknown length.
            _ => return None,
        };
        Some((first >> 5, number))
    }

    fn take(&mut self, length: u64) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_of_every_length_are_read() {
        // RFC 8949, appendix A.
        let cases: [(&[u8], i64); 7] = [
            (&[0x00], 0),
            (&[0x17], 23),
            (&[0x18, 0x64], 100),
            (&[0x19, 0x03, 0xe8], 1_000),
            (&[0x1a, 0x00, 0x0f, 0x42, 0x40], 1_000_000),
            (&[0x20], -1),
            (&[0x39, 0x03, 0xe7], -1_000),
        ];
        for (bytes, number) in cases {
            assert_eq!(Reader::new(bytes).integer(), Some(number), "{bytes:?}");
        }
        assert_eq!(
            Reader::new(b"\x44\x01\x02\x03\x04").bytes(),
            Some(&[1, 2, 3, 4][..])
        );
        assert_eq!(Reader::new(b"\x62\xc3\xbc").text(), Some("ü"));
        assert_eq!(Reader::new(b"\xa1\x01\x02").map(), Some(1));
    }

    #[test]
    fn what_is_cut_off_endless_or_of_another_kind_is_none() {
        let huge = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let cases: [&[u8]; 8] = [
            b"",
            b"\x18",
            b"\x44\x01",
            &huge,
            b"\x5f",
            b"\x1f",
            b"\x63abc",
            b"\x1c",
        ];
        for bytes in cases {
            assert_eq!(Reader::new(bytes).bytes(), None, "{bytes:?}");
        }
        assert_eq!(Reader::new(b"\x61\xff").text(), None);
        assert_eq!(
            Reader::new(b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff").integer(),
            None
        );
    }

    #[test]
    fn one_item_is_gone_over_with_all_that_is_in_it() {
        let mut reader = Reader::new(b"\xa2\x01\x82\x02\xf5\x61a\xc1\x1a\x51\x4b\x67\xb0\x07");
        assert_eq!(reader.skip().map(<[u8]>::len), Some(13));
        assert_eq!(reader.integer(), Some(7));
        assert_eq!(reader.skip(), None);
    }

    #[test]
    fn claims_of_length_and_depth_cost_nothing() {
        let deep = vec![0x81; 100_000];
        assert_eq!(Reader::new(&deep).skip(), None);
        let wide = b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00";
        assert_eq!(Reader::new(wide).skip(), None);
        let twice = b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x00";
        assert_eq!(Reader::new(twice).skip(), None);
    }
}
