//! What is made of the master key: secrets that are stored nowhere, so that a copy of the database signs nothing.

use hmac::{Hmac, KeyInit, Mac};
use kavachos_core::secret::Secret;
use sha2::Sha256;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// Tells one master key from another and says nothing about either.
pub fn fingerprint(master: &Secret) -> [u8; 8] {
    let mac = derived(master, &[b"kavachos master key fingerprint 1"]);
    mac.first_chunk().copied().unwrap_or_default()
}

/// A secret of its own for each name.
pub(crate) fn derived(master: &Secret, name: &[&[u8]]) -> [u8; 32] {
    mac(master.reveal().as_bytes(), name)
}

pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length, so there is no error to come of it.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl Engine {
    /// The master key, which this needs.
    pub(crate) fn needed_master_key(&self) -> Result<&Secret> {
        self.master_key().ok_or(Error::NoMasterKey)
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::secret::SecretKind;

    use super::*;

    #[test]
    fn master_keys_are_told_apart_and_so_are_the_secrets_made_of_them() {
        let master = |byte| Secret::new(SecretKind::Master, [byte; 32]);
        assert_ne!(fingerprint(&master(1)), fingerprint(&master(2)));
        assert_ne!(derived(&master(1), &[b"a"]), derived(&master(2), &[b"a"]));
        assert_ne!(derived(&master(1), &[b"a"]), derived(&master(1), &[b"b"]));
    }
}
