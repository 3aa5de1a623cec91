//! The checks of a relying party (Web Authentication, Level 3, sections 7.1 and 7.2), pure: bytes in, a verdict out.
//!
//! Promises: what is accepted was made on a page of one exact origin, not in a frame, for one relying party, with the
//! challenge that the caller consumed before; a human was there, and the authenticator knew who; the signature is of the key
//! that was registered; what cannot change of a credential did not. No attestation is asked for and none is believed: it
//! says which model of authenticator it is, and no model is refused here.
//!
//! It does not know which challenges are open, whose a credential is, or whether that human may sign in.

mod authenticator_data;
mod cbor;
mod client_data;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod key;
#[cfg(test)]
mod tests;

use kavachos_core::id_token::RsaCheck;
use kavachos_core::invalid::Invalid;
use kavachos_core::token::Issuer;
use sha2::{Digest, Sha256};

use authenticator_data::AuthenticatorData;
use cbor::Reader;
use key::PublicKey;

pub(super) use authenticator_data::MAX_CREDENTIAL_ID_BYTES;
pub(super) use client_data::{Ceremony, ClientData};
pub(super) use key::ALGORITHMS;

/// The longest attestation object, in bytes. Those with a chain of certificates have some 5,000.
const MAX_ATTESTATION_BYTES: usize = 16_384;

/// Why a ceremony is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It cannot be read: the client's to mend.
    Malformed(&'static str),
    /// It proves nothing.
    Unproven(&'static str),
    /// All of it is right but the counter, which a copy of the device has used before.
    Copied,
}

/// Whether somebody must prove to the authenticator who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verification {
    /// With a finger, a face or a PIN. A passkey signs in alone, so it must be two factors by itself.
    Required,
    /// A touch is enough.
    #[cfg(any(test, feature = "fuzzing"))]
    NotAsked,
}

/// Whether these bytes are a key that assertions can be checked with.
pub(super) fn is_known_key(cose: &[u8]) -> bool {
    PublicKey::read(cose).is_some()
}

/// The site that credentials are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelyingParty {
    id: String,
    origin: String,
    verification: Verification,
}

/// A credential that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewCredential {
    pub(super) id: Vec<u8>,
    /// Its key, as COSE writes it.
    pub(super) key: Vec<u8>,
    pub(super) counter: u32,
    /// It may be copied to other devices of its owner.
    pub(super) may_be_copied: bool,
    /// It is copied.
    pub(super) is_copied: bool,
}

/// What is known of a credential that is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) key: &'a [u8],
    pub(super) counter: u32,
    pub(super) may_be_copied: bool,
}

/// What came of a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) counter: u32,
    pub(super) is_copied: bool,
}

