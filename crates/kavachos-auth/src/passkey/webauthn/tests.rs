//! The vectors of the standard (Web Authentication, Level 3, section 16), and each check with a twin without it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::hex;
use kavachos_core::id_token::RsaKey;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::Value;

use super::*;

/// The vectors of the standard as it gives them, in hexadecimal.
const VECTORS: &str = include_str!("vectors.json");

fn rsa(key: &RsaKey, message: &[u8], signature: &[u8]) -> bool {
    let (n, e) = (key.modulus(), key.exponent());
    let key = RsaPublicKeyComponents { n, e };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok()
}

fn vectors() -> Vec<Value> {
    serde_json::from_str(VECTORS).unwrap()
}

fn vector(name: &str) -> Value {
    let mut all = vectors().into_iter();
    all.find(|vector| vector["name"] == name).unwrap()
}

fn bytes(vector: &Value, pointer: &str) -> Vec<u8> {
    hex::decode(vector.pointer(pointer).and_then(Value::as_str).unwrap()).unwrap()
}

/// The site of the vectors, in which nobody proved to the authenticator who they are.
fn site() -> RelyingParty {
    RelyingParty {
        verification: Verification::NotAsked,
        ..RelyingParty::of(&"https://example.org".parse().unwrap()).unwrap()
    }
}

fn client_data(vector: &Value, part: &str) -> ClientData {
    let data = ClientData::read(&bytes(vector, &format!("/{part}/clientData"))).unwrap();
    let challenge = bytes(vector, &format!("/{part}/challenge"));
    assert_eq!(data.challenge(), URL_SAFE_NO_PAD.encode(challenge));
    data
}

fn registered(site: &RelyingParty, vector: &Value) -> Result<NewCredential, Fault> {
    let attestation = bytes(vector, "/registration/attestation");
    site.register(&client_data(vector, "registration"), &attestation)
}

fn used(site: &RelyingParty, vector: &Value, known: Known<'_>) -> Result<Used, Fault> {
    let assertion = Assertion {
        client_data: &client_data(vector, "authentication"),
        authenticator_data: &bytes(vector, "/authentication/authenticatorData"),
        signature: &bytes(vector, "/authentication/signature"),
    };
    site.authenticate(assertion, known, rsa)
}

fn known(credential: &NewCredential) -> Known<'_> {
    Known {
        key: &credential.key,
        counter: credential.counter,
        may_be_copied: credential.may_be_copied,
    }
}

#[test]
fn the_vectors_of_the_standard_are_accepted() {
    for name in [
        "none-es256",
        "packed-self-es256",
        "none-es256-long-credential-id",
        "packed-es256",
        "packed-rs256",
        "packed-eddsa",
        "tpm-es256",
        "android-key-es256",
        "apple-es256",
        "fido-u2f-es256",
    ] {
        let vector = vector(name);
        let credential =
            registered(&site(), &vector).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        let used = used(&site(), &vector, known(&credential));
        assert!(used.is_ok(), "{name}: {used:?}");
    }
}

#[test]
fn the_vectors_in_frames_and_of_algorithms_that_are_not_offered_are_refused() {
    for name in ["none-es256-crossOrigin", "none-es256-topOrigin"] {
        let fault = registered(&site(), &vector(name)).unwrap_err();
        assert!(
            matches!(fault, Fault::Unproven(why) if why.contains("inside")),
            "{name}"
        );
    }
    for name in ["packed-es384", "packed-es512", "packed-ed448"] {
        let fault = registered(&site(), &vector(name)).unwrap_err();
        assert!(
            matches!(fault, Fault::Malformed(why) if why.contains("algorithm")),
            "{name}"
        );
    }
    let judged = vectors().len();
    assert_eq!(
        judged, 15,
        "every vector of the standard is in one of the two tests"
    );
}

#[test]
fn a_ceremony_on_another_site_or_without_verification_proves_nothing() {
    let touched = vector("none-es256");
    let other_id = RelyingParty {
        id: "example.com".to_owned(),
        ..site()
    };
    let other_origin = RelyingParty {
        origin: "https://example.org:8443".to_owned(),
        ..site()
    };
    let strict = RelyingParty {
        verification: Verification::Required,
        ..site()
    };
    // The twin: the site itself, where a touch is enough.
    let credential = registered(&site(), &touched).unwrap();
    assert!(used(&site(), &touched, known(&credential)).is_ok());
    for site in [other_id, other_origin, strict] {
        assert!(
            matches!(registered(&site, &touched), Err(Fault::Unproven(_))),
            "{site:?}"
        );
        assert!(
            matches!(
                used(&site, &touched, known(&credential)),
                Err(Fault::Unproven(_))
            ),
            "{site:?}"
        );
    }
    // The twin of verification: a vector in which somebody was verified.
    let verified = vector("packed-self-es256");
    let strict = RelyingParty {
        verification: Verification::Required,
        ..site()
    };
    assert!(registered(&strict, &verified).is_ok());
}

