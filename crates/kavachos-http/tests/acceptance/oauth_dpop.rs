//! Clients that prove a key (RFC 9449): with a nonce of ours, each proof once, and what is bound to a key with that key alone.

use std::sync::atomic::{AtomicU64, Ordering};

use kavachos_core::token::{Algorithm, Proof, ProofRequest, SigningKey};
use kavachos_engine::ProofNonces;
use kavachos_test::{Reply, TestApp};
use serde_json::json;

use crate::exchange::TOKEN;
use crate::oauth_clients::{REDIRECT, World, client, error, world, world_of};
use crate::tokens::{issuer, now, opened};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

/// A proof at the token endpoint that nobody used.
fn proof(app: &TestApp, seed: u8, nonce: Option<&str>) -> String {
    proof_for(app, TOKEN, (seed, nonce))
}

/// A proof at this path that nobody used.
pub(crate) fn proof_for(app: &TestApp, path: &str, (seed, nonce): (u8, Option<&str>)) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("proof {}", COUNT.fetch_add(1, Ordering::Relaxed));
    let uri = format!("{}{path}", issuer(app));
    let request = ProofRequest {
        method: "POST",
        uri: &uri,
        ..ProofRequest::default()
    };
    Proof::sign(&request, &name, nonce, now(app), &key(seed))
}

async fn with(app: &TestApp, proof: &str, fields: &[(&str, &str)]) -> Reply {
    let call = app.anonymous().header("dpop", proof);
    call.post_form(TOKEN, fields).await
}

/// As honest clients do: they ask again with the nonce that they are told.
pub(crate) async fn proven(app: &TestApp, seed: u8, fields: &[(&str, &str)]) -> Reply {
    let first = with(app, &proof(app, seed, None), fields).await;
    error(&first, 400, "use_dpop_nonce");
    let nonce = first.header("dpop-nonce");
    with(app, &proof(app, seed, Some(nonce)), fields).await
}

fn redeeming<'a>(world: &'a World, code: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", &world.client),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ]
}

fn refreshing<'a>(world: &'a World, token: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("grant_type", "refresh_token"),
        ("client_id", &world.client),
        ("refresh_token", token),
    ]
}

/// Tokens that are bound to a key.
async fn bound(world: &World, seed: u8) -> Reply {
    let code = world.code().await;
    let told = proven(&world.app, seed, &redeeming(world, &code)).await;
    let told = told.expect(200);
    assert_eq!(told.at("/token_type"), "DPoP");
    told
}

#[tokio::test]
async fn a_proof_repeats_a_nonce_before_anything_is_used_up() {
    let world = world().await;
    let app = &world.app;
    let code = world.code().await;
    let fields = redeeming(&world, &code);
    let first = with(app, &proof(app, 1, None), &fields).await;
    error(&first, 400, "use_dpop_nonce");
    let nonce = first.header("dpop-nonce").to_owned();
    for wrong in ["x", &format!("{nonce}x"), &"n".repeat(22)] {
        let told = with(app, &proof(app, 1, Some(wrong)), &fields).await;
        error(&told, 400, "use_dpop_nonce");
        assert_eq!(told.header("dpop-nonce"), nonce);
    }
    // The code is as good as before, and the nonce for more than one proof.
    let told = with(app, &proof(app, 1, Some(&nonce)), &fields).await;
    let told = told.expect(200);
    let leaf = opened(app, told.text_at("/access_token")).await;
    assert_eq!(leaf.bound_to, Some(key(1).thumbprint()));
    // It holds for minutes; whoever shows one that ends is told the next with the answer.
    app.advance(120);
    let refresh = told.text_at("/refresh_token");
    let fields = refreshing(&world, refresh);
    let told = with(app, &proof(app, 1, Some(&nonce)), &fields).await;
    let told = told.expect(200);
    let next = told.header("dpop-nonce").to_owned();
    assert!(!next.is_empty() && next != nonce);
    app.advance(120);
    let refresh = told.text_at("/refresh_token");
    let fields = refreshing(&world, refresh);
    let over = with(app, &proof(app, 1, Some(&nonce)), &fields).await;
    error(&over, 400, "use_dpop_nonce");
    with(app, &proof(app, 1, Some(&next)), &fields)
        .await
        .expect(200);
    // What is no proof at all is told so, and not asked to come again.
    let odd = with(app, "x", &fields).await;
    error(&odd, 400, "invalid_dpop_proof");
}

#[tokio::test]
async fn nonces_are_left_out_where_an_operator_says_so() {
    let setup = crate::setup().settings(|settings| settings.proof_nonces = ProofNonces::Off);
    let world = world_of(setup.start().await).await;
    let code = world.code().await;
    let text = proof(&world.app, 1, None);
    let told = with(&world.app, &text, &redeeming(&world, &code)).await;
    let told = told.expect(200);
    assert_eq!(told.at("/token_type"), "DPoP");
    assert_eq!(told.header("dpop-nonce"), "");
}