/// What a browser sends of a use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assertion<'a> {
    pub(super) client_data: &'a ClientData,
    pub(super) authenticator_data: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl RelyingParty {
    /// The site that people know under this address.
    ///
    /// # Errors
    /// Browsers keep no passkeys for it: it is an address of numbers, or not encrypted and not this machine.
    pub(super) fn of(address: &Issuer) -> Result<Self, Invalid> {
        let refuse = |why: &str| {
            Err(Invalid::new(format!(
                "browsers keep no passkeys for `{address}`: {why}"
            )))
        };
        let Some((scheme, rest)) = address.as_str().split_once("://") else {
            return refuse("it has no scheme");
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let number = host.starts_with('[')
            || host
                .bytes()
                .all(|byte| byte == b'.' || byte.is_ascii_digit());
        if number {
            return refuse("give the server a name; for a trial on one machine `http://localhost`");
        }
        let local = host == "localhost" || host.ends_with(".localhost");
        let (usual, secure) = match scheme {
            "https" => ("443", true),
            _ => ("80", local),
        };
        if !secure {
            return refuse("serve it over `https`");
        }
        let port = port.filter(|port| *port != usual);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            id: host.to_owned(),
            origin: format!("{scheme}://{host}{port}"),
            verification: Verification::Required,
        })
    }

    /// Its id: the name of the host.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether a credential was made for this site (section 7.1). The challenge is compared by the caller, who consumed it.
    pub(super) fn register(
        &self,
        client_data: &ClientData,
        attestation: &[u8],
    ) -> Result<NewCredential, Fault> {
        client_data.check(Ceremony::Registration, &self.origin)?;
        let malformed = Fault::Malformed("`attestationObject` is not what an authenticator writes");
        let data = authenticator_data_of(attestation).ok_or(malformed)?;
        let data = AuthenticatorData::read(data)?;
        self.check(&data)?;
        let made = data.credential.as_ref().ok_or(malformed)?;
        if !made.has_known_key() {
            return Err(Fault::Malformed(
                "the credential's key is of no algorithm that was offered",
            ));
        }
        Ok(NewCredential {
            id: made.id.to_vec(),
            key: made.key.to_vec(),
            counter: data.counter,
            may_be_copied: data.may_be_copied,
            is_copied: data.is_copied,
        })
    }

    /// Whether a known credential was used on this site (section 7.2). The challenge is compared by the caller.
    pub(super) fn authenticate(
        &self,
        assertion: Assertion<'_>,
        known: Known<'_>,
        rsa: RsaCheck,
    ) -> Result<Used, Fault> {
        assertion
            .client_data
            .check(Ceremony::Authentication, &self.origin)?;
        let data = AuthenticatorData::read(assertion.authenticator_data)?;
        self.check(&data)?;
        let key = PublicKey::read(known.key).ok_or(Fault::Unproven("its key cannot be read"))?;
        let digest = Sha256::digest(assertion.client_data.text());
        let message = [assertion.authenticator_data, &digest].concat();
        if !key.verifies(&message, assertion.signature, rsa) {
            return Err(Fault::Unproven("the signature is not of its key"));
        }
        if data.may_be_copied != known.may_be_copied {
            return Err(Fault::Unproven("whether it may be copied has changed"));
        }
        check_counter(known, data.counter)?;
        Ok(Used {
            counter: data.counter,
            is_copied: data.is_copied,
        })
    }

    fn check(&self, data: &AuthenticatorData<'_>) -> Result<(), Fault> {
        if data.site != <[u8; 32]>::from(Sha256::digest(&self.id)) {
            return Err(Fault::Unproven("it is for another site"));
        }
        if !data.present {
            return Err(Fault::Unproven("nobody was there"));
        }
        if self.verification == Verification::Required && !data.verified {
            return Err(Fault::Unproven(
                "the authenticator did not ask who was there",
            ));
        }
        Ok(())
    }
}

/// A device that counts counts up (section 6.1.1). Credentials that may be copied are used on several devices, which do not
/// agree on a number; most of them say 0.
fn check_counter(known: Known<'_>, counter: u32) -> Result<(), Fault> {
    let counts = known.counter > 0 || counter > 0;
    if counts && counter <= known.counter && !known.may_be_copied {
        return Err(Fault::Copied);
    }
    Ok(())
}

/// The authenticator's data in an attestation object: a map of `fmt`, `attStmt` and `authData` (section 6.5.4).
fn authenticator_data_of(attestation: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(attestation);
    let (mut format, mut statement, mut data) = (None, None, None);
    if attestation.len() > MAX_ATTESTATION_BYTES || reader.map()? != 3 {
        return None;
    }
    for _ in 0..3 {
        match reader.text()? {
            "fmt" => format = Some(reader.text()?),
            "attStmt" => {
                Reader::new(reader.rest()).map()?;
                statement = Some(reader.skip()?);
            }
            "authData" => data = Some(reader.bytes()?),
            _ => return None,
        }
    }
    (format.is_some() && statement.is_some() && reader.rest().is_empty()).then_some(data)?
}
