//! Clients show who they are: with a secret, with what they sign, or with nothing, each in the way in which it registered to.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use kavachos_engine::Registration;
use kavachos_test::{ProviderSigner, Reply, TestApp};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::exchange::TOKEN;
use crate::feed_root;
use crate::oauth_clients::{
    CLIENTS, REDIRECT, SITE, World, brought, client, error, world, world_of,
};
use crate::oauth_introspection::{INTROSPECT, introspected};
use crate::tokens::{TOOLS, issuer, judged, now};

const REVOKE: &str = "/oauth/revoke";
pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn seconds(app: &TestApp) -> i64 {
    now(app).as_micros() / 1_000_000
}

/// What a client says that signs who it is. `name` is used once.
fn claims(app: &TestApp, client: &str, name: &str) -> Value {
    let now = seconds(app);
    json!({ "iss": client, "sub": client, "aud": issuer(app), "jti": name, "iat": now, "nbf": now, "exp": now + 60 })
}

fn header(signer: ProviderSigner) -> Value {
    json!({ "alg": signer.alg(), "kid": signer.kid(), "typ": "client-authentication+jwt" })
}

/// An assertion of this client.
pub(crate) fn assertion(
    app: &TestApp,
    signer: ProviderSigner,
    (client, name): (&str, &str),
) -> String {
    signer.token(&header(signer), &claims(app, client, name))
}

/// A form with an assertion in it.
pub(crate) async fn signed(
    app: &TestApp,
    path: &str,
    (text, more): (&str, &[(&str, &str)]),
) -> Reply {
    let mut fields = vec![("client_assertion_type", TYPE), ("client_assertion", text)];
    fields.extend(more);
    app.anonymous().post_form(path, &fields).await
}

/// Whether an assertion shows who the client is: what it gives back is nothing, which is told to nobody.
pub(crate) async fn shows(app: &TestApp, text: &str) -> Reply {
    signed(app, REVOKE, (text, &[("token", "x")])).await
}

pub(crate) fn keys(signers: &[ProviderSigner]) -> Value {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys })
}

/// A client with these keys.
pub(crate) async fn signing(app: &TestApp, signers: &[ProviderSigner]) -> String {
    let new = json!({
        "name": "Site", "redirectUris": [SITE, "http://127.0.0.1/cb"], "authMethod": "private_key_jwt", "jwks": keys(signers),
    });
    client(app, new).await.id().to_owned()
}

#[tokio::test]
async fn a_client_signs_who_it_is_wherever_clients_call() {
    let first = world().await;
    let metadata = "/.well-known/oauth-authorization-server";
    let metadata = first.app.anonymous().get(metadata).await.expect(200);
    for of in ["token", "revocation"] {
        let methods = metadata.at(&format!("/{of}_endpoint_auth_methods_supported"));
        assert!(methods.to_string().contains("private_key_jwt"), "{methods}");
        let kinds = metadata.at(&format!("/{of}_endpoint_auth_signing_alg_values_supported"));
        assert_eq!(kinds, &json!(["EdDSA", "Ed25519", "ES256", "RS256"]));
    }
    for signer in ProviderSigner::PUBLISHED {
        let world = world().await;
        let client = signing(&world.app, &ProviderSigner::PUBLISHED).await;
        let world = World { client, ..world };
        let app = &world.app;
        let made = |name| assertion(app, signer, (&world.client, name));
        let code = world.code().await;
        // With `client_id` and without.
        let code = [
            ("grant_type", "authorization_code"),
            ("client_id", &world.client),
            ("code", &code),
            ("redirect_uri", REDIRECT),
            (
                "code_verifier",
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            ),
        ];
        let tokens = signed(app, TOKEN, (&made("1"), &code)).await.expect(200);
        judged(app, tokens.text_at("/access_token")).await.unwrap();
        let refresh = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.text_at("/refresh_token")),
        ];
        // Clients that name no key have one of each kind.
        let bare = signer.token(
            &json!({ "alg": signer.alg() }),
            &claims(app, &world.client, "2"),
        );
        let next = signed(app, TOKEN, (&bare, &refresh)).await.expect(200);
        let token = [("token", next.text_at("/refresh_token"))];
        signed(app, REVOKE, (&made("3"), &token)).await.expect(200);
        assert!(judged(app, next.text_at("/access_token")).await.is_err());
        // A client is no tool server.
        let asked = signed(app, INTROSPECT, (&made("4"), &token)).await;
        error(&asked, 401, "invalid_client");
    }
}

