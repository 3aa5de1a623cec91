//! Attacks that were seen in the wild on others' verifiers (`docs/security-tests.md` has the list): each is refused here,
//! and taken by a verifier with the control switched off.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use kavachos_core::revocation::{FeedHead, Lease, LiveSet, LogHead};
use kavachos_core::token::{
    Algorithm, Code, FeedKeys, FeedKeysRequest, FeedRoot, KeySet, Leaf, Presented, Proof,
    ProofRequest, Root, Scheme, SigningKey, Verification,
};
use kavachos_core::tool_server;
use p256::ecdsa;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::naive;
use crate::scene::{ISSUER, NOW, Parts, TOOLS, key, leaf, message, root, seconds, signed};

fn keys() -> KeySet {
    KeySet::new(["issuer", "issuerEs256"].map(|name| key(name).public().clone())).unwrap()
}

/// What a tool server makes of a bearer token at this time.
fn judged_at(token: &str, now: i64) -> Result<(), Code> {
    let verification = Verification {
        issuer: &ISSUER.parse().unwrap(),
        keys: &keys(),
        audience: &TOOLS.parse().unwrap(),
        proof: tool_server::Proof::Optional,
        revocations: Some(&LiveSet::from_snapshot(1, LogHead::EMPTY, [])),
    };
    let shown = Presented {
        token,
        scheme: Scheme::Bearer,
        proof: None,
        request: ProofRequest::default(),
    };
    let verified = verification.verify(&shown, seconds(now));
    verified.map(drop).map_err(|failure| failure.code)
}

fn judged(token: &str) -> Result<(), Code> {
    judged_at(token, NOW)
}

fn token_by(name: &str) -> String {
    leaf().sign(&key(name)).unwrap()
}

fn parts() -> Parts {
    Parts::of(&token_by("issuer"))
}

#[test]
fn the_tokens_of_these_attacks_hold_before_anything_is_done_to_them() {
    for name in ["issuer", "issuerEs256"] {
        assert_eq!(judged(&token_by(name)), Ok(()));
    }
}

/// A public key in every form in which it is handed around, and with a blank before it.
fn forms(key: &SigningKey) -> Vec<Vec<u8>> {
    let jwk = key.public().to_jwk();
    let decoded = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    // RFC 5480 and RFC 8410: what stands before the bytes of the key.
    let (raw, prefix) = if jwk["kty"] == "EC" {
        let prefix = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";
        ([decoded("x"), decoded("y")].concat(), prefix)
    } else {
        (decoded("x"), "MCowBQYDK2VwAyEA")
    };
    let der = [STANDARD.decode(prefix).unwrap(), raw.clone()].concat();
    let body = STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----");
    let texts = [
        format!("{pem}\n"),
        format!(" {pem}\n"),
        pem,
        jwk.to_string(),
    ];
    let texts = texts.map(String::into_bytes);
    [vec![raw, der], texts.to_vec()].concat()
}

/// Row 52.
#[test]
fn a_public_key_is_no_secret_of_hmac_in_any_form() {
    for name in ["issuer", "issuerEs256"] {
        for secret in forms(&key(name)) {
            let parts = Parts::of(&token_by(name)).header("/alg", json!("HS256"));
            let message = message(&parts.header.to_string(), &parts.claims.to_string());
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
            mac.update(message.as_bytes());
            let tag = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
            let token = format!("{message}.{tag}");
            assert_eq!(judged(&token), Err(Code::AlgNotAllowed), "{name}");
            // The twin: who lets the header say the algorithm takes it.
            assert_eq!(naive::obeys_header(&token, &secret), Some(parts.claims));
        }
    }
}

/// Row 53.
#[test]
fn a_token_that_nobody_signed_is_none() {
    let claims = parts().claims;
    let names = [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(["none"]),
        Value::Null,
    ];
    for name in names {
        let mut header = parts().header;
        // `null` itself, not a member that is left out.
        header["alg"] = name.clone();
        let message = message(&header.to_string(), &claims.to_string());
        let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
        for end in [
            "",
            ".",
            "..",
            "...",
            ". ",
            &format!(".{zeros}"),
            &format!(".{zeros}."),
        ] {
            let token = format!("{message}{end}");
            let refused = judged(&token).unwrap_err();
            let expected = [Code::Malformed, Code::AlgNotAllowed];
            assert!(expected.contains(&refused), "{name} {end}: {refused}");
            // The twin.
            let taken = naive::obeys_header(&token, b"");
            assert_eq!(taken.as_ref(), Some(&claims), "{name} {end}");
        }
    }
    let left_out = parts().header("/alg", Value::Null);
    let token = format!(
        "{}.",
        message(&left_out.header.to_string(), &claims.to_string())
    );
    assert_eq!(judged(&token), Err(Code::Malformed));
    assert_eq!(naive::obeys_header(&token, b""), Some(claims));
}

