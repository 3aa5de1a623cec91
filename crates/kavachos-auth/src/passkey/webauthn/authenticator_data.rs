//! What the authenticator says (WebAuthn, section 6.1): for which site, who was there, and, of a new credential, which.

use super::Fault;
use super::cbor::Reader;
use super::key::PublicKey;

/// The longest id of a credential, in bytes (WebAuthn, section 4).
pub(crate) const MAX_CREDENTIAL_ID_BYTES: usize = 1_023;
/// The longest text, in bytes: an id, a key and some extensions.
const MAX_BYTES: usize = 8_192;

const PRESENT: u8 = 1 << 0;
const VERIFIED: u8 = 1 << 2;
const MAY_BE_COPIED: u8 = 1 << 3;
const IS_COPIED: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// What the authenticator says.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'b> {
    /// The SHA-256 of the relying party's id.
    pub(super) site: [u8; 32],
    /// Somebody touched it.
    pub(super) present: bool,
    /// Somebody proved to it who they are: a finger, a face, a PIN.
    pub(super) verified: bool,
    /// The credential may be copied to other devices of its owner; this never changes.
    pub(super) may_be_copied: bool,
    /// It is copied now.
    pub(super) is_copied: bool,
    /// How often it signed, of devices that count.
    pub(super) counter: u32,
    /// The credential that was made.
    pub(super) credential: Option<Attested<'b>>,
}

/// A credential that was made.
#[derive(Debug)]
pub(super) struct Attested<'b> {
    pub(super) id: &'b [u8],
    /// Its key, as COSE writes it.
    pub(super) key: &'b [u8],
}

impl<'b> AuthenticatorData<'b> {
    /// Reads all of it. Extensions are gone over: none was asked for.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, Fault> {
        Self::parse(bytes)
            .filter(|_| bytes.len() <= MAX_BYTES)
            .ok_or(Fault::Malformed(
                "`authenticatorData` is not what an authenticator writes",
            ))
    }

    fn parse(bytes: &'b [u8]) -> Option<Self> {
        let (site, rest) = bytes.split_first_chunk::<32>()?;
        let (flags, rest) = rest.split_first()?;
        let (counter, mut rest) = rest.split_first_chunk::<4>()?;
        let has = |flag: u8| flags & flag != 0;
        let credential = match has(HAS_CREDENTIAL) {
            true => {
                let (credential, behind) = Attested::parse(rest)?;
                rest = behind;
                Some(credential)
            }
            false => None,
        };
        if has(HAS_EXTENSIONS) {
            let mut reader = Reader::new(rest);
            Reader::new(rest).map()?;
            reader.skip()?;
            rest = reader.rest();
        }
        // What cannot be copied is not copied (section 6.1.3).
        let consistent = has(MAY_BE_COPIED) || !has(IS_COPIED);
        (rest.is_empty() && consistent).then_some(Self {
            site: *site,
            present: has(PRESENT),
            verified: has(VERIFIED),
            may_be_copied: has(MAY_BE_COPIED),
            is_copied: has(IS_COPIED),
            counter: u32::from_be_bytes(*counter),
            credential,
        })
    }
}

impl<'b> Attested<'b> {
    /// The credential, and what stands behind it. Before its id stands what model the authenticator is, which proves
    /// nothing without an attestation.
    fn parse(bytes: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let (_model, rest) = bytes.split_first_chunk::<16>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (id, rest) = rest.split_at_checked(length)?;
        let mut reader = Reader::new(rest);
        let key = reader.skip()?;
        let fits = (1..=MAX_CREDENTIAL_ID_BYTES).contains(&length);
        fits.then_some((Self { id, key }, reader.rest()))
    }

    /// Whether the key can be used later.
    pub(super) fn has_known_key(&self) -> bool {
        PublicKey::read(self.key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(flags: u8, behind: &[u8]) -> Vec<u8> {
        [&[7; 32], &[flags][..], &[0, 0, 1, 2], behind].concat()
    }

    fn credential(length: u16, id: usize) -> Vec<u8> {
        [&[0; 16], &length.to_be_bytes()[..], &vec![9; id], &[0xa0]].concat()
    }

    #[test]
    fn flags_and_counter_are_read() {
        let bytes = data(PRESENT | MAY_BE_COPIED | IS_COPIED, &[]);
        let read = AuthenticatorData::read(&bytes).unwrap();
        assert_eq!((read.site, read.counter), ([7; 32], 258));
        assert!(read.present && !read.verified && read.may_be_copied && read.is_copied);
        assert!(read.credential.is_none());
    }

    #[test]
    fn a_copy_of_what_cannot_be_copied_is_malformed() {
        assert!(AuthenticatorData::read(&data(PRESENT | IS_COPIED, &[])).is_err());
        assert!(AuthenticatorData::read(&data(PRESENT | MAY_BE_COPIED, &[])).is_ok());
    }

    #[test]
    fn it_is_read_to_its_end_and_no_further() {
        let made = |behind: &[u8]| data(PRESENT | HAS_CREDENTIAL, behind);
        let whole = made(&credential(32, 32));
        let read = AuthenticatorData::read(&whole).unwrap().credential.unwrap();
        assert_eq!((read.id, read.key), (&[9; 32][..], &[0xa0][..]));
        for end in 0..whole.len() {
            assert!(AuthenticatorData::read(&whole[..end]).is_err(), "{end}");
        }
        let longer = [&whole[..], &[0]].concat();
        let none = made(&credential(0, 0));
        let long = made(&credential(1_024, 1_024));
        let lied = made(&credential(u16::MAX, 32));
        for wrong in [longer, none, long, lied] {
            assert!(AuthenticatorData::read(&wrong).is_err());
        }
        assert!(AuthenticatorData::read(&made(&credential(1_023, 1_023))).is_ok());
    }

    #[test]
    fn extensions_are_a_map() {
        let flags = PRESENT | HAS_EXTENSIONS;
        assert!(AuthenticatorData::read(&data(flags, b"\xa1\x61a\xf5")).is_ok());
        for wrong in [&b""[..], b"\x01", b"\xa1\x61a", b"\xa0\xa0"] {
            assert!(
                AuthenticatorData::read(&data(flags, wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }
}
