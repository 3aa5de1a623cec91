//! The public key of a credential (COSE_Key, RFC 9052 section 7 and RFC 9053), and what it signed.
//!
//! Three algorithms, which every authenticator in use has one of: ES256, EdDSA on Ed25519, and RS256 for the TPM of
//! Windows. A key says its algorithm, and verifies with no other.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek as ed25519;
use kavachos_core::id_token::{ProviderKey, ProviderKeySet, RsaCheck, RsaKey};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{self as es256};
use serde_json::json;

use super::cbor::Reader;

/// The numbers of the algorithms, in the order in which we prefer them (RFC 9053 section 2, RFC 8812).
pub(crate) const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;
/// The kinds of keys (RFC 9053, section 7; RFC 8230).
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;
/// The curves (RFC 9053, section 7.1).
const P256: i64 = 1;
const ED25519: i64 = 6;
/// The most members of a key.
const MAX_MEMBERS: u64 = 8;

/// A key that assertions are checked with.
pub(super) enum PublicKey {
    Es256(Box<es256::VerifyingKey>),
    EdDsa(Box<ed25519::VerifyingKey>),
    Rs256(RsaKey),
}

/// The members of a key. `-1`, `-2` and `-3` are other things in each kind of key.
#[derive(Default)]
struct Members<'b> {
    kind: Option<i64>,
    algorithm: Option<i64>,
    curve: Option<i64>,
    first: Option<&'b [u8]>,
    second: Option<&'b [u8]>,
    third: Option<&'b [u8]>,
}

impl PublicKey {
    /// Reads a key that is all of this text; `None` of other kinds, and of points that are on no curve.
    pub(super) fn read(cose: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(cose);
        let members = Members::read(&mut reader)?;
        if !reader.rest().is_empty() {
            return None;
        }
        match (members.kind?, members.algorithm?, members.curve) {
            (EC2, ES256, Some(P256)) => {
                let (x, y) = (members.second?, members.third?);
                let point: [u8; 65] = [&[4], x, y].concat().try_into().ok()?;
                let fits = x.len() == 32 && y.len() == 32;
                let key = es256::VerifyingKey::from_sec1_bytes(&point).ok()?;
                fits.then(|| Self::Es256(Box::new(key)))
            }
            (OKP, EDDSA, Some(ED25519)) => {
                let key: &[u8; 32] = members.second?.try_into().ok()?;
                let key = ed25519::VerifyingKey::from_bytes(key).ok()?;
                (!key.is_weak()).then(|| Self::EdDsa(Box::new(key)))
            }
            (RSA, RS256, None) => rsa(members.first?, members.second?).map(Self::Rs256),
            _ => None,
        }
    }

    /// Whether a signature over a message is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8], rsa: RsaCheck) -> bool {
        match self {
            // WebAuthn, section 6.5.5: the signature is the ASN.1 of RFC 3279.
            Self::Es256(key) => es256::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::EdDsa(key) => ed25519::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::Rs256(key) => {
                signature.len() == key.modulus().len() && rsa(key, message, signature)
            }
        }
    }
}

/// RSA keys are read where those of providers are, so that there is one rule for sizes and exponents.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<RsaKey> {
    let encoded = |bytes| URL_SAFE_NO_PAD.encode(bytes);
    let key =
        json!({ "kty": "RSA", "kid": "passkey", "n": encoded(modulus), "e": encoded(exponent) });
    let keys = ProviderKeySet::from_jwks(json!({ "keys": [key] }).to_string().as_bytes()).ok()?;
    match keys.get("passkey")? {
        ProviderKey::Rsa(key) => Some(key.clone()),
        ProviderKey::Curve(_) => None,
    }
}

impl<'b> Members<'b> {
    fn read(reader: &mut Reader<'b>) -> Option<Self> {
        let mut members = Self::default();
        let count = reader.map().filter(|count| *count <= MAX_MEMBERS)?;
        for _ in 0..count {
            match reader.integer()? {
                1 => once(&mut members.kind, reader.integer()?)?,
                3 => once(&mut members.algorithm, reader.integer()?)?,
                // The modulus of RSA stands where the curve does of others.
                -1 => match Reader::new(reader.rest()).bytes() {
                    Some(_) => once(&mut members.first, reader.bytes()?)?,
                    None => once(&mut members.curve, reader.integer()?)?,
                },
                -2 => once(&mut members.second, reader.bytes()?)?,
                -3 => once(&mut members.third, reader.bytes()?)?,
                _ => return None,
            }
        }
        Some(members)
    }
}

/// No member stands twice.
fn once<T>(member: &mut Option<T>, value: T) -> Option<()> {
    match member.replace(value) {
        None => Some(()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn es256_key(x: &[u8], y: &[u8]) -> Vec<u8> {
        let head = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58];
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        [&head[..], &[length(x)], x, &[0x22, 0x58], &[length(y)], y].concat()
    }

    fn point() -> (Vec<u8>, Vec<u8>) {
        let key = es256::SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        (
            point.as_bytes()[1..33].to_vec(),
            point.as_bytes()[33..].to_vec(),
        )
    }

    #[test]
    fn a_point_of_the_curve_is_a_key_and_no_other_is() {
        let (x, y) = point();
        assert!(PublicKey::read(&es256_key(&x, &y)).is_some());
        assert!(PublicKey::read(&es256_key(&x, &x)).is_none());
        assert!(PublicKey::read(&es256_key(&[0; 32], &[0; 32])).is_none());
        assert!(PublicKey::read(&es256_key(&x[1..], &[&y[..], &[0]].concat())).is_none());
        assert!(PublicKey::read(&es256_key(&x[..31], &y)).is_none());
    }

    #[test]
    fn a_key_is_all_of_the_text_and_has_no_member_twice() {
        let (x, y) = point();
        let key = es256_key(&x, &y);
        assert!(PublicKey::read(&[&key[..], &[0]].concat()).is_none());
        for end in 0..key.len() {
            assert!(PublicKey::read(&key[..end]).is_none(), "{end}");
        }
        let mut twice = [&key[..], &[0x03, 0x26]].concat();
        twice[0] = 0xa6;
        assert!(PublicKey::read(&twice).is_none());
    }

    #[test]
    fn the_algorithm_must_be_that_of_the_kind_and_the_curve() {
        let (x, y) = point();
        // Which byte of the key, and what it would say: EdDSA, ES384, P-384, an octet key pair.
        for (at, byte) in [(4, 0x27), (4, 0x38), (6, 0x02), (2, 0x01)] {
            let mut key = es256_key(&x, &y);
            key[at] = byte;
            assert!(PublicKey::read(&key).is_none(), "{at}");
        }
    }

    #[test]
    fn weak_points_and_short_moduli_are_no_keys() {
        let ed25519 = |point: [u8; 32]| {
            let head = [0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20];
            [&head[..], &point].concat()
        };
        let good = ed25519::SigningKey::from_bytes(&[7; 32]).verifying_key();
        assert!(PublicKey::read(&ed25519(good.to_bytes())).is_some());
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(PublicKey::read(&ed25519(neutral)).is_none());
        let rsa = |bytes: usize| {
            let length = u16::try_from(bytes).unwrap().to_be_bytes();
            let head = [0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20, 0x59];
            let modulus = vec![0xff; bytes];
            [&head[..], &length, &modulus, &[0x21, 0x43, 1, 0, 1]].concat()
        };
        assert!(PublicKey::read(&rsa(256)).is_some());
        assert!(PublicKey::read(&rsa(128)).is_none());
        assert!(PublicKey::read(&rsa(1_024)).is_none());
    }
}
