//! Proofs of possession: used once, for this body, with a nonce of this process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream;
use kavachos_core::token::{Code, body_digest};
use kavachos_core::tool_server::Proof;

use super::issuer::{FakeIssuer, FixedClock};
use super::layer::send;
use super::scene::{
    Answer, Scene, bearer, bound, bound_to, call, dpop, human, leaf, proof, proof_by, token,
};
use crate::builder::Builder;
use crate::judgement::Core;
use crate::tasks;
use crate::verifier::Verifier;

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;

async fn post(verifier: &Verifier, token: &str, proof: &str, body: &str) -> Answer {
    let authorization = format!("DPoP {token}");
    send(
        verifier,
        call(&[("authorization", &authorization), ("dpop", proof)], body),
    )
    .await
}

#[tokio::test]
async fn a_proof_is_taken_once_whatever_else_is_cached() {
    let scene = Scene::new().await;
    let token = bound();
    let first = proof(&token, "one", None, None);
    assert_eq!(scene.code(&dpop(&token, &first)), "accepted");
    assert_eq!(scene.code(&dpop(&token, &first)), "proof_replayed");
    // The twin: with another proof the same token is good.
    let second = proof(&token, "two", None, None);
    assert_eq!(scene.code(&dpop(&token, &second)), "accepted");
    assert_eq!(scene.code(&dpop(&token, &first)), "proof_replayed");
    assert_eq!(scene.verifier.stats().remembered_proofs, 2);
}

#[tokio::test]
async fn a_proof_that_was_refused_is_not_used_up() {
    let scene = Scene::new().await;
    let token = bound();
    let proof = proof(&token, "one", None, None);
    let mut elsewhere = dpop(&token, &proof);
    elsewhere.request.method = "GET";
    assert_eq!(scene.code(&elsewhere), "proof_invalid");
    assert_eq!(scene.code(&dpop(&token, &proof)), "accepted");
}

#[tokio::test]
async fn a_bound_token_is_worth_nothing_as_a_bearer() {
    let scene = Scene::new().await;
    assert_eq!(scene.code(&bearer(&bound())), "proof_missing");
    // The twin: one that is not bound.
    assert_eq!(scene.code(&bearer(&token(&leaf()))), "accepted");
}

#[tokio::test]
async fn where_proofs_are_demanded_a_bearer_is_refused() {
    for (policy, code) in [
        (Proof::Dpop, "proof_missing"),
        (Proof::Optional, "accepted"),
    ] {
        let scene = Scene::with(|builder| builder.proof(policy)).await;
        assert_eq!(scene.code(&bearer(&token(&leaf()))), code, "{policy:?}");
    }
}

/// How many proofs one agent can use in a row, each by another key with a token of its own.
async fn used_by_many_keys(told: impl FnOnce(Builder) -> Builder) -> (usize, Scene) {
    let scene = Scene::with(told).await;
    let used = (10..30).filter(|seed| {
        let token = bound_to(*seed, leaf());
        let proof = proof_by(*seed, &token, ("one", None, None));
        scene.code(&dpop(&token, &proof)) == "accepted"
    });
    (used.count(), scene)
}

#[tokio::test]
async fn an_agent_that_uses_too_many_proofs_waits_whatever_keys_it_has_and_others_do_not() {
    let (used, scene) = used_by_many_keys(|builder| builder.remembered_proofs(3, 1_000)).await;
    assert_eq!(used, 3);
    let token = bound_to(31, leaf());
    let proof = proof_by(31, &token, ("one", None, None));
    let rejection = scene.verifier.verify(&dpop(&token, &proof)).unwrap_err();
    assert_eq!(
        (rejection.code(), rejection.status().as_u16()),
        ("rate_limited", 429)
    );
    assert!(rejection.retry_after().is_some());
    let mut other = leaf();
    other.authority.chain.pop();
    let token = bound_to(31, other);
    let proof = proof_by(31, &token, ("one", None, None));
    assert_eq!(scene.code(&dpop(&token, &proof)), "accepted");
    // The twin: without a bound for one agent all of them are used.
    let unbounded = |builder: Builder| builder.remembered_proofs(usize::MAX, 1_000);
    assert_eq!(used_by_many_keys(unbounded).await.0, 20);
}

#[tokio::test]
async fn a_changed_body_is_refused_where_proofs_name_it() {
    let token = bound();
    for (policy, changed) in [(Proof::DpopBody, 401), (Proof::Dpop, 200)] {
        let scene = Scene::with(|builder| builder.proof(policy)).await;
        let digest = Some(body_digest(BODY.as_bytes()));
        let named = |id| proof(&token, id, None, digest);
        let answer = post(&scene.verifier, &token, &named("one"), BODY).await;
        assert_eq!(answer.status, 200, "{policy:?}: {}", answer.body);
        assert_eq!(answer.body["read"], BODY, "the handler gets all of it");
        let other = BODY.replace('1', "2");
        let answer = post(&scene.verifier, &token, &named("two"), &other).await;
        assert_eq!(answer.status, changed, "{policy:?}");
        let without = proof(&token, "three", None, None);
        let answer = post(&scene.verifier, &token, &without, BODY).await;
        assert_eq!(
            answer.status, changed,
            "{policy:?}: the proof names no body"
        );
    }
}

