//! What browsers send of passkeys (`RegistrationResponseJSON` and `AuthenticationResponseJSON`, Web Authentication, 5.1), and
//! how faults in it are answered.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::invalid::Invalid;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

use super::store::CredentialRow;
use super::webauthn::MAX_CREDENTIAL_ID_BYTES;

/// How many ways to reach an authenticator are kept, and how long the name of one is.
const MAX_TRANSPORTS: usize = 8;
const MAX_TRANSPORT_BYTES: usize = 32;
/// The longest name of a passkey, in characters.
const MAX_NAME: usize = 100;

/// Bytes in base64url, as they stand in what browsers send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base64Url(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Base64Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let wrong = |_| de::Error::custom("must be base64url without padding");
        bytes.map(Self).map_err(wrong)
    }
}

/// What a browser sends. Members that are of no use here are left alone: it is the browser's to say what it sends.
#[derive(Deserialize)]
pub(super) struct Credential<R> {
    #[serde(rename = "rawId")]
    pub(super) id: Base64Url,
    #[serde(rename = "type")]
    kind: String,
    pub(super) response: R,
}

/// What it sends of a credential that was made.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: Base64Url,
    pub(super) attestation_object: Base64Url,
    #[serde(default)]
    transports: Vec<String>,
}

/// What it sends of a credential that was used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asserted {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data: Base64Url,
    pub(super) authenticator_data: Base64Url,
    pub(super) signature: Base64Url,
    #[serde(default)]
    pub(super) user_handle: Option<Base64Url>,
}

impl<R> Credential<R> {
    /// Refuses what is no public key, and ids that no authenticator makes.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.kind != "public-key" {
            return Err(Invalid::at("credential.type", "must be `public-key`"));
        }
        if !(1..=MAX_CREDENTIAL_ID_BYTES).contains(&self.id.0.len()) {
            let why = format!("must have 1 to {MAX_CREDENTIAL_ID_BYTES} bytes");
            return Err(Invalid::at("credential.rawId", why));
        }
        Ok(())
    }
}

impl Made {
    /// How browsers reach the authenticator: known words, and those that may come to be known (section 5.8.4).
    pub(super) fn transports(&self) -> String {
        let is_word = |text: &&String| {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            (1..=MAX_TRANSPORT_BYTES).contains(&text.len()) && text.bytes().all(known)
        };
        let words = self.transports.iter().filter(is_word).take(MAX_TRANSPORTS);
        words.cloned().collect::<Vec<_>>().join(" ")
    }
}

/// How browsers are told of a credential that is known.
pub(super) fn descriptor(row: &CredentialRow) -> Value {
    let transports: Vec<&str> = row.transports.split_whitespace().collect();
    json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(&row.credential), "transports": transports })
}

/// A name for a passkey, as its owner chose it.
pub(super) fn named(name: &str) -> Result<String, Invalid> {
    let name = name.trim();
    let fits = (1..=MAX_NAME).contains(&name.chars().count());
    if fits && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    let why = format!("must have 1 to {MAX_NAME} characters, none of them a control character");
    Err(Invalid::at("name", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_sends_is_read_and_what_it_adds_is_left_alone() {
        let sent = json!({
            "id": "AQID", "rawId": "AQID", "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": "e30", "attestationObject": "oA", "publicKeyAlgorithm": -7,
                "transports": ["internal", "hybrid", "Bad Word", "x".repeat(33)],
            },
        });
        let read: Credential<Made> = serde_json::from_value(sent).unwrap();
        assert_eq!(read.id.0, [1, 2, 3]);
        assert_eq!(read.response.transports(), "internal hybrid");
        assert_eq!(read.check(), Ok(()));
    }

    #[test]
    fn ids_and_types_that_are_none_are_refused() {
        let sent = |id: &str, kind: &str| {
            let response =
                json!({ "clientDataJSON": "", "authenticatorData": "", "signature": "" });
            let sent = json!({ "rawId": id, "type": kind, "response": response });
            let read = serde_json::from_value::<Credential<Asserted>>(sent).ok()?;
            read.check().ok()
        };
        assert!(sent("AQID", "public-key").is_some());
        for (id, kind) in [
            ("", "public-key"),
            ("AQID", "password"),
            ("AQID=", "public-key"),
            ("A+/=", "public-key"),
        ] {
            assert!(sent(id, kind).is_none(), "{id} {kind}");
        }
        assert!(sent(&"AAAA".repeat(342), "public-key").is_none());
    }

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(named(" Blue key ü ").as_deref(), Ok("Blue key ü"));
        for name in ["", "  ", "a\nb", "\u{0}", &"x".repeat(101)] {
            assert!(named(name).is_err(), "{name:?}");
        }
    }
}