#[tokio::test]
async fn a_proof_is_good_once_whatever_it_is_shown_for() {
    let world = world().await;
    let app = &world.app;
    let (one, two) = (world.code().await, world.code().await);
    let first = with(app, &proof(app, 1, None), &redeeming(&world, &one)).await;
    let nonce = first.header("dpop-nonce").to_owned();
    let text = proof(app, 1, Some(&nonce));
    let told = with(app, &text, &redeeming(&world, &one)).await.expect(200);
    let again = with(app, &text, &redeeming(&world, &two)).await;
    error(&again, 400, "invalid_dpop_proof");
    let refresh = told.text_at("/refresh_token");
    let again = with(app, &text, &refreshing(&world, refresh)).await;
    error(&again, 400, "invalid_dpop_proof");
    // The twins: nothing was used up by that.
    for fields in [
        &redeeming(&world, &two)[..],
        &refreshing(&world, refresh)[..],
    ] {
        let text = proof(app, 1, Some(&nonce));
        with(app, &text, fields).await.expect(200);
    }
}

/// RFC 9449, section 10: the code is for the key that the client named when it asked.
#[tokio::test]
async fn a_code_for_a_key_is_redeemed_with_that_key() {
    let world = world().await;
    let print = key(1).thumbprint().to_string();
    let location = world.allowed(&[("dpop_jkt", &print)]).await;
    let code = crate::oauth_clients::brought(&location, "code").unwrap();
    let fields = redeeming(&world, &code);
    let bare = world.app.anonymous().post_form(TOKEN, &fields).await;
    error(&bare, 400, "invalid_dpop_proof");
    let other = proven(&world.app, 2, &fields).await;
    error(&other, 400, "invalid_dpop_proof");
    let told = proven(&world.app, 1, &fields).await.expect(200);
    let leaf = opened(&world.app, told.text_at("/access_token")).await;
    assert_eq!(leaf.bound_to, Some(key(1).thumbprint()));
}

/// RFC 9449, section 5: a refresh token that was given for a proof is worth nothing without that key.
#[tokio::test]
async fn what_was_given_for_a_proof_is_refreshed_with_that_key() {
    let world = world().await;
    let tokens = bound(&world, 1).await;
    let refresh = tokens.text_at("/refresh_token");
    let fields = refreshing(&world, refresh);
    for _ in 0..2 {
        error(&world.refresh(refresh).await, 400, "invalid_dpop_proof");
        let other = proven(&world.app, 2, &fields).await;
        error(&other, 400, "invalid_dpop_proof");
    }
    let next = proven(&world.app, 1, &fields).await.expect(200);
    assert_eq!(next.at("/token_type"), "DPoP");
    // A copy without the key kills nothing, however late.
    world.app.advance(60);
    error(&world.refresh(refresh).await, 400, "invalid_dpop_proof");
    let refresh = next.text_at("/refresh_token");
    let fields = refreshing(&world, refresh);
    proven(&world.app, 1, &fields).await.expect(200);
}

#[tokio::test]
async fn a_lost_answer_that_is_bound_to_a_key_is_given_again_for_thirty_seconds() {
    let world = world().await;
    let tokens = bound(&world, 1).await;
    let refresh = tokens.text_at("/refresh_token");
    let fields = refreshing(&world, refresh);
    let next = proven(&world.app, 1, &fields).await.expect(200);
    world.app.advance(29);
    let again = proven(&world.app, 1, &fields).await.expect(200);
    let same = |reply: &Reply| reply.text_at("/refresh_token").to_owned();
    assert_eq!(same(&again), same(&next));
    world.app.advance(1);
    let late = proven(&world.app, 1, &fields).await;
    error(&late, 400, "invalid_grant");
}

/// A client that began without a key and goes on with one is bound from then on.
#[tokio::test]
async fn the_first_proof_binds_what_comes_after() {
    let world = world().await;
    let tokens = world.let_in().await;
    assert_eq!(tokens.at("/token_type"), "Bearer");
    let refresh = tokens.text_at("/refresh_token");
    let fields = refreshing(&world, refresh);
    let next = proven(&world.app, 1, &fields).await.expect(200);
    assert_eq!(next.at("/token_type"), "DPoP");
    let refresh = next.text_at("/refresh_token");
    error(&world.refresh(refresh).await, 400, "invalid_dpop_proof");
    let fields = refreshing(&world, refresh);
    let other = proven(&world.app, 2, &fields).await;
    error(&other, 400, "invalid_dpop_proof");
    proven(&world.app, 1, &fields).await.expect(200);
}

#[tokio::test]
async fn a_client_that_promised_proofs_gets_nothing_without_one() {
    let world = world().await;
    let new = json!({
        "name": "Bound", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none", "dpopBound": true,
    });
    let client = client(&world.app, new).await.id().to_owned();
    let world = World { client, ..world };
    let code = world.code().await;
    error(&world.redeem(&code, &[]).await, 400, "invalid_dpop_proof");
    let fields = redeeming(&world, &code);
    proven(&world.app, 1, &fields).await.expect(200);
}

/// A bound token is its client's to give back, without a proof (RFC 9449 says nothing of revocation).
#[tokio::test]
async fn what_is_bound_is_given_back() {
    let world = world().await;
    let tokens = bound(&world, 1).await;
    let access = tokens.text_at("/access_token");
    let active = async || {
        let fields = [("token", access)];
        let told = world.app.operator();
        let told = told.post_form("/oauth/introspect", &fields).await;
        told.expect(200).at("/active").clone()
    };
    assert_eq!(active().await, true);
    let give = [("client_id", world.client.as_str()), ("token", access)];
    let call = world.app.anonymous();
    let given = call.post_form("/oauth/revoke", &give).await;
    given.expect(200);
    assert_eq!(active().await, false);
    let refresh = tokens.text_at("/refresh_token");
    let fields = refreshing(&world, refresh);
    proven(&world.app, 1, &fields).await.expect(200);
}
