//! What must stand in a row and be read again, but by nobody who has the database alone: addresses, links, seeds of codes.
//!
//! XChaCha20-Poly1305 under a key of its own for each purpose, derived from the master key and stored nowhere. The purpose
//! is bound besides, so that what was sealed for one opens for no other. Nonces are drawn by chance: 192 bits do not meet.
//!
//! INVARIANT: the seal says that we wrote it, not that it stands in the row for which it was written. Whoever seals puts
//! into the text what it belongs to, and compares.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use kavachos_core::secret::Secret;
use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::master::{derived, fingerprint};

/// The form of what follows; another cipher would be another number.
const FORM: u8 = 1;
const NONCE_BYTES: usize = 24;
const MASTER_BYTES: usize = 8;
/// How many bytes stand before the sealed text: the form, which master key, the nonce.
const HEAD_BYTES: usize = 1 + MASTER_BYTES + NONCE_BYTES;
/// The longest text that is sealed, in bytes.
const MAX_PLAIN_BYTES: usize = 64 * 1024;

impl Engine {
    /// Seals what is to be stored, for this purpose: `mail`, or the id of a plugin and what it keeps.
    ///
    /// # Errors
    /// [`Error::WrongState`] where there is no master key; it says how to make one. A text of more than 64 KiB is a defect
    /// of whoever calls.
    pub fn seal_at_rest(&self, purpose: &'static str, plain: &[u8]) -> Result<Vec<u8>> {
        let master = self.sealing_key()?;
        if plain.len() > MAX_PLAIN_BYTES {
            let why = format!("`{purpose}` seals more than {MAX_PLAIN_BYTES} bytes");
            return Err(Error::Internal(why));
        }
        let nonce: [u8; NONCE_BYTES] = self.random();
        seal(master, purpose, nonce, plain)
            .ok_or_else(|| Error::Internal(format!("`{purpose}` cannot be sealed")))
    }

    /// Opens what [`Engine::seal_at_rest`] sealed for the same purpose.
    ///
    /// # Errors
    /// [`Error::WrongState`] where there is no master key, or another one than it was sealed with. [`Error::Internal`] where
    /// it was changed, or sealed for something else.
    pub fn open_at_rest(&self, purpose: &'static str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        open(self.sealing_key()?, purpose, sealed)
    }

    fn sealing_key(&self) -> Result<&Secret> {
        self.master_key().ok_or_else(|| {
            Error::WrongState(
                "this is kept sealed under a key derived from a master key, and there is none: set \
                 KAVACH_MASTER_KEY_FILE, or make one with `kavach init`"
                    .to_owned(),
            )
        })
    }
}

fn cipher(master: &Secret, purpose: &str) -> XChaCha20Poly1305 {
    let name = format!("kavachos sealed at rest 1\n{purpose}");
    let key = Zeroizing::new(derived(master, &[name.as_bytes()]));
    XChaCha20Poly1305::new(&(*key).into())
}

/// The head, then the sealed text with its tag. The head is bound as well as the purpose.
fn seal(master: &Secret, purpose: &str, nonce: [u8; NONCE_BYTES], plain: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + 16);
    sealed.push(FORM);
    sealed.extend(fingerprint(master));
    sealed.extend(nonce);
    let aad = bound(&sealed, purpose);
    let payload = Payload {
        msg: plain,
        aad: &aad,
    };
    let text = cipher(master, purpose).encrypt(&XNonce::from(nonce), payload);
    sealed.extend(text.ok()?);
    Some(sealed)
}

fn open(master: &Secret, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let broken = || {
        let why = format!("what was sealed for `{purpose}` was changed, or is of something else");
        Error::Internal(why)
    };
    let (head, text) = sealed.split_at_checked(HEAD_BYTES).ok_or_else(broken)?;
    let (form, rest) = head.split_first().ok_or_else(broken)?;
    let (master_used, nonce) = rest
        .split_first_chunk::<MASTER_BYTES>()
        .ok_or_else(broken)?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| broken())?;
    if *form != FORM {
        return Err(broken());
    }
    if *master_used != fingerprint(master) {
        return Err(Error::WrongState(
            "the master key is not the one that this was sealed with: bring that one back, or have it made anew".to_owned(),
        ));
    }
    let aad = bound(head, purpose);
    let payload = Payload {
        msg: text,
        aad: &aad,
    };
    let plain = cipher(master, purpose).decrypt(&XNonce::from(nonce), payload);
    plain.map(Zeroizing::new).map_err(|_| broken())
}

fn bound(head: &[u8], purpose: &str) -> Vec<u8> {
    [head, purpose.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use kavachos_core::secret::SecretKind;

    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

    fn master(byte: u8) -> Secret {
        Secret::new(SecretKind::Master, [byte; 32])
    }

    fn sealed(purpose: &str, plain: &[u8]) -> Vec<u8> {
        seal(&master(1), purpose, NONCE, plain).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_purpose_under_the_same_master_key() {
        let text = sealed("mail", b"ada@example.com");
        let plain = open(&master(1), "mail", &text).unwrap();
        assert_eq!(&**plain, b"ada@example.com");
        let empty = sealed("mail", b"");
        assert!(open(&master(1), "mail", &empty).unwrap().is_empty());
    }

    #[test]
    fn it_opens_for_no_other_purpose_and_under_no_other_key() {
        let text = sealed("mail", b"ada@example.com");
        let other = open(&master(1), "totp", &text).unwrap_err();
        assert!(matches!(other, Error::Internal(_)), "{other:?}");
        let other = open(&master(2), "mail", &text).unwrap_err();
        assert!(matches!(other, Error::WrongState(_)), "{other:?}");
    }

    #[test]
    fn no_byte_of_it_can_be_changed_or_left_out() {
        let text = sealed("mail", b"ada@example.com");
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(open(&master(1), "mail", &changed).is_err(), "byte {at}");
            assert!(
                open(&master(1), "mail", &text[..at]).is_err(),
                "cut at {at}"
            );
        }
        assert!(open(&master(1), "mail", &text).is_ok());
    }

    #[test]
    fn nothing_of_the_text_is_seen_in_what_is_stored() {
        let plain = b"https://example.com/reset-password?token=canary";
        let text = sealed("mail", plain);
        assert!(
            !text
                .windows(6)
                .any(|part| plain.windows(6).any(|p| p == part))
        );
        assert_eq!(text.len(), HEAD_BYTES + plain.len() + 16);
    }
}