/// Of many at once, one is taken; and it is remembered on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_assertion_is_good_once() {
    let mut app = crate::setup().lasting().start().await;
    let client = signing(&app, &[ProviderSigner::P256]).await;
    let text = assertion(&app, ProviderSigner::P256, (&client, "one"));
    let all = join_all((0..16).map(|_| shows(&app, &text))).await;
    let taken = all.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(taken, 1);
    for reply in all.iter().filter(|reply| reply.status != 200) {
        error(reply, 401, "invalid_client");
    }
    // The same name under another signature, at another endpoint, or after a restart.
    let mut later = claims(&app, &client, "one");
    later["exp"] = json!(seconds(&app) + 90);
    let later = ProviderSigner::P256.token(&header(ProviderSigner::P256), &later);
    error(&shows(&app, &later).await, 401, "invalid_client");
    let code = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let elsewhere = signed(&app, TOKEN, (&text, &code)).await;
    error(&elsewhere, 401, "invalid_client");
    app.restart().await;
    error(&shows(&app, &later).await, 401, "invalid_client");
    // The twins: another name, and another client's of the same name.
    let two = assertion(&app, ProviderSigner::P256, (&client, "two"));
    shows(&app, &two).await.expect(200);
    let other = signing(&app, &[ProviderSigner::P256]).await;
    let theirs = assertion(&app, ProviderSigner::P256, (&other, "one"));
    shows(&app, &theirs).await.expect(200);
}

/// Lessons C 52, 53; RFC 8725; draft-ietf-oauth-rfc7523bis: each with its twin at the end.
#[tokio::test]
async fn an_assertion_is_the_clients_own_for_this_issuer_and_for_now() {
    let app = crate::start().await;
    let signer = ProviderSigner::P256;
    let client = signing(&app, &[signer]).await;
    let stranger = signing(&app, &[ProviderSigner::Ed25519]).await;
    let (issuer, now) = (issuer(&app), seconds(&app));
    for (member, value) in [
        ("iss", json!(stranger)),
        ("sub", json!(stranger)),
        ("sub", json!("client_01h455vb4pex5vsknk084sn02q")),
        ("sub", Value::Null),
        ("aud", json!(format!("{issuer}{TOKEN}"))),
        ("aud", json!([issuer])),
        ("aud", json!(format!("{issuer}/"))),
        ("aud", json!(TOOLS)),
        ("aud", Value::Null),
        ("jti", Value::Null),
        ("exp", Value::Null),
        ("exp", json!(now)),
        ("exp", json!(now + 3_600)),
        ("iat", json!(now + 3_600)),
        ("nbf", json!(now + 3_600)),
        ("iat", json!(now - 3_600)),
    ] {
        let mut claims = claims(&app, &client, "one");
        claims[member] = value.clone();
        let told = shows(&app, &signer.token(&header(signer), &claims)).await;
        error(&told, 401, "invalid_client");
        let asks = told.header("www-authenticate");
        assert!(!asks.is_empty(), "{member} {value}");
    }
    let claims = claims(&app, &client, "one");
    for (member, value) in [
        ("alg", json!("none")),
        ("alg", json!("RS256")),
        ("alg", json!("EdDSA")),
        ("kid", json!("other")),
        ("typ", json!("at+jwt")),
        ("crit", json!(["exp"])),
        ("jwk", signer.jwk()),
    ] {
        let mut header = header(signer);
        header[member] = value;
        let told = shows(&app, &signer.token(&header, &claims)).await;
        error(&told, 401, "invalid_client");
    }
    // Signed by others, by nobody, and with the public key as if it were a secret.
    let foreign = ProviderSigner::Ed25519.token(&header(ProviderSigner::Ed25519), &claims);
    let good = signer.token(&header(signer), &claims);
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    for wrong in [foreign, unsigned, hs256(&claims), "x".repeat(9_000)] {
        error(&shows(&app, &wrong).await, 401, "invalid_client");
    }
    // None of these used its name up.
    shows(&app, &good).await.expect(200);
}