#[tokio::test]
async fn a_body_is_read_for_good_tokens_only_and_up_to_a_limit() {
    let limited =
        |limit| Scene::with(move |builder| builder.proof(Proof::DpopBody).body_limit(limit));
    let token = bound();
    let proof = proof(&token, "one", None, Some(body_digest(BODY.as_bytes())));
    for (limit, status, code) in [
        (BODY.len() - 1, 413, "too_large"),
        (BODY.len(), 200, "none"),
    ] {
        let scene = limited(limit).await;
        let answer = post(&scene.verifier, &token, &proof, BODY).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{limit}");
    }
    // A stranger is told what is wrong with the token, not with the body.
    let scene = limited(1).await;
    let answer = post(&scene.verifier, "a.b.c", &proof, BODY).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_client_that_repeats_the_nonce_that_it_is_told_is_let_in_with_its_second_request() {
    let token = bound();
    let scene = Scene::usual().await;
    let without = proof(&token, "one", None, None);
    let answer = post(&scene.verifier, &token, &without, "").await;
    assert_eq!((answer.status, answer.code()), (401, "proof_invalid"));
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.contains("error=\"use_dpop_nonce\""),
        "{challenge}"
    );
    let nonce = answer.header("dpop-nonce");
    let with = proof(&token, "two", Some(nonce), None);
    assert_eq!(post(&scene.verifier, &token, &with, "").await.status, 200);
    // The twin: where none is asked for none is needed.
    let scene = Scene::with(Builder::without_nonces).await;
    let answer = post(&scene.verifier, &token, &without, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("dpop-nonce"), "");
}

#[tokio::test]
async fn a_nonce_that_is_none_of_this_process_is_no_better_than_none() {
    let (token, scene) = (bound(), Scene::usual().await);
    let nonce = scene.verifier.nonce().unwrap();
    let cut = nonce.get(1..).unwrap();
    for other in ["", "AAAAAAAAAAAAAAAAAAAAAA", cut] {
        let guessed = proof(&token, "one", Some(other), None);
        assert_eq!(
            scene.code(&dpop(&token, &guessed)),
            "proof_invalid",
            "{other}"
        );
    }
    // The twin.
    let right = proof(&token, "one", Some(&nonce), None);
    assert_eq!(scene.code(&dpop(&token, &right)), "accepted");
}

#[tokio::test]
async fn a_proof_that_was_taken_is_refused_by_the_process_started_anew_and_by_a_replica() {
    let token = bound();
    let first = Scene::usual().await;
    let nonce = first.verifier.nonce().unwrap();
    let stolen = proof(&token, "one", Some(&nonce), None);
    assert_eq!(post(&first.verifier, &token, &stolen, "").await.status, 200);
    let next = Scene::usual().await;
    let answer = post(&next.verifier, &token, &stolen, "").await;
    assert_eq!((answer.status, answer.code()), (401, "proof_invalid"));
    // The twin: without nonces whoever has seen the proof uses it again where its use is not remembered.
    for _ in 0..2 {
        let scene = Scene::with(Builder::without_nonces).await;
        assert_eq!(post(&scene.verifier, &token, &stolen, "").await.status, 200);
    }
}

