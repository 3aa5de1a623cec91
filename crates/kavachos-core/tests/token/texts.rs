//! Whatever is done to the text of a token, it is refused, and nothing panics.

use std::sync::LazyLock;

use kavachos_core::token::{KeySet, Leaf, Proof, ProofRequest, Root};
use proptest::prelude::*;

use crate::scene::{ISSUER, NOW, key, leaf, root, seconds};

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let keys = ["issuer", "issuerEs256"].map(|name| key(name).public().clone());
    KeySet::new(keys).unwrap()
});

static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let by = |name| {
        let key = key(name);
        [leaf().sign(&key).unwrap(), root().sign(&key).unwrap()]
    };
    [by("issuer"), by("issuerEs256")].concat()
});

fn holds(token: &str) -> bool {
    let issuer = ISSUER.parse().unwrap();
    Leaf::open(token, &issuer, &KEYS).is_ok() || Root::open(token, &issuer, &KEYS).is_ok()
}

#[test]
fn the_tokens_themselves_hold() {
    assert!(TOKENS.iter().all(|token| holds(token)));
}

#[test]
fn no_token_cut_anywhere_holds() {
    for token in TOKENS.iter() {
        for end in 0..token.len() {
            assert!(!holds(&token[..end]), "cut at {end}");
            assert!(!holds(&token[end + 1..]), "begun at {end}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_token_with_another_byte_holds(which in 0_usize..4, at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let token = &TOKENS[which];
        let at = at.index(token.len());
        let mut changed = token.clone().into_bytes();
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(!holds(&String::from_utf8(changed).unwrap()));
    }

    /// Dropped, doubled, or in each other's place: bytes, and whole parts.
    #[test]
    fn no_token_whose_bytes_or_parts_were_moved_holds(which in 0_usize..4, at in any::<[prop::sample::Index; 2]>()) {
        let token = TOKENS[which].as_bytes();
        let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
        let bytes = token.iter().map(std::slice::from_ref).collect();
        for (pieces, between) in [(bytes, &b""[..]), (parts, &b"."[..])] {
            let [one, other] = at.map(|at| at.index(pieces.len()));
            let mut dropped = pieces.clone();
            dropped.remove(one);
            let mut doubled = pieces.clone();
            doubled.insert(one, pieces[one]);
            let mut swapped = pieces.clone();
            swapped.swap(one, other);
            for moved in [dropped, doubled, swapped] {
                let moved = String::from_utf8(moved.join(between)).unwrap();
                prop_assert!(moved.as_bytes() == token || !holds(&moved));
            }
        }
    }

    #[test]
    fn no_parts_of_two_tokens_hold_together(which in 0_usize..4, other in 0_usize..4, part in 0_usize..3) {
        let (token, other) = (TOKENS[which].clone(), TOKENS[other].clone());
        let mut parts: Vec<&str> = token.split('.').collect();
        let theirs: Vec<&str> = other.split('.').collect();
        prop_assume!(parts[part] != theirs[part]);
        parts[part] = theirs[part];
        prop_assert!(!holds(&parts.join(".")));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "[ -~\\n]{0,200}", header in "[ -~]{0,80}", claims in "[ -~]{0,120}") {
        let request = ProofRequest { method: "POST", uri: &text, ..ProofRequest::default() };
        for token in [text.clone(), crate::scene::signed(&header, &claims, "issuer")] {
            prop_assert!(!holds(&token));
            prop_assert!(Proof::open(&token, &request, seconds(NOW)).is_err());
        }
    }
}
