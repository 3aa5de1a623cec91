//! Bytes as lower-case hex: the one form in which records, documents and exports write hashes and names.
//!
//! Promises: every sequence of bytes has exactly one text, and only that one is read. Upper case, an odd number of
//! digits, and anything around them are refused.

/// The digits of these bytes.
///
/// ```
/// use kavachos_core::hex;
///
/// assert_eq!(hex::encode(&[0, 0xa7]), "00a7");
/// assert_eq!(hex::decode("00a7"), Some(vec![0, 0xa7]));
/// assert_eq!(hex::decode_exact("00A7"), None::<[u8; 2]>);
/// ```
pub fn digits(bytes: &[u8]) -> impl Iterator<Item = char> {
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    // INVARIANT: half a byte is a digit, so the fallback is never taken.
    halves.map(|half| char::from_digit(half.into(), 16).unwrap_or('0'))
}

/// The text of these bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    text.extend(digits(bytes));
    text
}

/// The bytes of this text; `None` for what [`encode`] does not write.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(half(*high)? << 4 | half(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

/// The bytes of this text if it is the text of exactly so many.
pub fn decode_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

fn half(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_written_is_read() {
        assert_eq!(encode(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert_eq!(encode(&[]), "");
        assert_eq!(decode(""), Some(Vec::new()));
        for wrong in [
            "0", "0A", "0g", "0x00", " 00", "00 ", "00\n", "+0", "é", "0é0",
        ] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(decode_exact("0a0b"), Some([10, 11]));
        assert_eq!(decode_exact::<1>("0a0b"), None);
        assert_eq!(decode_exact::<3>("0a0b"), None);
    }

    proptest! {
        #[test]
        fn bytes_come_back_and_texts_have_one_form(bytes in prop::collection::vec(any::<u8>(), 0..40), text in ".{0,20}") {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
            if let Some(read) = decode(&text) {
                prop_assert_eq!(encode(&read), text);
            }
        }
    }
}
