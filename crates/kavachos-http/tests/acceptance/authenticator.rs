//! An authenticator with the browser before it, for one key: it makes real attestations and assertions, and also such as
//! no honest one makes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The flags of authenticator data (Web Authentication, 6.1).
pub(crate) const PRESENT: u8 = 1;
pub(crate) const VERIFIED: u8 = 4;
pub(crate) const MAY_BE_COPIED: u8 = 8;
const HAS_CREDENTIAL: u8 = 64;

/// How a ceremony is held. The default is how an honest browser does it, on the page of the server.
#[derive(Debug, Clone)]
pub(crate) struct How {
    pub(crate) origin: &'static str,
    pub(crate) site: &'static str,
    pub(crate) flags: u8,
    /// Members of the client data in the place of, or beside, those that a browser writes.
    pub(crate) said: Value,
}

impl Default for How {
    fn default() -> Self {
        Self {
            origin: "http://localhost:3000",
            site: "localhost",
            flags: PRESENT | VERIFIED,
            said: json!({}),
        }
    }
}

/// An authenticator with one key.
#[derive(Clone)]
pub(crate) struct Authenticator {
    key: SigningKey,
    id: Vec<u8>,
    user: String,
    /// How often it signed.
    pub(crate) counter: u32,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn client_data(kind: &str, options: &Value, how: &How) -> Vec<u8> {
    let mut data = json!({
        "type": kind, "challenge": options["challenge"], "origin": how.origin, "crossOrigin": false
    });
    for (name, value) in how.said.as_object().unwrap() {
        data[name] = value.clone();
    }
    data.to_string().into_bytes()
}

impl Authenticator {
    /// One whose key and id are made of this byte.
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            key: SigningKey::from_slice(&[seed; 32]).unwrap(),
            id: vec![seed; 32],
            user: String::new(),
            counter: 0,
        }
    }

    fn data(&self, how: &How, behind: &[u8]) -> Vec<u8> {
        let site = Sha256::digest(how.site);
        let made = if behind.is_empty() { 0 } else { HAS_CREDENTIAL };
        let counter = self.counter.to_be_bytes();
        [&site[..], &[how.flags | made], &counter, behind].concat()
    }

    /// The key as COSE writes it.
    fn cose(&self) -> Vec<u8> {
        let point = self.key.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let head = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        [&head[..], x, &[0x22, 0x58, 0x20], y].concat()
    }

    /// Makes its credential, as `navigator.credentials.create` does.
    pub(crate) fn make(&mut self, options: &Value, how: &How) -> Value {
        options["user"]["id"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.user);
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let behind = [&[0; 16], &length[..], &self.id, &self.cose()].concat();
        let data = self.data(how, &behind);
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let head = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59";
        let object = [&head[..], &length, &data].concat();
        self.sent(&json!({
            "clientDataJSON": encoded(client_data("webauthn.create", options, how)),
            "attestationObject": encoded(object),
            "transports": ["internal"],
        }))
    }

    /// Uses its credential, as `navigator.credentials.get` does.
    pub(crate) fn answer(&mut self, options: &Value, how: &How) -> Value {
        self.counter += 1;
        let client_data = client_data("webauthn.get", options, how);
        let data = self.data(how, &[]);
        let message = [&data[..], &Sha256::digest(&client_data)].concat();
        let signature: Signature = self.key.sign(&message);
        self.sent(&json!({
            "clientDataJSON": encoded(client_data),
            "authenticatorData": encoded(data),
            "signature": encoded(der(&signature)),
            "userHandle": self.user,
        }))
    }

    fn sent(&self, response: &Value) -> Value {
        let id = encoded(&self.id);
        json!({ "credential": {
            "id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {}, "response": response,
        } })
    }
}

/// Two numbers as ASN.1 writes them (RFC 3279, 2.2.3).
fn der(signature: &Signature) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let first = bytes.iter().position(|byte| *byte != 0).unwrap();
        let bytes = &bytes[first..];
        let sign: &[u8] = if bytes[0] > 0x7f { &[0] } else { &[] };
        let length = u8::try_from(sign.len() + bytes.len()).unwrap();
        [&[2, length], sign, bytes].concat()
    };
    let bytes = signature.to_bytes();
    let (r, s) = bytes.split_at(32);
    let both = [number(r), number(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], &both[..]].concat()
}