/// Row 55: what is packed is not unpacked.
#[test]
fn a_compressed_token_is_refused() {
    let claims = parts().claims.to_string();
    let length = u16::try_from(claims.len()).unwrap();
    let packed = [
        &[1][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        claims.as_bytes(),
    ]
    .concat();
    let sign = |header: &Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&packed));
        let signature = key("issuer").sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let header = parts().header("/zip", json!("DEF")).header;
    assert_eq!(judged(&sign(&header)), Err(Code::Malformed));
    assert_eq!(
        judged(&sign(&parts().header)),
        Err(Code::Malformed),
        "without saying so"
    );
    // The twins: who unpacks what the header says so; and the same claims, not packed.
    let unsigned = parts()
        .header("/zip", json!("DEF"))
        .header("/alg", json!("none"));
    let taken = naive::obeys_header(&sign(&unsigned.header), b"");
    assert_eq!(taken, Some(parts().claims));
    assert_eq!(judged(&parts().signed("issuer")), Ok(()));
}

/// Row 55: encrypted tokens are refused before anything in them is worked on.
#[test]
fn an_encrypted_token_is_refused_before_it_costs_anything() {
    const MOST: u64 = 2_147_483_647;
    let jwe = |header: Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.QUFB.QUFB.QUFB.QUFB")
    };
    let derived =
        json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": MOST, "p2s": "AAAA"});
    for header in [
        json!({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}),
        json!({"alg": "RSA-OAEP", "enc": "A256GCM", "typ": "at+jwt"}),
        json!({"alg": "ECDH-ES", "enc": "A128CBC-HS256", "epk": {}}),
        derived.clone(),
    ] {
        assert_eq!(judged(&jwe(header)), Err(Code::Malformed));
    }
    // In the form of a token that is signed it is no better.
    let rounds = parts()
        .header("/alg", derived["alg"].clone())
        .header("/p2c", json!(MOST));
    assert_eq!(judged(&rounds.signed("issuer")), Err(Code::Malformed));
    let named = parts().header("/alg", derived["alg"].clone());
    assert_eq!(judged(&named.signed("issuer")), Err(Code::AlgNotAllowed));
    // The twins: what the header orders; and the same token where only the fourth and fifth part are too many.
    assert_eq!(naive::ordered_rounds(&jwe(derived)), MOST);
    assert_eq!(
        judged(&format!("{}.QUFB.QUFB", token_by("issuer"))),
        Err(Code::Malformed)
    );
    assert_eq!(judged(&token_by("issuer")), Ok(()));
}

/// The order of P-256, big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Row 56.
#[test]
fn a_signature_of_numbers_out_of_range_is_none() {
    let token = token_by("issuerEs256");
    let (message, own) = token.rsplit_once('.').unwrap();
    let own: [u8; 64] = URL_SAFE_NO_PAD.decode(own).unwrap().try_into().unwrap();
    let (r, s) = (&own[..32], &own[32..]);
    let jwk = key("issuerEs256").public().to_jwk();
    let jwk = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [vec![4], jwk("x"), jwk("y")].concat();
    let public = p256::PublicKey::from_sec1_bytes(&point).unwrap();
    let (zero, one_more) = ([0; 32], {
        let mut more = ORDER;
        more[31] += 1;
        more
    });
    let shown = |r: &[u8], s: &[u8]| -> (Result<(), Code>, bool) {
        let signature: [u8; 64] = [r, s].concat().try_into().unwrap();
        let text = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        let taken = naive::textbook_ecdsa(message, &signature, &public);
        (judged(&text), taken)
    };
    let bad = Err(Code::BadSignature);
    // The twins: without a look at their range the first of them fit every message.
    for (r, s) in [
        (&zero, &zero),
        (&zero, &ORDER),
        (&ORDER, &zero),
        (&ORDER, &ORDER),
    ] {
        assert_eq!(shown(r, s), (bad, true));
    }
    for (r, s) in [
        (&zero[..], s),
        (r, &zero[..]),
        (&ORDER, s),
        (r, &ORDER),
        (&one_more, &one_more),
        (&[0xff; 32], s),
        (r, &[0xff; 32]),
    ] {
        assert_eq!(shown(r, s).0, bad);
    }
    // The twin of all: in range, as it was signed.
    assert_eq!(shown(r, s), (Ok(()), true));
    assert!(ecdsa::Signature::from_slice(&[0; 64]).is_err());
}

