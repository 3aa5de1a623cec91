//! What fuzz targets see of passkeys (`fuzz/`). Only with the feature `fuzzing`, and no part of the interface.

use super::super::credential::{Credential, Made};
use super::authenticator_data::AuthenticatorData;
use super::cbor::Reader;
use super::{Assertion, Ceremony, ClientData, Known, RelyingParty, Verification, is_known_key};

/// A credential that was accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: Vec<u8>,
    /// Its key, as COSE writes it.
    pub key: Vec<u8>,
    /// Its first counter.
    pub counter: u32,
    /// Whether it is copied though it may not be.
    pub is_contradictory: bool,
}

/// What was read of an authenticator's data.
#[derive(Debug, PartialEq, Eq)]
pub struct Data<'b> {
    /// The hash of the site's id.
    pub site: [u8; 32],
    /// How often it signed.
    pub counter: u32,
    /// The id and the key of a credential that was made.
    pub credential: Option<(&'b [u8], &'b [u8])>,
}

/// One item of CBOR, and what stands behind it.
pub fn item(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(bytes);
    let item = reader.skip()?;
    Some((item, reader.rest()))
}

/// A whole number in CBOR.
pub fn integer(bytes: &[u8]) -> Option<i64> {
    Reader::new(bytes).integer()
}

/// Whether these bytes are a key that assertions can be checked with.
pub fn is_key(cose: &[u8]) -> bool {
    is_known_key(cose)
}

/// What an authenticator says.
pub fn data(bytes: &[u8]) -> Option<Data<'_>> {
    let read = AuthenticatorData::read(bytes).ok()?;
    Some(Data {
        site: read.site,
        counter: read.counter,
        credential: read.credential.map(|made| (made.id, made.key)),
    })
}

/// Whether client data can be read, and is of this ceremony on this origin.
pub fn fits(client_data: &[u8], registers: bool, origin: &str) -> Option<bool> {
    let ceremony = match registers {
        true => Ceremony::Registration,
        false => Ceremony::Authentication,
    };
    let data = ClientData::read(client_data).ok()?;
    Some(data.check(ceremony, origin).is_ok())
}

fn site(address: &str) -> Option<RelyingParty> {
    let site = RelyingParty::of(&address.parse().ok()?).ok()?;
    let verification = Verification::NotAsked;
    Some(RelyingParty {
        verification,
        ..site
    })
}

/// The credential that was made for the site of this address, a touch being enough.
pub fn registered(address: &str, client_data: &[u8], attestation: &[u8]) -> Option<Registered> {
    let client_data = ClientData::read(client_data).ok()?;
    let made = site(address)?.register(&client_data, attestation).ok()?;
    Some(Registered {
        is_contradictory: made.is_copied && !made.may_be_copied,
        id: made.id,
        key: made.key,
        counter: made.counter,
    })
}

/// The counter after a use that is accepted for the site of this address, a touch being enough, by a credential that may
/// not be copied. Of RSA every signature holds that is as long as its key.
pub fn used(
    address: &str,
    (key, counter): (&[u8], u32),
    (client_data, authenticator_data, signature): (&[u8], &[u8], &[u8]),
) -> Option<u32> {
    let client_data = &ClientData::read(client_data).ok()?;
    let assertion = Assertion {
        client_data,
        authenticator_data,
        signature,
    };
    let known = Known {
        key,
        counter,
        may_be_copied: false,
    };
    let used = site(address)?.authenticate(assertion, known, |_, _, _| true);
    used.ok().map(|used| used.counter)
}

/// The id of what a browser sends of a credential that was made, and how it is reached.
pub fn sent(json: &[u8]) -> Option<(Vec<u8>, String)> {
    let sent: Credential<Made> =
        kavachos_core::json::read(&kavachos_core::json::parse(json).ok()?).ok()?;
    sent.check().ok()?;
    Some((sent.id.0.clone(), sent.response.transports()))
}
