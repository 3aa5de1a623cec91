//! A verifier with its controls switched off, which does what a header says: the twin of the attacks in `attacks`. What
//! it takes in an attack shows that the attack is one, and that only the control stands against it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use kavachos_core::token::{PublicKey, SigningKey};
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{FieldBytes, ProjectivePoint, Scalar};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The parts of a text, as lenient readers take them: blanks and what follows the third dot do not matter.
fn parts(text: &str) -> Option<(Value, &str, &str, &str)> {
    let text = text.trim();
    let mut dots = text.match_indices('.').map(|(at, _)| at);
    let (first, second) = (dots.next()?, dots.next().unwrap_or(text.len()));
    let end = dots.next().unwrap_or(text.len());
    let header = URL_SAFE_NO_PAD.decode(&text[..first]).ok()?;
    let header = serde_json::from_slice(&header).ok()?;
    let signature = text.get(second + 1..end).unwrap_or("");
    Some((header, &text[first + 1..second], signature, &text[..second]))
}

/// The algorithm that the header asks for, however it is written; none where it asks for none.
fn algorithm(header: &Value) -> String {
    let named = match &header["alg"] {
        Value::Array(names) => names.first().cloned().unwrap_or_default(),
        named => named.clone(),
    };
    named.as_str().unwrap_or("none").to_ascii_lowercase()
}

/// The claims of a token, if it is signed as its own header says, with the one text that was configured as the key.
pub fn obeys_header(token: &str, key: &[u8]) -> Option<Value> {
    let (header, payload, signature, message) = parts(token)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let signed = match algorithm(&header).as_str() {
        "none" | "" => true,
        "hs256" => {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.update(message.as_bytes());
            mac.verify_slice(&signature).is_ok()
        }
        _ => false,
    };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok().filter(|_| signed)?;
    let payload = match header["zip"].as_str() {
        Some("DEF") => inflated(&payload)?,
        _ => payload,
    };
    serde_json::from_slice(&payload).ok()
}

/// The claims of a text that is signed by this key, whatever it was signed for, whatever time it is.
pub fn looks_at_the_signature_alone(token: &str, key: &SigningKey) -> Option<Value> {
    let (_, payload, signature, message) = parts(token)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
    let signed = key.public().verifies(message.as_bytes(), &signature);
    let payload = URL_SAFE_NO_PAD.decode(payload).ok().filter(|_| signed)?;
    serde_json::from_slice(&payload).ok()
}

/// The claims of a proof that is signed by the key in its own header, whatever they say.
pub fn believes_the_key_in_the_header(proof: &str) -> Option<Value> {
    let (header, payload, signature, message) = parts(proof)?;
    let mut jwk = header["jwk"].clone();
    jwk.as_object_mut()?.remove("d");
    let key = PublicKey::from_jwk(&jwk).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
    let signed = key.verifies(message.as_bytes(), &signature);
    let payload = URL_SAFE_NO_PAD.decode(payload).ok().filter(|_| signed)?;
    serde_json::from_slice(&payload).ok()
}

/// How many rounds of a key derivation a header orders (RFC 7518, section 4.8.1.2).
pub fn ordered_rounds(token: &str) -> u64 {
    let ordered = parts(token).and_then(|(header, ..)| header["p2c"].as_u64());
    ordered.unwrap_or(0)
}

/// What DEFLATE (RFC 1951) makes of stored blocks.
fn inflated(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let [header, low, high, _, _, rest @ ..] = bytes else {
            return None;
        };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        text.extend_from_slice(rest.get(..length)?);
        if header & 1 == 1 {
            return Some(text);
        }
        bytes = &rest[length..];
    }
}

/// ECDSA as a textbook has it, without a look at the range of `r` and `s` (CVE-2022-21449): what has no inverse has 0.
pub fn textbook_ecdsa(message: &str, signature: &[u8; 64], key: &p256::PublicKey) -> bool {
    let number = |bytes: &[u8]| {
        let bytes: [u8; 32] = bytes.try_into().unwrap();
        <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(bytes))
    };
    let (r, s) = (number(&signature[..32]), number(&signature[32..]));
    let z = number(&Sha256::digest(message));
    let inverse = Option::<Scalar>::from(s.invert()).unwrap_or(Scalar::ZERO);
    let point = ProjectivePoint::GENERATOR * (z * inverse) + key.to_projective() * (r * inverse);
    let point = point.to_affine().to_sec1_point(false);
    // The point at infinity has no coordinates.
    let x = point.x().map_or(Scalar::ZERO, |x| number(x));
    x == r
}