/// Row 56, of the other algorithm: one signature has one text (RFC 8032, section 5.1.7).
#[test]
fn an_ed25519_signature_with_the_order_added_is_none() {
    // The order of the group of Ed25519, little-endian.
    const GROUP: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let token = token_by("issuer");
    let (message, own) = token.rsplit_once('.').unwrap();
    let mut signature: [u8; 64] = URL_SAFE_NO_PAD.decode(own).unwrap().try_into().unwrap();
    let mut carry = 0;
    for (byte, more) in signature[32..].iter_mut().zip(GROUP) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert_eq!(
        carry, 0,
        "the number that is tried is the same by the order of the group"
    );
    let other = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_eq!(judged(&other), Err(Code::BadSignature));
    // The twin.
    assert_eq!(judged(&token), Ok(()));
}

/// Each kind of token that this issuer and its agents sign, by the issuer's key.
fn kinds() -> [(&'static str, String); 5] {
    let issuer = key("issuer");
    let request = ProofRequest {
        method: "POST",
        uri: TOOLS,
        ..ProofRequest::default()
    };
    let head = FeedHead {
        issuer: ISSUER.parse().unwrap(),
        epoch: 1,
        head: LogHead::EMPTY,
        time: seconds(NOW),
        lease_max: Lease::from_seconds(10).unwrap(),
        nonce: "n".parse().unwrap(),
        follower: "tools".parse().unwrap(),
        set: None,
    };
    let of_the_feed = SigningKey::from_seed(Algorithm::Ed25519, &[77; 32]).unwrap();
    let feed_keys = FeedKeysRequest {
        issuer: ISSUER.parse().unwrap(),
        epoch: 1,
        keys: KeySet::new([of_the_feed.public().clone()]).unwrap(),
    };
    [
        ("at+jwt", leaf().sign(&issuer).unwrap()),
        ("kvr+jwt", root().sign(&issuer).unwrap()),
        (
            "dpop+jwt",
            Proof::sign(&request, "one", None, seconds(NOW), &issuer),
        ),
        ("kvf+jwt", head.sign(&issuer)),
        ("kvk+jwt", feed_keys.sign(&issuer, seconds(NOW)).unwrap()),
    ]
}

/// Which of the readers take a text: of leaves, roots, proofs, heads, keys of the feed.
fn read_by(text: &str) -> [bool; 5] {
    let issuer = ISSUER.parse().unwrap();
    let roots = [FeedRoot::try_from(key("issuer").public().clone()).unwrap()];
    let request = ProofRequest {
        method: "POST",
        uri: TOOLS,
        ..ProofRequest::default()
    };
    [
        Leaf::open(text, &issuer, &keys()).is_ok(),
        Root::open(text, &issuer, &keys()).is_ok(),
        Proof::open(text, &request, seconds(NOW)).is_ok(),
        FeedHead::open(text, &issuer, &keys()).is_ok(),
        FeedKeys::open(text, &issuer, &roots).is_ok(),
    ]
}

/// Row 58.
#[test]
fn a_token_of_one_kind_is_refused_in_the_place_of_every_other() {
    for (at, (typ, token)) in kinds().iter().enumerate() {
        let mut expected = [false; 5];
        expected[at] = true;
        assert_eq!(read_by(token), expected, "{typ}");
        // The twin: by its signature alone it could be any of them.
        let claims = naive::looks_at_the_signature_alone(token, &key("issuer"));
        assert_eq!(claims, Some(Parts::of(token).claims));
        // With the type of another kind, or of what others sign, the claims are none of that kind's.
        let types = [
            "at+jwt",
            "kvr+jwt",
            "dpop+jwt",
            "kvf+jwt",
            "kvk+jwt",
            "JWT",
            "logout+jwt",
            "secevent+jwt",
        ];
        for other in types.iter().filter(|other| *other != typ) {
            let renamed = Parts::of(token)
                .header("/typ", json!(other))
                .signed("issuer");
            assert_eq!(read_by(&renamed), [false; 5], "{typ} as {other}");
        }
    }
    for key in ["kv_agent_", "kv_sess_", "kv_res_", "kv_rt_"] {
        assert_eq!(read_by(&format!("{key}{}", "0".repeat(49))), [false; 5]);
    }
}

/// Row 60.
#[test]
fn the_times_of_a_token_have_exact_bounds_and_no_number_goes_round() {
    // Its grants have no end, so that nothing but its own times is looked at.
    let endless = |at: usize| format!("/dlg/ch/{at}/exp");
    let with = |iat: Value, exp: Value| {
        parts()
            .claim(&endless(0), Value::Null)
            .claim(&endless(1), Value::Null)
            .claim("/iat", iat)
            .claim("/exp", exp)
            .signed("issuer")
    };
    let lives = |iat: i64, exp: i64| with(json!(iat), json!(exp));
    let nbf = |at: i64| parts().claim("/nbf", json!(at)).signed("issuer");
    let round = |bits: u32| NOW + 200 + (1_i64 << bits);
    let cases = [
        (lives(NOW - 60, NOW), Err(Code::Expired)),
        (lives(NOW - 60, NOW + 1), Ok(())),
        (lives(NOW + 30, NOW + 60), Ok(())),
        (lives(NOW + 31, NOW + 60), Err(Code::NotYetValid)),
        (lives(NOW + 86_400, NOW + 86_460), Err(Code::NotYetValid)),
        (lives(round(32) - 1, round(32)), Err(Code::NotYetValid)),
        (lives(NOW - 10, round(32)), Err(Code::Malformed)),
        (lives(NOW - 10, round(31)), Err(Code::Malformed)),
        (lives(NOW - 10, round(53)), Err(Code::Malformed)),
        (with(json!(NOW - 10), json!(i64::MAX)), Err(Code::Malformed)),
        (with(json!(NOW - 10), json!(u64::MAX)), Err(Code::Malformed)),
        (with(json!(NOW - 10), json!(1e300)), Err(Code::Malformed)),
        (lives(-1, NOW + 10), Err(Code::Malformed)),
        (lives(-1_i64 << 31, NOW + 10), Err(Code::Malformed)),
        (lives(i64::MIN, NOW + 10), Err(Code::Malformed)),
        (lives(NOW - 10, -1), Err(Code::Malformed)),
        (nbf(NOW + 60), Err(Code::Malformed)),
        (nbf(NOW - 60), Err(Code::Malformed)),
    ];
    for (token, expected) in cases {
        assert_eq!(judged(&token), expected, "{}", Parts::of(&token).claims);
        // The twin: who does not look at times takes them all.
        let taken = naive::looks_at_the_signature_alone(&token, &key("issuer"));
        assert!(taken.is_some(), "{token}");
    }
    // One token, and the time goes by.
    let token = lives(NOW, NOW + 60);
    for (now, expected) in [
        (NOW - 31, Err(Code::NotYetValid)),
        (NOW - 30, Ok(())),
        (NOW + 59, Ok(())),
        (NOW + 60, Err(Code::Expired)),
        (NOW + (1 << 32), Err(Code::Expired)),
        (253_402_300_799, Err(Code::Expired)),
        (0, Err(Code::NotYetValid)),
    ] {
        assert_eq!(judged_at(&token, now), expected, "{now}");
    }
}

/// Row 76. What was used before, and which nonce it must repeat, is for whoever remembers: the verifier.
#[test]
fn a_proof_that_does_not_fit_is_refused_whoever_signed_it() {
    let token = token_by("issuer");
    let request = ProofRequest {
        method: "POST",
        uri: TOOLS,
        token: Some(&token),
        body: None,
    };
    let whole = Parts::of(&Proof::sign(
        &request,
        "one",
        Some("n"),
        seconds(NOW),
        &key("agent"),
    ));
    let opened =
        |text: &str| Proof::open(text, &request, seconds(NOW)).map_err(|failure| failure.code);
    let mut private = key("agent").public().to_jwk();
    private["d"] = json!(URL_SAFE_NO_PAD.encode([3; 32]));
    let claim = |path: &str, value: Value| whole.claim(path, value).signed("agent");
    let wrong = [
        claim("/htm", json!("GET")),
        claim("/htm", json!("post")),
        claim("/htu", json!("https://evil.example/mcp")),
        claim("/htu", json!("https://tools.example.com/mcp/other")),
        claim("/htu", Value::Null),
        claim("/iat", json!(NOW - 61)),
        claim("/iat", json!(NOW + 31)),
        claim("/iat", json!(-1)),
        claim("/iat", Value::Null),
        claim("/ath", Value::Null),
        claim("/ath", json!(URL_SAFE_NO_PAD.encode([0; 32]))),
        claim("/jti", Value::Null),
        claim("/jti", json!("")),
        claim("/nonce", json!("")),
        whole.header("/jwk", private).signed("agent"),
        whole.header("/typ", json!("JWT")).signed("agent"),
    ];
    for text in wrong {
        assert_eq!(
            opened(&text),
            Err(Code::ProofInvalid),
            "{}",
            Parts::of(&text).claims
        );
        // The twin: signed by the key in its header they all are.
        assert!(naive::believes_the_key_in_the_header(&text).is_some());
    }
    // The twin: as it was made, and on the bounds of its time. What it says of the nonce is handed on.
    let proof = opened(&whole.signed("agent")).unwrap();
    assert_eq!(proof.nonce.as_deref(), Some("n"));
    for iat in [NOW - 60, NOW + 30] {
        assert!(opened(&claim("/iat", json!(iat))).is_ok());
    }
    // A proof by a key that is not the token's says so; whether it is the token's is looked at with the token.
    let strangers = Proof::sign(&request, "one", None, seconds(NOW), &key("stranger"));
    assert_ne!(opened(&strangers).unwrap().key, key("agent").thumbprint());
    let header = whole.header.to_string();
    assert!(opened(&signed(&header, "{}", "agent")).is_err());
}
