//! base64url without padding (RFC 4648, section 5), read as tokens are: one text for every value. Other alphabets,
//! padding, blanks, and bits behind the last byte are refused.
//!
//! A general decoder spends more on a token than reading its JSON does; this one takes eight digits at a time.

/// In the table: no digit. No digit has this bit.
const NO_DIGIT: u8 = 1 << 7;

/// What each byte is worth as a digit. One small table: a larger one with the shifts in it would be in the cache less often.
static WORTH: [u8; 256] = worth();

#[expect(
    clippy::indexing_slicing,
    reason = "done by the compiler, which would say so"
)]
const fn worth() -> [u8; 256] {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0_u8;
    while (digit as usize) < digits.len() {
        worth[digits[digit as usize] as usize] = digit;
        digit += 1;
    }
    worth
}

/// The bytes of a text, in a room of the caller's; `None` of a text that is none of theirs, or needs more room.
pub(crate) fn decode<'r>(text: &str, room: &'r mut [u8]) -> Option<&'r [u8]> {
    let bytes = room.get_mut(..length_of(text.len())?)?;
    fill(text.as_bytes(), bytes).then_some(bytes)
}

/// The bytes of a text, where there are just so many.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let fits = length_of(text.len()) == Some(N);
    (fits && fill(text.as_bytes(), &mut bytes)).then_some(bytes)
}

/// How many bytes so many digits are; `None` of a number that is left by none.
const fn length_of(digits: usize) -> Option<usize> {
    let whole = digits / 4 * 3;
    match digits % 4 {
        0 => Some(whole),
        2 => Some(whole + 1),
        3 => Some(whole + 2),
        _ => None,
    }
}

/// Writes the bytes of a text, of which there are as many as there is room.
fn fill(text: &[u8], bytes: &mut [u8]) -> bool {
    let (eights, rest) = text.as_chunks::<8>();
    let (sixes, last) = bytes.as_chunks_mut::<6>();
    let mut seen = 0;
    for (eight, six) in eights.iter().zip(sixes) {
        let (value, digits) = six_bytes(*eight);
        seen |= digits;
        *six = value;
    }
    seen & NO_DIGIT == 0 && fill_last(rest, last)
}

/// Fewer than eight digits, as if zeros followed: what they are beyond their bytes must be zero too.
fn fill_last(rest: &[u8], last: &mut [u8]) -> bool {
    let mut eight = [b'A'; 8];
    (eight.iter_mut().zip(rest)).for_each(|(digit, given)| *digit = *given);
    let (six, seen) = six_bytes(eight);
    (last.iter_mut().zip(six)).for_each(|(byte, value)| *byte = value);
    seen & NO_DIGIT == 0 && six.iter().skip(last.len()).all(|beyond| *beyond == 0)
}

/// The bytes of eight digits, and a number with the bit of [`NO_DIGIT`] if one of them is none.
#[inline]
fn six_bytes(digits: [u8; 8]) -> ([u8; 6], u8) {
    let worth = digits.map(|digit| WORTH.get(usize::from(digit)).copied().unwrap_or(NO_DIGIT));
    let seen = worth.iter().fold(0, |seen, worth| seen | worth);
    let bits = (worth.iter()).fold(0_u64, |bits, worth| bits << 6 | u64::from(*worth & 63));
    let [_, _, six @ ..] = bits.to_be_bytes();
    (six, seen)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Vec<u8>> {
        let mut room = [0xff; 200];
        decode(text, &mut room).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_needs_more_room_than_there_is_is_refused() {
        let mut room = [0; 3];
        assert_eq!(decode("Zm9v", &mut room), Some(&b"foo"[..]));
        assert_eq!(decode("Zm9vYg", &mut room), None);
    }

    #[test]
    fn the_texts_of_the_standard_are_read() {
        // RFC 4648, section 10, without the padding.
        for (text, bytes) in [
            ("", ""),
            ("Zg", "f"),
            ("Zm8", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("Zm9vYmE", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(read(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(decode_array::<3>("_-8A"), Some([0xff, 0xef, 0x00]));
        assert_eq!(decode_array::<2>("_-8A"), None);
    }

    #[test]
    fn a_value_has_one_text() {
        for text in [
            "Zg==", "Zh", "Zm9", "Z", "Zm9vY", "Zm9v ", " Zm9v", "Zm+v", "Zm/v", "Zm9v\n", "Zmé",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        // Every byte in every place of a group, and of what follows the last one.
        for length in 1..12 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'A'; length];
                    text[place] = byte;
                    let Ok(text) = String::from_utf8(text) else {
                        continue;
                    };
                    assert_eq!(read(&text), URL_SAFE_NO_PAD.decode(&text).ok(), "{text}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_another_decoder_reads(bytes in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(), other in any::<char>()) {
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert_eq!(read(&text), Some(bytes));
            let at = place.index(text.len() + 1);
            let changed = format!("{}{other}{}", text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
            prop_assert_eq!(read(&changed), URL_SAFE_NO_PAD.decode(&changed).ok());
        }
    }
}
