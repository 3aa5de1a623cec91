//! P10 and P11: what the verification of a leaf costs beside the one signature in it.
//!
//! The reference is the bare check of that signature over the same bytes, with the key and the signature already read.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek as ed25519;
use kavachos::AgentId;
use kavachos::Timestamp;
use kavachos::core::id::TokenId;
use kavachos::core::permission::PermissionSet;
use kavachos::core::revocation::{HandleKind, LiveSet, Mark};
use kavachos::core::token::{
    Algorithm, Authority, Hop, Issuer, KeySet, Leaf, Life, Presented, ProofRequest, Scheme,
    SigningKey, Verification,
};
use kavachos::core::tool_server::{self, Audience};
use p256::ecdsa as es256;
use p256::ecdsa::signature::Verifier;
use serde_json::json;

use crate::Length;
use crate::live;
use crate::machine::thread_seconds;
use crate::report::{Bound, Figure, Rounds};

const NOW: i64 = 1_795_255_200;
/// Different ones, so that no cache has seen the one that comes next.
const LEAVES: u32 = 512;
/// How many marks the live set has that every leaf is held against.
const KILLED: u32 = 100_000;

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let rounds = length.pick(11, 51);
    let scene = Scene::new();
    let mut figures = Vec::new();
    for algorithm in Algorithm::ALL {
        for hops in [1, 3, 8] {
            figures.push(cold(&scene, algorithm, hops, rounds));
        }
    }
    figures.push(warm(&scene, rounds));
    figures
}

/// What a tool server knows.
struct Scene {
    issuer: Issuer,
    audience: Audience,
    revocations: LiveSet,
}

impl Scene {
    fn new() -> Self {
        Self {
            issuer: "https://auth.example.com".parse().expect("an issuer"),
            audience: "https://tools.example.com/mcp"
                .parse()
                .expect("an audience"),
            revocations: live::set(KILLED),
        }
    }

    fn verification<'s>(&'s self, keys: &'s KeySet) -> Verification<'s> {
        Verification {
            issuer: &self.issuer,
            keys,
            audience: &self.audience,
            proof: tool_server::Proof::Optional,
            revocations: Some(&self.revocations),
        }
    }

    /// Two permissions, one of them under a condition; nothing of it was killed.
    fn leaf(&self, hops: u32, number: u32) -> Leaf {
        let mark = |kind, place: u32| Mark {
            handle: live::handle(kind, KILLED + number * 64 + place),
            generation: 1,
        };
        let chain = (0..hops).map(|hop| Hop {
            id: AgentId::from_bits(0x0193_0000_0000_7000_8000_0000_0000_0000 + u128::from(hop)),
            agent: mark(HandleKind::Agent, hop * 3),
            grant: mark(HandleKind::Grant, hop * 3 + 1),
            key: Some(mark(HandleKind::Key, hop * 3 + 2)),
            expires_at: Some(seconds(NOW + 86_400)),
        });
        let permissions = json!([
            {"resource": "mcp:search:*", "actions": ["*"]},
            {"resource": "mcp:github:repos", "actions": ["read"], "constraints": {"maxCallsPerHour": 100}},
        ]);
        let marks = [HandleKind::User, HandleKind::Session, HandleKind::Client];
        Leaf {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            scopes: vec!["mcp:search:*".parse().expect("a scope")],
            bound_to: None,
            authority: Authority {
                subject: "user_01jd6zc5g0e8srqv1pgs6wqr3h"
                    .parse()
                    .expect("a subject"),
                chain: chain.collect(),
                max_depth: 7,
                permissions: PermissionSet::from_json(&permissions).expect("permissions"),
                guards: None,
                epoch: 1,
                marks: (60..).zip(marks).map(|(at, kind)| mark(kind, at)).collect(),
                reason: format!("draft_weekly_summary_{number}"),
            },
            life: Life {
                id: TokenId::from_bits(0x0193 << 112 | u128::from(number)),
                issued_at: seconds(NOW - 5),
                expires_at: seconds(NOW + 295),
            },
        }
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn shown(token: &str) -> Presented<'_> {
    Presented {
        token,
        scheme: Scheme::Bearer,
        proof: None,
        request: ProofRequest::default(),
    }
}

/// The bare signature: what was signed, and by what it is checked.
enum Bare {
    Ed25519(Box<(ed25519::VerifyingKey, ed25519::Signature)>),
    Es256(Box<(es256::VerifyingKey, es256::Signature)>),
}

impl Bare {
    fn of(token: &str, algorithm: Algorithm, seed: &[u8; 32]) -> (String, Self) {
        let (message, signature) = token.rsplit_once('.').expect("a token");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let bare = match algorithm {
            Algorithm::Ed25519 => Self::Ed25519(Box::new((
                ed25519::SigningKey::from_bytes(seed).verifying_key(),
                ed25519::Signature::from_slice(&signature).expect("a signature"),
            ))),
            Algorithm::Es256 => Self::Es256(Box::new((
                *es256::SigningKey::from_slice(seed)
                    .expect("a key")
                    .verifying_key(),
                es256::Signature::from_slice(&signature).expect("a signature"),
            ))),
        };
        (message.to_owned(), bare)
    }

