//! What is cached is what would be found out anew, whatever happens meanwhile; and no input makes it panic.

use std::time::Duration;

use http::{HeaderValue, Request};
use kavachos_core::revocation::HandleKind;
use kavachos_core::token::{Presented, ProofRequest, Scheme, Verification};
use kavachos_core::tool_server::Proof;
use proptest::prelude::*;

use super::scene::{Scene, bearer, bound, dpop, leaf, mark, proof, token};
use super::vectors::{Vector, document};
use crate::tasks::ask;

/// What happens between two tokens.
#[derive(Debug, Clone)]
enum Event {
    Shown(prop::sample::Index),
    Passed(u64),
    Killed(u8, u8, u64),
    Published(Vec<u8>),
    Polled,
    KeysFetched,
    Epoch,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Event::Shown),
        2 => (1_u64..20).prop_map(Event::Passed),
        1 => (1_u8..=6, 0_u8..64, 1_u64..4).prop_map(|(kind, byte, to)| Event::Killed(kind, byte, to)),
        1 => prop_oneof![Just(vec![1, 2]), Just(vec![2]), Just(vec![1, 9])].prop_map(Event::Published),
        4 => Just(Event::Polled),
        2 => Just(Event::KeysFetched),
        1 => Just(Event::Epoch),
    ]
}

/// What the parts of the verifier say without its cache. Replays are left out: no proof is shown twice here.
fn anew(scene: &Scene, shown: &Presented<'_>) -> &'static str {
    let core = &scene.core;
    let follower = core.feed.follower();
    let reading = core.clock.read();
    let Some(keys) = core.keys.current(reading.boot) else {
        return "revocation_stale";
    };
    let verification = Verification {
        issuer: &core.settings.issuer,
        keys: &keys.set,
        audience: &core.settings.audience,
        proof: core.settings.proof,
        revocations: follower.revocations(&reading),
    };
    match verification.verify(shown, follower.now(&reading)) {
        Ok(_) => "accepted",
        Err(failure) => failure.code.as_str(),
    }
}

async fn happen(scene: &Scene, event: &Event, vectors: &[Vector<'_>]) {
    match event {
        Event::Shown(index) => {
            let shown = index.get(vectors).shown(None);
            let expected = anew(scene, &shown);
            for _ in 0..2 {
                assert_eq!(
                    scene.code(&shown),
                    expected,
                    "{}",
                    index.get(vectors).name()
                );
            }
        }
        Event::Passed(seconds) => scene.clock.advance(Duration::from_secs(*seconds)),
        Event::Killed(kind, byte, to) => {
            let kind = HandleKind::try_from(i64::from(*kind)).unwrap();
            scene.issuer.kill(mark(kind, *byte, *to));
        }
        Event::Published(keys) => scene.issuer.state().published.clone_from(keys),
        Event::Polled => drop(ask(&scene.core).await),
        Event::KeysFetched => drop(scene.verifier.learn_keys().await),
        Event::Epoch => scene.issuer.state().epoch += 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cached_equals_uncached(events in prop::collection::vec(event(), 1..80), few in any::<bool>()) {
        let document = document();
        let vectors: Vec<Vector<'_>> = (document["vectors"].as_array().unwrap().iter())
            .map(|vector| Vector::of(&document, vector))
            .filter(|vector| vector.text("kind") == "leaf" && vector.proof().is_none())
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let size = if few { 2 } else { 1_000 };
            let scene = Scene::with(|builder| builder.cached_tokens(size).lease(Duration::from_secs(60))).await;
            for event in &events {
                happen(&scene, event, &vectors).await;
            }
        });
    }
}

/// A scene for many inputs.
fn scene() -> Scene {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(Scene::with(|builder| builder.proof(Proof::Optional)))
}

#[test]
fn no_byte_of_a_token_or_a_proof_can_be_changed() {
    let scene = scene();
    let token = bound();
    let proof_ = proof(&token, "one", None, None);
    for text in [&token, &proof_] {
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let shown = if text == &token {
                dpop(&changed, &proof_)
            } else {
                dpop(&token, &changed)
            };
            assert_ne!(scene.code(&shown), "accepted", "{place}");
        }
    }
    // The twin: as they are they hold.
    assert_eq!(scene.code(&dpop(&token, &proof_)), "accepted");
}

#[test]
fn only_good_tokens_take_space() {
    let scene = scene();
    for vector in document()["vectors"].as_array().unwrap() {
        let token = vector["token"].as_str().unwrap_or_default();
        let before = scene.verifier.stats().cached_tokens;
        let good = scene.verifier.verify(&bearer(token)).is_ok();
        let code = scene.code(&bearer(token));
        let added = scene.verifier.stats().cached_tokens - before;
        assert!(
            added == 0 || good || code == "proof_missing",
            "{code}: {}",
            vector["name"]
        );
    }
    assert!(scene.verifier.stats().cached_tokens > 10);
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_it_panic(
        authorization in prop::collection::vec(any::<u8>(), 0..200),
        proof in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        path in "/[ -~]{0,30}",
    ) {
        let scene = scene();
        let mut request = Request::post("/mcp").body(()).unwrap();
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        for start in [&b""[..], b"Bearer ", b"DPoP "] {
            let value = [start, &authorization[..]].concat();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers_mut().insert("authorization", value);
            }
            if let Some(Ok(value)) = proof.as_deref().map(HeaderValue::from_bytes) {
                request.headers_mut().insert("dpop", value);
            }
            let (parts, ()) = request.clone().into_parts();
            prop_assert!(scene.verifier.verify_request(&parts, None).is_err());
        }
    }

    #[test]
    fn no_text_in_the_place_of_a_token_makes_it_panic(
        text in "\\PC{0,300}",
        cut in any::<prop::sample::Index>(),
        method in "\\PC{0,10}",
    ) {
        let scene = scene();
        let token = token(&leaf());
        let (start, end) = token.split_at(cut.index(token.len()));
        for token in [text.clone(), format!("{start}{text}{end}x"), start.to_owned()] {
            let shown = Presented {
                token: &token,
                scheme: Scheme::Dpop,
                proof: Some(&text),
                request: ProofRequest { method: &method, uri: &text, token: None, body: None },
            };
            prop_assert!(scene.verifier.verify(&shown).is_err());
            prop_assert!(scene.verifier.verify(&bearer(&token)).is_err());
        }
    }
}
