//! A token taken apart without a key. Nothing that is read here is known to be true.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::json;
use kavachos_core::token::{MAX_TOKEN_BYTES, Purpose};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// How many bytes a signature has, of either algorithm.
const SIGNATURE_BYTES: usize = 64;
/// Every kind of token there is.
const PURPOSES: [Purpose; 6] = [
    Purpose::Leaf,
    Purpose::Root,
    Purpose::Proof,
    Purpose::FeedHead,
    Purpose::Assertion,
    Purpose::FeedKeys,
];

/// A token of ours, its signature not looked at.
#[derive(Debug)]
pub(super) struct Jwt {
    pub(super) purpose: Purpose,
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
}

impl Jwt {
    /// Takes a token apart; what is wrong with it, without repeating it.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        if text.len() > MAX_TOKEN_BYTES {
            let message = format!("the token is longer than {MAX_TOKEN_BYTES} bytes");
            return Err(Failure::Token(message));
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            let message = format!(
                "this is no token: it begins with none of the prefixes of our keys (`kv_`), and has {} parts between \
                 dots where a JWT has 3",
                parts.len()
            );
            return Err(Failure::Token(message));
        };
        let (header, claims) = (object("header", header)?, object("claims", claims)?);
        let signature = decoded("signature", signature)?;
        if signature.len() != SIGNATURE_BYTES {
            let message = format!(
                "the signature has {} bytes where {SIGNATURE_BYTES} are due: is all of the token there?",
                signature.len()
            );
            return Err(Failure::Token(message));
        }
        Ok(Self {
            purpose: purpose(&header)?,
            header,
            claims,
        })
    }

    /// A text of the header.
    pub(super) fn header_text(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }
}

fn purpose(header: &Map<String, Value>) -> Result<Purpose, Failure> {
    let typ = header.get("typ").and_then(Value::as_str);
    let found = PURPOSES
        .into_iter()
        .find(|purpose| Some(purpose.typ()) == typ);
    found.ok_or_else(|| {
        let ours: Vec<&str> = PURPOSES.iter().map(|purpose| purpose.typ()).collect();
        Failure::Token(format!(
            "this is a JWT of somebody else: its `typ` is none of ours ({})",
            ours.join(", ")
        ))
    })
}

fn object(part: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::Token(format!("the {part} of the token cannot be read: {error}"))
    };
    match json::parse(&decoded(part, text)?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(wrong(&"it is not an object")),
        Err(error) => Err(wrong(&error)),
    }
}

fn decoded(part: &str, text: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| {
        Failure::Token(format!(
            "the {part} of the token is not base64url: was it changed when it was copied?"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.{}",
            part(header),
            part(claims),
            URL_SAFE_NO_PAD.encode([7; SIGNATURE_BYTES])
        )
    }

    #[test]
    fn what_is_wrong_is_named_and_the_token_not_repeated() {
        let sound = token(r#"{"typ":"at+jwt"}"#, r#"{"secret":1}"#);
        assert!(Jwt::read(&sound).is_ok());
        for (text, words) in [
            ("abc".to_owned(), "1 parts"),
            (format!("{sound}.x"), "4 parts"),
            (
                format!("!{sound}"),
                "the header of the token is not base64url",
            ),
            (sound.replacen('.', ".!", 1), "the claims of the token is"),
            (sound.get(..sound.len() - 4).unwrap().to_owned(), "61 bytes"),
            (
                token("[]", "{}"),
                "the header of the token cannot be read: it is not an object",
            ),
            (
                token(r#"{"typ":"at+jwt"}"#, "{"),
                "the claims of the token cannot",
            ),
            (
                token(r#"{"typ":"at+jwt"}"#, r#"{"a":1,"a":2}"#),
                "the claims of the token cannot",
            ),
            (token(r#"{"typ":"JWT"}"#, "{}"), "somebody else"),
            ("a".repeat(MAX_TOKEN_BYTES + 1), "longer than"),
        ] {
            let told = Jwt::read(&text).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
            assert!(!told.contains(&text), "{told}");
        }
    }
}
