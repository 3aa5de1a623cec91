//! base64url without padding (RFC 4648, section 5), read as tokens are: one text for every value. Other alphabets,
//! padding, blanks, and bits behind the last byte are refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes of a text, in a room of the caller's; `None` of a text that is none of theirs, or needs more room.
pub(crate) fn decode<'r>(text: &str, room: &'r mut [u8]) -> Option<&'r [u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, room).ok()?;
    room.get(..length)
}

/// The bytes of a text, where there are just so many.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_text() {
        let mut room = [0; 4];
        assert_eq!(decode("Zm9v", &mut room), Some(b"foo".as_slice()));
        assert_eq!(decode("Zg", &mut room), Some(b"f".as_slice()));
        for text in [
            "Zg==", "Zh", "Zm9", "Z", "Zm9vY", "Zm9v ", " Zm9v", "Zm+v", "Zm/v", "Zm9v\n", "Zmé",
        ] {
            assert_eq!(decode(text, &mut room), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert_eq!(decode("Zm9v", &mut [0; 2]), None);
        assert_eq!(decode_array("Zm9v"), Some(*b"foo"));
        assert_eq!(decode_array::<2>("Zm9v"), None);
        assert_eq!(decode_array::<4>("Zm9v"), None);
    }
}