/// The known mistake: whoever takes `HS256` checks it with a key that everybody knows.
fn hs256(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "HS256", "kid": ProviderSigner::P256.kid() });
    let message = format!("{}.{}", part(&header), part(claims));
    let secret = ProviderSigner::P256.jwk().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

/// What a client registered is the one way; nobody takes another with what they happen to know.
#[tokio::test]
async fn a_client_has_one_way_to_show_who_it_is() {
    let world = world().await;
    let app = &world.app;
    let signer = ProviderSigner::Ed25519;
    let site = client(app, json!({ "name": "Site", "redirectUris": [SITE] })).await;
    let (site, secret) = (site.id(), site.text_at("/data/token"));
    let signing = signing(app, &[signer]).await;
    let give = async |fields: &[(&str, &str)]| {
        let mut fields = fields.to_vec();
        fields.push(("token", "x"));
        app.anonymous().post_form(REVOKE, &fields).await
    };
    for fields in [
        &[("client_id", site)][..],
        &[("client_id", signing.as_str())],
        &[("client_id", &signing), ("client_secret", secret)],
        &[("client_id", &world.client), ("client_secret", secret)],
        &[("client_id", site), ("client_secret", "x")],
        &[],
    ] {
        error(&give(fields).await, 401, "invalid_client");
    }
    // Who has no key signs nothing, and nobody signs for somebody else.
    for (id, name) in [(site, "1"), (&world.client, "2")] {
        let text = assertion(app, signer, (id, name));
        error(&shows(app, &text).await, 401, "invalid_client");
    }
    let text = assertion(app, signer, (&signing, "3"));
    let other = [("token", "x"), ("client_id", site)];
    error(
        &signed(app, REVOKE, (&text, &other)).await,
        401,
        "invalid_client",
    );
    // Two ways at once are none.
    let two = [("token", "x"), ("client_secret", secret)];
    error(
        &signed(app, REVOKE, (&text, &two)).await,
        400,
        "invalid_request",
    );
    let basic = BASE64_STANDARD.encode(format!("{site}:{secret}"));
    let both = [
        ("client_assertion_type", TYPE),
        ("client_assertion", text.as_str()),
        ("token", "x"),
    ];
    let call = app
        .anonymous()
        .header("authorization", &format!("Basic {basic}"));
    error(&call.post_form(REVOKE, &both).await, 400, "invalid_request");
    let kind = [("client_assertion", text.as_str()), ("token", "x")];
    let kind = app.anonymous().post_form(REVOKE, &kind).await;
    error(&kind, 401, "invalid_client");
    // The twins.
    let own = [("token", "x"), ("client_id", signing.as_str())];
    signed(app, REVOKE, (&text, &own)).await.expect(200);
    give(&[("client_id", site), ("client_secret", secret)])
        .await
        .expect(200);
    give(&[("client_id", &world.client)]).await.expect(200);
}