#[test]
fn every_changed_bit_of_an_assertion_is_noticed() {
    for name in ["none-es256", "packed-eddsa", "packed-rs256"] {
        let vector = vector(name);
        let credential = registered(&site(), &vector).unwrap();
        let data = bytes(&vector, "/authentication/authenticatorData");
        let signature = bytes(&vector, "/authentication/signature");
        let client_data = client_data(&vector, "authentication");
        let judged = |authenticator_data: &[u8], signature: &[u8]| {
            let client_data = &client_data;
            let assertion = Assertion {
                client_data,
                authenticator_data,
                signature,
            };
            site().authenticate(assertion, known(&credential), rsa)
        };
        assert!(judged(&data, &signature).is_ok());
        for at in 0..data.len() * 8 {
            let mut changed = data.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(judged(&changed, &signature).is_err(), "{name}: data {at}");
        }
        for at in (0..signature.len()).step_by(7) {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(judged(&data, &changed).is_err(), "{name}: signature {at}");
        }
        assert!(judged(&data, &[]).is_err());
    }
}

#[test]
fn another_credentials_key_verifies_nothing() {
    let (one, other) = (vector("none-es256"), vector("packed-es256"));
    let credential = registered(&site(), &other).unwrap();
    let known = Known {
        may_be_copied: true,
        ..known(&credential)
    };
    assert!(
        matches!(used(&site(), &one, known), Err(Fault::Unproven(why)) if why.contains("signature"))
    );
}

#[test]
fn whether_a_credential_may_be_copied_never_changes() {
    let vector = vector("none-es256");
    let credential = registered(&site(), &vector).unwrap();
    let changed = Known {
        may_be_copied: !credential.may_be_copied,
        ..known(&credential)
    };
    assert!(
        matches!(used(&site(), &vector, changed), Err(Fault::Unproven(why)) if why.contains("copied"))
    );
}

#[test]
fn a_counter_that_does_not_grow_is_that_of_a_copy() {
    let credential = |counter, may_be_copied| Known {
        key: &[],
        counter,
        may_be_copied,
    };
    for (known, next) in [(7, 7), (7, 6), (7, 0), (u32::MAX, 0)] {
        assert_eq!(
            check_counter(credential(known, false), next),
            Err(Fault::Copied)
        );
        // The twin: a credential that lives on several devices.
        assert_eq!(check_counter(credential(known, true), next), Ok(()));
    }
    for (known, next) in [(0, 0), (0, 1), (7, 8)] {
        assert_eq!(check_counter(credential(known, false), next), Ok(()));
    }
}

#[test]
fn attestation_objects_have_their_three_members_and_nothing_behind_them() {
    let vector = vector("none-es256");
    let object = bytes(&vector, "/registration/attestation");
    let data = client_data(&vector, "registration");
    let judged = |object: &[u8]| site().register(&data, object);
    assert!(judged(&object).is_ok());
    for end in 0..object.len() {
        assert!(
            matches!(judged(&object[..end]), Err(Fault::Malformed(_))),
            "{end}"
        );
    }
    let longer = [&object[..], &[0]].concat();
    let twice = b"\xa3\x63fmt\x64none\x63fmt\x64none\x67attStmt\xa0".to_vec();
    let no_map = b"\x83\x01\x02\x03".to_vec();
    let huge = vec![0xa3; MAX_ATTESTATION_BYTES + 1];
    for wrong in [longer, twice, no_map, huge, Vec::new()] {
        assert!(matches!(judged(&wrong), Err(Fault::Malformed(_))));
    }
    // Changed bytes are read as something else or not at all; nothing panics.
    for at in 0..object.len() {
        let mut changed = object.clone();
        changed[at] ^= 0xff;
        let _ = judged(&changed);
    }
}

#[test]
fn the_site_is_the_host_of_the_public_address() {
    let site = |address: &str| RelyingParty::of(&address.parse().unwrap());
    for (address, id, origin) in [
        (
            "https://auth.example.com",
            "auth.example.com",
            "https://auth.example.com",
        ),
        (
            "https://auth.example.com/tenants/a",
            "auth.example.com",
            "https://auth.example.com",
        ),
        (
            "https://auth.example.com:8443",
            "auth.example.com",
            "https://auth.example.com:8443",
        ),
        (
            "http://localhost:3000",
            "localhost",
            "http://localhost:3000",
        ),
        (
            "http://tenant.localhost:3000",
            "tenant.localhost",
            "http://tenant.localhost:3000",
        ),
    ] {
        let site = site(address).unwrap();
        assert_eq!((site.id(), site.origin.as_str()), (id, origin));
        assert_eq!(site.verification, Verification::Required);
    }
    for address in [
        "http://auth.example.com",
        "https://192.0.2.1",
        "http://127.0.0.1:3000",
        "https://[::1]:3000",
    ] {
        assert!(site(address).is_err(), "{address}");
    }
}