#[tokio::test]
async fn whoever_sends_proofs_is_told_the_next_nonce_before_the_one_before_ends() {
    let (token, scene) = (bound(), Scene::usual().await);
    let old = scene.verifier.nonce().unwrap();
    scene.clock.advance_boot(Duration::from_secs(120));
    tasks::ask(&scene.core).await;
    let with = proof(&token, "one", Some(&old), None);
    let answer = post(&scene.verifier, &token, &with, "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let next = answer.header("dpop-nonce");
    assert_ne!(next, old);
    let with = proof(&token, "two", Some(next), None);
    assert_eq!(post(&scene.verifier, &token, &with, "").await.status, 200);
    // The twin: a bearer has nothing to repeat it in.
    let authorization = format!("Bearer {}", super::scene::token(&leaf()));
    let request = call(&[("authorization", &authorization)], "");
    let answer = send(&scene.verifier, request).await;
    assert_eq!((answer.status, answer.header("dpop-nonce")), (200, ""));
}

/// What happens while a body comes.
type Meanwhile = fn(Arc<Core>, FakeIssuer, Arc<FixedClock>) -> BoxFuture<'static, ()>;

/// The answer to a call whose body comes slowly: this happens before its last byte.
async fn after_a_slow_body(scene: &Scene, meanwhile: Meanwhile) -> Answer {
    let token = bound();
    let proof = proof(&token, "one", None, Some(body_digest(BODY.as_bytes())));
    let authorization = format!("DPoP {token}");
    let (core, issuer) = (Arc::clone(&scene.core), scene.issuer.clone());
    let clock = Arc::clone(&scene.clock);
    let body = stream::once(async move {
        meanwhile(core, issuer, clock).await;
        Ok::<_, std::io::Error>(BODY)
    });
    let request = call(&[("authorization", &authorization), ("dpop", &proof)], "");
    let request = request.map(|_| axum::body::Body::from_stream(body));
    send(&scene.verifier, request).await
}

#[tokio::test]
async fn what_changes_while_a_slow_body_comes_counts() {
    let nothing: Meanwhile = |_, _, _| Box::pin(async {});
    let key_gone: Meanwhile = |core, issuer, clock| {
        Box::pin(async move {
            issuer.state().published = vec![2];
            clock.advance(Duration::from_secs(31));
            core.refresh_keys().await;
            tasks::ask(&core).await;
        })
    };
    let killed: Meanwhile = |core, issuer, _| {
        Box::pin(async move {
            let mut kill = human();
            kill.generation += 1;
            issuer.kill(kill);
            tasks::ask(&core).await;
        })
    };
    let lease_over: Meanwhile =
        |_, _, clock| Box::pin(async move { clock.advance(Duration::from_secs(11)) });
    for (meanwhile, status, code) in [
        (key_gone, 401, "unknown_key"),
        (killed, 401, "revoked"),
        (lease_over, 503, "revocation_stale"),
        // The twin.
        (nothing, 200, "none"),
    ] {
        let scene = Scene::with(|builder| builder.proof(Proof::DpopBody)).await;
        let answer = after_a_slow_body(&scene, meanwhile).await;
        assert_eq!((answer.status, answer.code()), (status, code));
    }
}

/// A request whose body never comes.
fn without_end(token: &str, proof: &str) -> http::Request<axum::body::Body> {
    let authorization = format!("DPoP {token}");
    let request = call(&[("authorization", &authorization), ("dpop", proof)], "");
    let body = stream::pending::<Result<&str, std::io::Error>>();
    request.map(|_| axum::body::Body::from_stream(body))
}

#[tokio::test(start_paused = true)]
async fn no_body_is_waited_for_where_the_proof_is_wrong_or_used_and_for_none_without_end() {
    let scene = Scene::with(|builder| builder.proof(Proof::DpopBody)).await;
    let token = bound();
    let digest = Some(body_digest(BODY.as_bytes()));
    let begun = tokio::time::Instant::now();
    for wrong in ["none", &proof(&other_than(&token), "one", None, digest)] {
        let answer = send(&scene.verifier, without_end(&token, wrong)).await;
        assert_eq!((answer.status, answer.code()), (401, "proof_invalid"));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing was waited for");
    let good = proof(&token, "two", None, digest);
    let answer = send(&scene.verifier, without_end(&token, &good)).await;
    assert_eq!((answer.status, answer.code()), (400, "malformed_request"));
    // It was not used up, and there is room again.
    assert_eq!(post(&scene.verifier, &token, &good, BODY).await.status, 200);
    let begun = tokio::time::Instant::now();
    let answer = send(&scene.verifier, without_end(&token, &good)).await;
    assert_eq!((answer.status, answer.code()), (401, "proof_replayed"));
    assert_eq!(begun.elapsed(), Duration::ZERO, "it was used by then");
    let human = leaf().authority.subject;
    let mut rooms = Vec::new();
    while let Some(room) = scene.core.bodies.now(&human) {
        rooms.push(room);
    }
    let last = proof(&token, "three", None, digest);
    let answer = post(&scene.verifier, &token, &last, BODY).await;
    assert_eq!((answer.status, answer.code()), (429, "rate_limited"));
}

/// A token that a proof is not for.
fn other_than(token: &str) -> String {
    format!("{token}x")
}

/// The twin of the key that is gone: every other check lets the token pass that was read before the body came.
#[tokio::test]
async fn nothing_but_the_set_of_keys_tells_that_a_key_is_gone() {
    let scene = Scene::new().await;
    let held = scene.core.hold(&bound()).unwrap();
    scene.issuer.state().published = vec![2];
    scene.clock.advance(Duration::from_secs(31));
    scene.core.refresh_keys().await;
    tasks::ask(&scene.core).await;
    assert!(scene.core.stands(&held.leaf).is_ok());
    let again = scene.core.hold_still(held).map(drop).unwrap_err();
    assert_eq!(again.code, Code::UnknownKey);
}