#[tokio::test]
async fn keys_are_registered_changed_and_refused() {
    let setup = crate::setup().settings(|settings| settings.registration = Registration::Open);
    let app = setup.start().await;
    let (old, new) = (ProviderSigner::P256, ProviderSigner::Ed25519);
    let small =
        json!({ "kty": "RSA", "e": "AQAB", "n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 128]) });
    let mut private = old.jwk();
    private["d"] = json!("AQAB");
    for wrong in [
        json!(null),
        json!({ "keys": [] }),
        json!({ "keys": [small] }),
        json!({ "keys": [private] }),
        json!({ "keys": [old.jwk(), old.jwk()] }),
        json!({ "keys": [{ "kty": "oct", "k": "AQAB", "kid": "a" }] }),
    ] {
        let said = json!({
            "name": "Site", "redirectUris": [SITE], "authMethod": "private_key_jwt", "jwks": wrong,
        });
        let told = app.operator().post(CLIENTS, said).await;
        assert_eq!(
            (told.status, told.code()),
            (400, "malformed_request"),
            "{told}"
        );
        let said = json!({
            "redirect_uris": [SITE], "token_endpoint_auth_method": "private_key_jwt", "jwks": wrong,
        });
        let told = app.anonymous().post("/oauth/register", said).await;
        error(&told, 400, "invalid_client_metadata");
    }
    let mut said = json!({
        "redirect_uris": [SITE], "token_endpoint_auth_method": "private_key_jwt", "jwks": keys(&[old]),
    });
    let itself = app.anonymous().post("/oauth/register", said.clone()).await;
    let itself = itself.expect(201);
    assert!(itself.at("/client_secret").is_null());
    assert_eq!(itself.at("/jwks/keys/0/kid"), old.kid());
    let id = itself.text_at("/client_id");
    shows(&app, &assertion(&app, old, (id, "1")))
        .await
        .expect(200);
    said["jwks_uri"] = json!("https://app.example.com/jwks.json");
    let told = app.anonymous().post("/oauth/register", said).await;
    error(&told, 400, "invalid_client_metadata");
    assert!(told.text.contains("jwks_uri"), "{told}");
    // An operator replaces the keys of a client: from then on the old ones are worth nothing.
    let client = signing(&app, &[old]).await;
    let before = assertion(&app, old, (&client, "2"));
    let path = format!("{CLIENTS}/{client}");
    let change = json!({ "jwks": keys(&[new]) });
    app.operator().patch(&path, change).await.expect(200);
    error(&shows(&app, &before).await, 401, "invalid_client");
    let after = assertion(&app, new, (&client, "3"));
    shows(&app, &after).await.expect(200);
    // And with the client itself.
    app.operator().delete(&path).await.expect(200);
    let after = assertion(&app, new, (&client, "4"));
    error(&shows(&app, &after).await, 401, "invalid_client");
}

/// Contract 9: whoever tries what is not theirs is on record.
#[tokio::test]
async fn whoever_is_no_client_is_on_record() {
    let world = world().await;
    let app = &world.app;
    let count = async |code: &str| {
        // A refusal does not wait for its record; what is done after it does.
        app.user().await;
        app.audit(&format!("kind=refusal&code={code}")).await.len()
    };
    let site = client(app, json!({ "name": "Site", "redirectUris": [SITE] })).await;
    let forged = assertion(app, ProviderSigner::Rsa, (site.id(), "1"));
    for fields in [
        &[("client_id", site.id()), ("client_secret", "x")][..],
        &[("client_id", site.id())],
        &[("client_id", "client_01h455vb4pex5vsknk084sn02q")],
        &[("client_id", "x")],
        &[
            ("client_assertion_type", TYPE),
            ("client_assertion", &forged),
        ],
        &[],
    ] {
        let before = count("unauthenticated").await;
        let mut fields = fields.to_vec();
        fields.push(("token", "x"));
        let told = app.anonymous().post_form(REVOKE, &fields).await;
        error(&told, 401, "invalid_client");
        assert_eq!(count("unauthenticated").await, before + 1, "{fields:?}");
    }
    let before = count("unauthenticated").await;
    let told = app
        .anonymous()
        .post_form(INTROSPECT, &[("token", "x")])
        .await;
    error(&told, 401, "invalid_client");
    assert_eq!(count("unauthenticated").await, before + 1);
    let before = count("invalid_grant").await;
    error(&world.redeem("x", &[]).await, 400, "invalid_grant");
    error(&world.refresh("x").await, 400, "invalid_grant");
    assert_eq!(count("invalid_grant").await, before + 2);
    let fields = [("client_id", world.client.as_str())];
    let anonymous = app.anonymous();
    let device = anonymous.post_form("/oauth/device_authorization", &fields);
    error(&device.await, 400, "unauthorized_client");
    assert_eq!(count("unauthorized_client").await, 1);
    let weak = json!({ "name": "k", "scopes": ["users:read"] });
    let weak = app.call(&app.key(weak).await);
    let told = weak.post_form(INTROSPECT, &[("token", "x")]).await;
    error(&told, 403, "insufficient_scope");
    let records = app.audit("kind=token.introspected&outcome=denied").await;
    assert_eq!(records.len(), 1);
}

/// A refresh token is its client's alone; whoever else shows it does no harm with that.
#[tokio::test]
async fn a_refresh_token_is_its_clients_alone() {
    let world = world().await;
    let tokens = world.let_in().await;
    let refresh = tokens.text_at("/refresh_token");
    let new =
        json!({ "name": "Other", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none" });
    let other = World {
        client: client(&world.app, new).await.id().to_owned(),
        app: world.app,
        user: world.user,
        session: world.session,
    };
    for _ in 0..2 {
        error(&other.refresh(refresh).await, 400, "invalid_grant");
    }
    let world = World {
        client: world.client,
        ..other
    };
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    world.refresh(refresh).await.expect(200);
    // Who tried is on record.
    let tried = world.app.audit("kind=refusal").await;
    assert_eq!(tried.len(), 2, "{tried:?}");
}

/// What is over is none, and giving it back kills nothing.
#[tokio::test]
async fn a_token_that_is_over_is_told_of_to_nobody_and_kills_nothing() {
    let (world, tokens, [key, _]) = introspected().await;
    let app = &world.app;
    let ask = async |token: &str| {
        let call = app.call(&key);
        let told = call.post_form(INTROSPECT, &[("token", token)]).await;
        told.expect(200).at("/active").clone()
    };
    let old = tokens.text_at("/access_token").to_owned();
    assert_eq!(ask(&old).await, true);
    app.advance(3_600);
    assert_eq!(ask(&old).await, false);
    let next = world.refresh(tokens.text_at("/refresh_token")).await;
    let next = next.expect(200);
    let access = next.text_at("/access_token");
    let give = [("client_id", world.client.as_str()), ("token", &old)];
    app.anonymous().post_form(REVOKE, &give).await.expect(200);
    judged(app, access).await.unwrap();
    assert_eq!(ask(access).await, true);
    // The twin: one that is good.
    let give = [("client_id", world.client.as_str()), ("token", access)];
    app.anonymous().post_form(REVOKE, &give).await.expect(200);
    assert_eq!(ask(access).await, false);
}

#[tokio::test]
async fn a_token_of_another_epoch_is_none() {
    let app = feed_root::rooted().start().await;
    let world = world_of(app).await;
    let tokens = world.let_in().await;
    let access = tokens.text_at("/access_token");
    let ask = async || {
        let told = world.app.operator();
        let told = told.post_form(INTROSPECT, &[("token", access)]).await;
        told.expect(200).at("/active").clone()
    };
    assert_eq!(ask().await, true);
    feed_root::replace(&world.app).await;
    assert_eq!(ask().await, false);
    let next = world.refresh(tokens.text_at("/refresh_token")).await;
    let next = next.expect(200);
    // Giving the old one back kills nothing of the new.
    let give = [("client_id", world.client.as_str()), ("token", access)];
    world
        .app
        .anonymous()
        .post_form(REVOKE, &give)
        .await
        .expect(200);
    let told = [("token", next.text_at("/access_token"))];
    let told = world.app.operator().post_form(INTROSPECT, &told).await;
    assert_eq!(told.expect(200).at("/active"), true);
}

/// What is not set up is our mistake: no client throws anything away for that, and no human is asked in vain.
#[tokio::test]
async fn without_a_master_key_nobody_is_let_in() {
    let app = crate::setup().without_master_key().start().await;
    let world = world_of(app).await;
    let sent = world.asked(&[]).await.expect(303);
    let code = brought(sent.header("location"), "error");
    assert_eq!(code.unwrap(), "server_error");
}

/// Each assertion is remembered, which is a write: of clients that anybody may be there is an end to them.
#[tokio::test]
async fn strangers_sign_who_they_are_so_often_and_no_more() {
    let setup = crate::setup().settings(|settings| settings.registration = Registration::Open);
    let app = setup.start().await;
    let signer = ProviderSigner::P256;
    let said = json!({
        "redirect_uris": [SITE], "token_endpoint_auth_method": "private_key_jwt", "jwks": keys(&[signer]), "client_name": "x",
    });
    let made = app.anonymous().post("/oauth/register", said).await;
    let own = made.expect(201).text_at("/client_id").to_owned();
    for count in 0..121 {
        let text = assertion(&app, signer, (&own, &format!("a{count}")));
        let status = shows(&app, &text).await.status;
        assert_eq!(status, if count < 120 { 200 } else { 429 }, "{count}");
    }
    let known = signing(&app, &[signer]).await;
    let text = assertion(&app, signer, (&known, "one"));
    shows(&app, &text).await.expect(200);
}
