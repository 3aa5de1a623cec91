//! Proofs of possession: used once, for this body, with a nonce of this process.

use kavachos_core::token::body_digest;
use kavachos_core::tool_server::Proof;

use super::layer::send;
use super::scene::{Answer, Scene, bearer, bound, call, dpop, leaf, proof, token};
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

#[tokio::test]
async fn a_key_that_uses_too_many_proofs_waits() {
    let scene = Scene::with(|builder| builder.remembered_proofs(1, 10)).await;
    let token = bound();
    let [first, second] = ["one", "two"].map(|id| proof(&token, id, None, None));
    assert_eq!(scene.code(&dpop(&token, &first)), "accepted");
    let rejection = scene.verifier.verify(&dpop(&token, &second)).unwrap_err();
    assert_eq!(
        (rejection.code(), rejection.status().as_u16()),
        ("rate_limited", 429)
    );
    assert!(rejection.retry_after().is_some());
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
async fn a_nonce_of_this_process_is_demanded_where_it_was_asked_for() {
    let token = bound();
    let scene = Scene::with(crate::Builder::demand_nonces).await;
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
    // Another process gives other ones.
    let other = Scene::with(crate::Builder::demand_nonces).await;
    assert_eq!(post(&other.verifier, &token, &with, "").await.status, 401);
    // The twin: where none is asked for none is needed.
    let scene = Scene::new().await;
    assert_eq!(
        post(&scene.verifier, &token, &without, "").await.status,
        200
    );
}
