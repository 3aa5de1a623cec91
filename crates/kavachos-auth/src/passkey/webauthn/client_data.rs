//! What the browser says about a ceremony (WebAuthn, section 5.8.1): for what, on which page, with which challenge.

use kavachos_core::json;
use serde_json::Value;

use super::Fault;

/// The longest text, in bytes. Browsers write some 200.
const MAX_CLIENT_DATA_BYTES: usize = 4_096;

/// What a ceremony is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ceremony {
    /// A credential is made.
    Registration,
    /// A credential is used.
    Authentication,
}

impl Ceremony {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Authentication => "webauthn.get",
        }
    }
}

/// What the browser says, as it said it. Nothing of it is believed before the signature over it holds.
#[derive(Debug, Clone)]
pub(crate) struct ClientData {
    /// Byte for byte: this is what is signed.
    text: Vec<u8>,
    kind: String,
    challenge: String,
    origin: String,
    elsewhere: bool,
}

impl ClientData {
    /// Reads the JSON of a browser. Members that are not known are left alone (section 5.8.1.2).
    pub(crate) fn read(text: &[u8]) -> Result<Self, Fault> {
        let malformed = Fault::Malformed("`clientDataJSON` is not what a browser writes");
        if text.len() > MAX_CLIENT_DATA_BYTES {
            return Err(malformed);
        }
        let value = json::parse(text).map_err(|_| malformed)?;
        let member = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let cross_origin = match value.get("crossOrigin") {
            None => false,
            Some(said) => said.as_bool().ok_or(malformed)?,
        };
        Ok(Self {
            text: text.to_vec(),
            kind: member("type").ok_or(malformed)?,
            challenge: member("challenge").ok_or(malformed)?,
            origin: member("origin").ok_or(malformed)?,
            elsewhere: cross_origin || value.get("topOrigin").is_some(),
        })
    }

    /// The challenge that it answers, in base64url.
    pub(crate) fn challenge(&self) -> &str {
        &self.challenge
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it is of this ceremony, on a page of this origin, and not inside of a page of somebody else.
    pub(super) fn check(&self, ceremony: Ceremony, origin: &str) -> Result<(), Fault> {
        if self.kind != ceremony.as_str() {
            return Err(Fault::Unproven("it is of another ceremony"));
        }
        if self.origin != origin {
            return Err(Fault::Unproven("it was made on a page of another origin"));
        }
        if self.elsewhere {
            return Err(Fault::Unproven(
                "it was made inside of a page of another origin",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ORIGIN: &str = "https://auth.example.com";

    fn judged(change: impl FnOnce(&mut Value)) -> Result<(), Fault> {
        let mut data = json!({
            "type": "webauthn.get", "challenge": "AAAA", "origin": ORIGIN, "crossOrigin": false, "other": {"a": 1}
        });
        change(&mut data);
        ClientData::read(data.to_string().as_bytes())?.check(Ceremony::Authentication, ORIGIN)
    }

    #[test]
    fn the_origin_is_compared_whole() {
        assert_eq!(judged(|_| {}), Ok(()));
        for origin in [
            "http://auth.example.com",
            "https://auth.example.com:8443",
            "https://auth.example.com:443",
            "https://auth.example.com/",
            "https://Auth.example.com",
            "https://example.com",
            "https://evil.auth.example.com",
            "https://auth.example.com.evil.example",
            "https://evilauth.example.com",
            "https://auth.example.com@evil.example",
            "https://auth.example.com\u{0}",
            "https://аuth.example.com",
            "android:apk-key-hash:AAAA",
            "null",
            "",
        ] {
            let other = judged(|data| data["origin"] = origin.into());
            assert!(
                matches!(other, Err(Fault::Unproven(_))),
                "{origin}: {other:?}"
            );
        }
    }

    #[test]
    fn neither_frames_nor_other_ceremonies_are_taken() {
        for (name, value) in [
            ("crossOrigin", json!(true)),
            ("topOrigin", json!("https://evil.example")),
            ("topOrigin", json!(ORIGIN)),
            ("type", json!("webauthn.create")),
            ("type", json!("payment.get")),
        ] {
            let other = judged(|data| data[name] = value.clone());
            assert!(
                matches!(other, Err(Fault::Unproven(_))),
                "{name}: {other:?}"
            );
        }
    }

    #[test]
    fn what_no_browser_writes_is_malformed() {
        for (name, value) in [
            ("crossOrigin", json!("false")),
            ("crossOrigin", Value::Null),
            ("challenge", json!(7)),
            ("origin", json!(["https://auth.example.com"])),
            ("type", Value::Null),
        ] {
            let other = judged(|data| data[name] = value.clone());
            assert!(
                matches!(other, Err(Fault::Malformed(_))),
                "{name}: {other:?}"
            );
        }
        let long = format!("{{\"type\": \"{}\"}}", "a".repeat(MAX_CLIENT_DATA_BYTES));
        let twice = r#"{"type":"webauthn.get","type":"webauthn.get","challenge":"A","origin":"o"}"#;
        for text in ["", "[]", "{}", "{", "\u{feff}{}", twice, &long] {
            assert!(
                matches!(ClientData::read(text.as_bytes()), Err(Fault::Malformed(_))),
                "{text}"
            );
        }
        assert!(ClientData::read(b"\xff\xfe").is_err());
    }
}