    fn verifies(&self, message: &str) -> bool {
        match self {
            Self::Ed25519(ed) => ed.0.verify_strict(message.as_bytes(), &ed.1).is_ok(),
            Self::Es256(es) => es.0.verify(message.as_bytes(), &es.1).is_ok(),
        }
    }
}

fn cold(scene: &Scene, algorithm: Algorithm, hops: u32, rounds: usize) -> Figure {
    let seed = [7; 32];
    let key = SigningKey::from_seed(algorithm, &seed).expect("a key");
    let keys = KeySet::new([key.public().clone()]).expect("keys");
    let verification = scene.verification(&keys);
    let tokens: Vec<String> = (0..LEAVES)
        .map(|number| scene.leaf(hops, number).sign(&key).expect("a leaf"))
        .collect();
    let bare: Vec<(String, Bare)> = (tokens.iter())
        .map(|token| Bare::of(token, algorithm, &seed))
        .collect();
    let ours = |token: &String| verification.verify(&shown(token), seconds(NOW)).is_ok();
    prove_equal(&tokens, &bare, ours);
    let (mut ours_us, mut bare_us) = (Rounds::default(), Rounds::default());
    for _ in 0..rounds {
        ours_us.0.push(each(&tokens, ours));
        bare_us
            .0
            .push(each(&bare, |(message, bare)| bare.verifies(message)));
    }
    let bytes = tokens.first().map_or(0, String::len);
    Figure {
        id: "P10",
        what: format!("a cold leaf of {hops} hops, {bytes} bytes, {algorithm} (CPU)"),
        ours: format!("{:.1} us", ours_us.median()),
        reference: format!("{:.1} us, its bare signature", bare_us.median()),
        ratio: ours_us.by(&bare_us),
        must: Bound::AtMost(1.25),
        aim: Bound::AtMost(1.1),
    }
}

/// Both accept every token, and neither accepts one with another bit in what is signed.
fn prove_equal(tokens: &[String], bare: &[(String, Bare)], ours: impl Fn(&String) -> bool) {
    for (token, (message, bare)) in tokens.iter().zip(bare) {
        assert!(ours(token) && bare.verifies(message));
        let (at, digit) = (message.len() - 9, message.as_bytes()[message.len() - 9]);
        let other = if digit == b'A' { "B" } else { "A" };
        let mut changed = token.clone();
        changed.replace_range(at..=at, other);
        assert!(!ours(&changed) && !bare.verifies(&changed[..message.len()]));
    }
}

/// What is left of a leaf that was read before: time, audience, revocation. Finding it again is not counted.
fn warm(scene: &Scene, rounds: usize) -> Figure {
    let keys = KeySet::default();
    let verification = scene.verification(&keys);
    let leaves: Vec<Leaf> = (0..LEAVES).map(|number| scene.leaf(3, number)).collect();
    let admit = |leaf: &Leaf| verification.admit(leaf, &shown(""), seconds(NOW)).is_ok();
    assert!(leaves.iter().all(admit));
    let rounds = (0..rounds).map(|_| {
        let many = (0..64).map(|_| each(&leaves, admit));
        many.sum::<f64>() / 64.0
    });
    let us = Rounds(rounds.collect());
    Figure {
        id: "P11",
        what: "a leaf of 3 hops that was read before, us (CPU)".to_owned(),
        ours: format!("{:.3} us", us.median()),
        reference: "-".to_owned(),
        ratio: us,
        must: Bound::AtMost(2.0),
        aim: Bound::AtMost(0.5),
    }
}

/// Microseconds of this thread for each.
fn each<T>(items: &[T], check: impl Fn(&T) -> bool) -> f64 {
    let begun = thread_seconds();
    for item in items {
        assert!(black_box(check(black_box(item))));
    }
    (thread_seconds() - begun) * 1e6 / items.len() as f64
}
