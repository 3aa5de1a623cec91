//! "Keep your provider": identity tokens of Clerk, Auth0, Auth.js, better-auth and others, exchanged for tokens of ours.
//! Each refusal stands beside the same exchange with the control switched off or the fault mended.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use kavachos_core::permission::PermissionSet;
use kavachos_core::time::Timestamp;
use kavachos_core::token::Code;
use kavachos_engine::{ClientTerms, Provider, ProviderTerms, Providers};
use kavachos_test::{KeysAnswer, ProviderSigner, Reply, START, Setup, TestApp, TestProvider, may};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::exchange::{AGENT_KEY, GRANT, ID_TOKEN, SESSION, TOKEN, proof};
use crate::tokens::{TOOLS, judged, now, opened, register};

/// The secret of every client.
fn secret() -> String {
    "a-secret-of-a-back-end-of-a-test-42".to_owned()
}

fn permissions(value: &Value) -> PermissionSet {
    PermissionSet::from_json(value).unwrap()
}

/// What is believed of a provider: its humans may have tools called that search.
fn terms(name: &str, provider: &TestProvider) -> ProviderTerms {
    let ceiling = permissions(&may(&["*"], "tools:call:search"));
    let mut terms = ProviderTerms::new(name, &provider.issuer(), ceiling);
    terms.audiences = vec!["app".to_owned()];
    terms.clients = vec![ClientTerms::with_secret(&format!("{name}-web"), &secret()).unwrap()];
    terms
}

fn believing(terms: Vec<ProviderTerms>) -> Setup {
    let providers = terms.into_iter().map(|terms| Provider::new(terms).unwrap());
    let providers = Providers::new(providers.collect()).unwrap();
    crate::setup().settings(|settings| settings.providers = providers)
}

struct World {
    app: TestApp,
    provider: TestProvider,
}

/// A server that believes one provider, named `clerk`, and a tool server.
async fn world_with(change: impl FnOnce(&mut ProviderTerms)) -> World {
    let provider = TestProvider::start("").await;
    let mut terms = terms("clerk", &provider);
    change(&mut terms);
    let app = believing(vec![terms]).start().await;
    register(&app, json!({})).await;
    World { app, provider }
}

async fn world() -> World {
    world_with(|_| ()).await
}

fn seconds(app: &TestApp) -> i64 {
    now(app).as_micros() / 1_000_000
}

fn header(signer: ProviderSigner) -> Value {
    json!({ "alg": signer.alg(), "kid": signer.kid(), "typ": "JWT" })
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

impl World {
    /// What the provider says of a human now.
    fn claims(&self) -> Value {
        let now = seconds(&self.app);
        json!({ "iss": self.provider.issuer(), "sub": "user_1", "aud": "app", "iat": now - 1, "exp": now + 120 })
    }

    fn signed(&self, claims: &Value) -> String {
        ProviderSigner::Rsa.token(&header(ProviderSigner::Rsa), claims)
    }

    fn token(&self) -> String {
        self.signed(&self.claims())
    }

    async fn exchange(&self, token: &str) -> Reply {
        exchange(&self.app, token).await
    }
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn asked<'a>(token: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", GRANT),
        ("subject_token", token),
        ("subject_token_type", ID_TOKEN),
        ("audience", TOOLS),
        ("scope", "tools:call:search"),
        ("reason", "find sources"),
    ]
}

async fn exchange(app: &TestApp, token: &str) -> Reply {
    as_client(app, &basic("clerk-web", &secret()), token).await
}

async fn as_client(app: &TestApp, authorization: &str, token: &str) -> Reply {
    let call = app.anonymous().header("authorization", authorization);
    call.post_form(TOKEN, &asked(token)).await
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str, word: &str) {
    assert_eq!((reply.status, reply.code()), (status, code), "{reply}");
    let description = reply.text_at("/error_description");
    assert!(description.contains(word), "{word}: {description}");
}

/// Refused for what is wrong with the token: as no token at all, or as one that is not believed.
#[track_caller]
fn disbelieved(reply: &Reply, code: &str) {
    let is_none = ["malformed", "wrong_type", "alg_not_allowed"].contains(&code);
    let error = if is_none {
        "invalid_request"
    } else {
        "invalid_grant"
    };
    refused(reply, 400, error, code);
}

/// The last record of a token that was or was not given.
async fn last_record(app: &TestApp) -> Value {
    app.audit("kind=token.issued").await.remove(0)
}

/// As each of the four makes them: header, claims beside those that all have, the path of the issuer.
fn shapes(now: i64) -> Vec<(&'static str, &'static str, ProviderSigner, Value, Value)> {
    vec![
        (
            "clerk",
            "",
            ProviderSigner::Rsa,
            json!({ "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_rsa", "typ": "JWT" }),
            // A session token of a template with an audience: it lives for a minute, and names the origin.
            json!({ "azp": "app", "exp": now + 60, "fva": [0, -1], "iat": now, "nbf": now - 10, "sid": "sess_1",
                "sts": "active", "sub": "user_2abc", "v": 2 }),
        ),
        (
            "auth0",
            "/",
            ProviderSigner::Rsa,
            json!({ "alg": "RS256", "typ": "JWT", "kid": "ins_rsa" }),
            json!({ "nickname": "ada", "name": "ada@example.com", "picture": "https://s.example.com/a.png",
                "updated_at": "2026-11-21T09:59:00.000Z", "email": "ada@example.com", "email_verified": true,
                "sub": "auth0|507f1f77bcf86cd799439020", "iat": now, "exp": now + 36_000, "sid": "abc", "nonce": "n-0" }),
        ),
        (
            "authjs",
            "",
            ProviderSigner::P256,
            // Auth.js signs nothing that others could check: what an application has is `account.id_token`.
            json!({ "alg": "ES256", "kid": "p256", "typ": "JWT" }),
            json!({ "azp": "app", "sub": "110169484474386276334", "hd": "example.com", "email": "ada@example.com",
                "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "iat": now, "exp": now + 3_600,
                "auth_time": now - 60 }),
        ),
        (
            "better-auth",
            "/api/auth",
            ProviderSigner::Ed25519,
            json!({ "alg": "EdDSA", "kid": "ed25519" }),
            // Its sign-in time is in milliseconds.
            json!({ "sub": "k8sQ0a3ZtFvd3QvNqTnCwWmB1yXb6uJr", "iat": now, "exp": now + 600,
                "auth_time": (now - 60) * 1_000, "nonce": "n-0", "acr": "urn:mace:incommon:iap:silver",
                "given_name": "Ada", "name": "Ada", "email": "ada@example.com", "email_verified": true }),
        ),
    ]
}

#[tokio::test]
async fn a_human_of_each_provider_gets_a_token_and_is_created_on_first_mention() {
    let start = START.parse::<Timestamp>().unwrap();
    let now = start.as_micros() / 1_000_000;
    let mut providers = Vec::new();
    for (name, path, ..) in shapes(now) {
        providers.push((name, TestProvider::start(path).await));
    }
    let all = providers
        .iter()
        .map(|(name, provider)| terms(name, provider));
    let app = believing(all.collect()).start().await;
    register(&app, json!({})).await;
    for ((name, _, signer, header, claims), (_, provider)) in
        shapes(now).into_iter().zip(&providers)
    {
        let claims = with(
            with(claims, "iss", json!(provider.issuer())),
            "aud",
            json!("app"),
        );
        let client = format!("{name}-web");
        let reply = as_client(
            &app,
            &basic(&client, &secret()),
            &signer.token(&header, &claims),
        )
        .await;
        let reply = reply.expect(200);
        assert_eq!(reply.text_at("/token_type"), "Bearer");
        let token = reply.text_at("/access_token").to_owned();
        judged(&app, &token).await.unwrap();
        let leaf = opened(&app, &token).await;
        let ends = leaf.life.expires_at.as_micros() / 1_000_000;
        assert!(ends <= claims["exp"].as_i64().unwrap(), "{name}");
        // The human, as the provider calls them, with no more than its ceiling; and never an agent of that name.
        let user = app
            .operator()
            .get(&format!("/api/v1/users/{}", leaf.authority.subject))
            .await;
        let user = user.expect(200);
        assert_eq!(
            user.at("/data/external"),
            &json!({ "provider": name, "externalId": claims["sub"] })
        );
        assert_eq!(user.at("/data/permissions/0/resource"), "tools:call:search");
        assert!(user.at("/data/email").is_null() && user.at("/data/name").is_null());
        let record = last_record(&app).await;
        assert_eq!(record["details"]["provider"], name);
        assert_eq!(record["details"]["presenter"], client);
        assert!(
            record["actor"].as_str().unwrap().starts_with("person_"),
            "{record}"
        );
        assert_eq!(record["subject"], leaf.authority.subject.as_str());
        let born = app.audit("kind=user.created").await.remove(0);
        assert_eq!(born["details"]["provider"], name);
        assert_eq!(provider.fetches(), 1);
    }
    // Whoever comes again is the same human.
    let (_, _, signer, header, claims) = shapes(now).remove(0);
    let claims = with(
        with(claims, "iss", json!(providers[0].1.issuer())),
        "aud",
        json!("app"),
    );
    let again = signer.token(&header, &with(claims, "sid", json!("sess_2")));
    exchange(&app, &again).await.expect(200);
    assert_eq!(app.audit("kind=user.created").await.len(), 4);
}

#[tokio::test]
async fn a_clerk_session_lives_no_longer_here_than_there() {
    let world = world().await;
    let claims = with(world.claims(), "exp", json!(seconds(&world.app) + 45));
    let reply = world.exchange(&world.signed(&claims)).await.expect(200);
    assert_eq!(reply.at("/expires_in"), &json!(45));
    let leaf = opened(&world.app, reply.text_at("/access_token")).await;
    let hop = leaf.authority.chain.first().unwrap();
    assert_eq!(hop.expires_at, Some(leaf.life.expires_at));
}

/// A claim that is wrong for one provider and right for another.
#[tokio::test]
async fn a_claim_counts_as_the_configuration_says() {
    type Change = fn(&mut ProviderTerms);
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(day > ProviderTerms::MAX_SIGN_IN_AGE);
    let rows: [(&str, fn(i64) -> Value, &str, Change); 5] = [
        (
            "aud",
            |_| json!("other"),
            "audience_mismatch",
            |terms| terms.audiences.push("other".to_owned()),
        ),
        (
            "aud",
            |_| json!(["app", "other"]),
            "audience_mismatch",
            |terms| {
                terms.audiences.push("other".to_owned());
            },
        ),
        (
            "azp",
            |_| json!("https://app.example.com"),
            "audience_mismatch",
            |terms| {
                terms.audiences.push("https://app.example.com".to_owned());
            },
        ),
        (
            "iat",
            |now| json!(now - 400),
            "expired",
            |terms| terms.max_age = Duration::from_secs(500),
        ),
        (
            "auth_time",
            |now| json!(now - 700),
            "expired",
            |terms| {
                terms.max_sign_in_age = Duration::from_secs(24 * 60 * 60);
            },
        ),
    ];
    for (name, member, code, change) in rows {
        let (strict, wide) = (world().await, world_with(change).await);
        for world in [&strict, &wide] {
            let mut claims = with(world.claims(), name, member(seconds(&world.app)));
            if claims["aud"].is_array() {
                claims["azp"] = "app".into();
            }
            let reply = world.exchange(&world.signed(&claims)).await;
            if std::ptr::eq(world, &strict) {
                disbelieved(&reply, code);
                let record = last_record(&world.app).await;
                assert_eq!(
                    (&record["outcome"], &record["code"]),
                    (&json!("denied"), &json!(code))
                );
                assert_eq!(record["details"]["provider"], "clerk");
                assert_eq!(record["details"]["presenter"], "clerk-web");
            } else {
                reply.expect(200);
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_is_wrong_whatever_is_configured_is_refused() {
    let world = world().await;
    let now = seconds(&world.app);
    let claims = || world.claims();
    let other = TestProvider::start("").await;
    for (claims, code) in [
        (with(claims(), "iss", json!(other.issuer())), "unknown_key"),
        (
            with(
                claims(),
                "iss",
                json!(format!("{}/", world.provider.issuer())),
            ),
            "unknown_key",
        ),
        (with(claims(), "exp", json!(now)), "expired"),
        (with(claims(), "iat", json!(now + 31)), "not_yet_valid"),
        (with(claims(), "nbf", json!(now + 31)), "not_yet_valid"),
        (with(claims(), "exp", json!(-1)), "malformed"),
        (with(claims(), "sub", json!("x".repeat(256))), "malformed"),
        (
            with(
                claims(),
                "events",
                json!({ "http://schemas.openid.net/event/backchannel-logout": {} }),
            ),
            "wrong_type",
        ),
    ] {
        disbelieved(&world.exchange(&world.signed(&claims)).await, code);
    }
    let signer = ProviderSigner::Rsa;
    for (header, code) in [
        (with(header(signer), "typ", json!("at+jwt")), "wrong_type"),
        (
            with(header(signer), "typ", json!("logout+jwt")),
            "wrong_type",
        ),
        (with(header(signer), "crit", json!(["exp"])), "malformed"),
        (with(header(signer), "kid", json!("gone")), "unknown_key"),
        (
            with(header(signer), "alg", json!("ES256")),
            "alg_not_allowed",
        ),
        (
            with(header(signer), "kid", json!("p256")),
            "alg_not_allowed",
        ),
    ] {
        let token = signer.token(&header, &claims());
        disbelieved(&world.exchange(&token).await, code);
    }
    let strange = ProviderSigner::StrangeRsa.token(&header(signer), &claims());
    disbelieved(&world.exchange(&strange).await, "bad_signature");
    // Our own tokens are no provider's, and neither is a session of Auth.js, which is encrypted.
    disbelieved(&world.exchange("a.b.c").await, "malformed");
    disbelieved(
        &world.exchange("eyJhbGciOiJkaXIifQ..AA.AA.AA").await,
        "malformed",
    );
    // The twin.
    let reply = world.exchange(&world.token()).await.expect(200);
    // Lessons C 58: what we give out ourselves is no provider's word.
    let session = world.app.session(&world.app.user().await).await;
    disbelieved(
        &world.exchange(reply.text_at("/access_token")).await,
        "wrong_type",
    );
    disbelieved(&world.exchange(&session.token).await, "malformed");
}

/// Lessons C 52 and 53.
#[tokio::test]
async fn a_public_key_is_no_secret_and_no_signature_is_none() {
    let world = world().await;
    let claims = world.claims();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let jwk = ProviderSigner::Rsa.jwk();
    let secrets = [
        jwk.to_string(),
        jwk["n"].as_str().unwrap().to_owned(),
        json!({ "keys": [jwk] }).to_string(),
        String::new(),
    ];
    for secret in secrets {
        for prefix in ["", " ", "\n"] {
            let header = with(header(ProviderSigner::Rsa), "alg", json!("HS256"));
            let message = format!("{}.{}", part(&header), part(&claims));
            let mut mac =
                Hmac::<Sha256>::new_from_slice(format!("{prefix}{secret}").as_bytes()).unwrap();
            mac.update(message.as_bytes());
            let token = format!(
                "{message}.{}",
                URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
            );
            disbelieved(&world.exchange(&token).await, "alg_not_allowed");
        }
    }
    for alg in [
        json!("none"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(null),
        json!(["none"]),
    ] {
        let header = with(header(ProviderSigner::Rsa), "alg", alg);
        let message = format!("{}.{}", part(&header), part(&claims));
        for token in [
            format!("{message}."),
            format!("{message}.AAAA"),
            format!("{message}.."),
        ] {
            let reply = world.exchange(&token).await;
            assert_eq!(
                (reply.status, reply.code()),
                (400, "invalid_request"),
                "{reply}"
            );
        }
    }
    world.exchange(&world.signed(&claims)).await.expect(200);
}

#[tokio::test]
async fn a_provider_says_nothing_of_anothers_humans() {
    let (one, two) = (TestProvider::start("").await, TestProvider::start("").await);
    // The second signs with a key that the first does not have.
    let strange = ProviderSigner::StrangeRsa;
    two.answers(KeysAnswer::Keys(vec![strange.jwk()]));
    let app = believing(vec![terms("clerk", &one), terms("auth0", &two)])
        .start()
        .await;
    register(&app, json!({})).await;
    let now = seconds(&app);
    let of = |provider: &TestProvider| json!({ "iss": provider.issuer(), "sub": "user_1", "aud": "app", "iat": now, "exp": now + 60 });
    let crossed = strange.token(&header(strange), &of(&one));
    disbelieved(&exchange(&app, &crossed).await, "bad_signature");
    // The client of one presents no token of the other.
    let right = strange.token(&header(strange), &of(&two));
    refused(
        &exchange(&app, &right).await,
        400,
        "invalid_grant",
        "may not present",
    );
    // The twins.
    as_client(&app, &basic("auth0-web", &secret()), &right)
        .await
        .expect(200);
    let own = ProviderSigner::Rsa.token(&header(ProviderSigner::Rsa), &of(&one));
    exchange(&app, &own).await.expect(200);
    // One `sub`, two providers, two humans.
    let users = app.operator().get("/api/v1/users").await.expect(200);
    assert_eq!(users.rows().len(), 2);
}

#[tokio::test]
async fn a_token_is_exchanged_once() {
    let world = world().await;
    let token = world.token();
    let all = (0..64).map(|_| world.exchange(&token));
    let replies = futures_util::future::join_all(all).await;
    let won = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(won, 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert!([400, 503].contains(&reply.status), "{reply}");
        if reply.status == 400 {
            assert_eq!(reply.code(), "invalid_grant", "{reply}");
        }
    }
    // One human, one fetch of the keys.
    assert_eq!(world.app.audit("kind=user.created").await.len(), 1);
    assert_eq!(world.provider.fetches(), 1);
    refused(
        &world.exchange(&token).await,
        400,
        "invalid_grant",
        "used before",
    );
    // It stays used once what ended is forgotten, for as long as it lives.
    world.app.advance(100);
    world.app.kavach().engine().forget().await.unwrap();
    refused(
        &world.exchange(&token).await,
        400,
        "invalid_grant",
        "used before",
    );
    // The twin: a new one.
    world.exchange(&world.token()).await.expect(200);
}

#[tokio::test]
async fn an_exchange_that_fails_does_not_use_the_token_up() {
    let world = world().await;
    let token = world.token();
    let mut ask = asked(&token);
    ask.retain(|(name, _)| *name != "scope");
    ask.push(("scope", "tools:call:delete"));
    let call = || {
        world
            .app
            .anonymous()
            .header("authorization", &basic("clerk-web", &secret()))
    };
    let beyond = call().post_form(TOKEN, &ask).await;
    assert_eq!(
        (beyond.status, beyond.code()),
        (400, "invalid_grant"),
        "{beyond}"
    );
    assert!(
        beyond.text_at("/error_description").contains("ceiling"),
        "{beyond}"
    );
    world.exchange(&token).await.expect(200);
}

#[tokio::test]
async fn nothing_exceeds_the_ceilings_of_provider_and_presenter() {
    let wide =
        |terms: &mut ProviderTerms| terms.ceiling = permissions(&may(&["*"], "tools:call:*"));
    let (narrow, wide) = (world().await, world_with(wide).await);
    for (world, status) in [(&narrow, 400), (&wide, 200)] {
        let token = world.token();
        let mut ask = asked(&token);
        ask.retain(|(name, _)| *name != "scope");
        ask.push(("scope", "tools:call:delete"));
        let call = world
            .app
            .anonymous()
            .header("authorization", &basic("clerk-web", &secret()));
        assert_eq!(call.post_form(TOKEN, &ask).await.status, status);
    }
    // An operator's key has a ceiling of its own.
    let key = |scopes: Value, ceiling: Value| {
        let app = &wide.app;
        async move {
            app.key(json!({ "name": "back end", "scopes": scopes, "ceiling": ceiling }))
                .await
        }
    };
    let bounded = key(json!(["exchange:clerk"]), may(&["*"], "tools:call:search")).await;
    let present = |key: String, scope: &'static str, sub: &'static str| {
        let token = wide.signed(&with(
            with(wide.claims(), "jti", json!(format!("{key}{scope}"))),
            "sub",
            json!(sub),
        ));
        let call = wide.app.call(&key);
        async move {
            let mut ask = asked(&token);
            ask.retain(|(name, _)| *name != "scope");
            ask.push(("scope", scope));
            call.post_form(TOKEN, &ask).await
        }
    };
    present(bounded.clone(), "tools:call:search", "user_1")
        .await
        .expect(200);
    let beyond = present(bounded.clone(), "tools:call:delete", "user_1").await;
    refused(&beyond, 400, "invalid_grant", "ceiling");
    // It makes no human who may do more than itself.
    let born = present(bounded, "tools:call:search", "user_9").await;
    refused(&born, 400, "invalid_grant", "first mention");
    let free = key(json!(["exchange:clerk"]), Value::Null).await;
    present(free.clone(), "tools:call:delete", "user_9")
        .await
        .expect(200);
    let record = last_record(&wide.app).await;
    assert!(
        record["details"]["presenter"]
            .as_str()
            .unwrap()
            .starts_with("key_"),
        "{record}"
    );
}

#[tokio::test]
async fn only_a_registered_client_or_a_key_with_the_scope_presents_a_token() {
    let world = world().await;
    let app = &world.app;
    let token = world.token();
    let wrong = [
        basic("clerk-web", &"x".repeat(34)),
        basic("other", &secret()),
        basic("clerk-web", ""),
        "Basic".to_owned(),
        "Bearer kv_key_x".to_owned(),
    ];
    for authorization in wrong {
        refused(
            &as_client(app, &authorization, &token).await,
            401,
            "invalid_client",
            "",
        );
    }
    refused(
        &app.anonymous().post_form(TOKEN, &asked(&token)).await,
        401,
        "invalid_client",
        "presented by",
    );
    // Guesses are on record as strangers' are.
    let refusals = app.audit("kind=refusal").await;
    assert!(refusals.len() >= 3, "{refusals:?}");
    // In the body, and not in both places.
    let body = |secret: &'static str| {
        let mut ask: Vec<(&str, &str)> = asked(&token);
        ask.extend([("client_id", "clerk-web"), ("client_secret", secret)]);
        ask
    };
    let own: &'static str = secret().leak();
    let call = app
        .anonymous()
        .header("authorization", &basic("clerk-web", own));
    refused(
        &call.post_form(TOKEN, &body(own)).await,
        400,
        "invalid_request",
        "one way",
    );
    refused(
        &app.anonymous()
            .post_form(TOKEN, &body("wrong-wrong-wrong-wrong-wrong-wrong"))
            .await,
        401,
        "invalid_client",
        "",
    );
    app.anonymous()
        .post_form(TOKEN, &body(own))
        .await
        .expect(200);
    // Keys without the scope, or with that of another provider; agents and humans.
    let token = world.signed(&with(world.claims(), "jti", json!("2")));
    for scopes in [json!(["agents:write"]), json!(["exchange:auth0"])] {
        let key = app.key(json!({ "name": "k", "scopes": scopes })).await;
        let reply = app.call(&key).post_form(TOKEN, &asked(&token)).await;
        refused(&reply, 400, "invalid_grant", "may not present");
    }
    let session = app.session(&app.user().await).await;
    let reply = app
        .call(&session.token)
        .post_form(TOKEN, &asked(&token))
        .await;
    refused(&reply, 401, "invalid_client", "");
    let key = app
        .key(json!({ "name": "k", "scopes": ["exchange:clerk"] }))
        .await;
    app.call(&key)
        .post_form(TOKEN, &asked(&token))
        .await
        .expect(200);
    // A key that is revoked presents nothing more, and a client stands beside no other subject.
    app.operator()
        .delete(&key_path(app, &key).await)
        .await
        .expect(200);
    let reply = app
        .call(&key)
        .post_form(
            TOKEN,
            &asked(&world.signed(&with(world.claims(), "jti", json!("3")))),
        )
        .await;
    refused(&reply, 401, "invalid_client", "");
    let other = basic("clerk-web", own);
    let ask = [
        ("grant_type", GRANT),
        ("subject_token", session.token.as_str()),
        ("subject_token_type", SESSION),
        ("audience", TOOLS),
        ("reason", "r"),
    ];
    let reply = app
        .anonymous()
        .header("authorization", &other)
        .post_form(TOKEN, &ask)
        .await;
    refused(&reply, 401, "invalid_client", "");
}

/// The path of the key that is shown as this one begins.
async fn key_path(app: &TestApp, key: &str) -> String {
    let keys = app.operator().get("/api/v1/keys").await.expect(200);
    let mut rows = keys.rows().iter();
    let row = rows
        .find(|row| key.starts_with(row["shown"].as_str().unwrap()))
        .unwrap();
    format!("/api/v1/keys/{}", row["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_scope_for_a_provider_is_given_on_by_who_has_it() {
    let world = world().await;
    let app = &world.app;
    let key = app
        .key(json!({ "name": "k", "scopes": ["keys:write", "exchange:clerk"] }))
        .await;
    let make = |scope: &'static str| {
        let call = app.call(&key);
        async move {
            call.post("/api/v1/keys", json!({ "name": "n", "scopes": [scope] }))
                .await
        }
    };
    let made = make("exchange:clerk").await.expect(201);
    assert_eq!(made.at("/data/scopes"), &json!(["exchange:clerk"]));
    assert_eq!(make("exchange:auth0").await.status, 403);
    for wrong in ["exchange:", "exchange:Clerk", "exchange:*", "exchange"] {
        let reply = app
            .operator()
            .post("/api/v1/keys", json!({ "name": "n", "scopes": [wrong] }))
            .await;
        assert_eq!(
            (reply.status, reply.text_at("/error/field")),
            (400, "scopes[0]"),
            "{wrong}"
        );
    }
}

/// Lessons C 13.
#[tokio::test]
async fn a_human_who_is_banned_or_deleted_here_is_nobodys() {
    let world = world().await;
    let app = &world.app;
    let reply = world.exchange(&world.token()).await.expect(200);
    let token = reply.text_at("/access_token").to_owned();
    let user = opened(app, &token).await.authority.subject.to_string();
    let again = |jti: &'static str| world.signed(&with(world.claims(), "jti", json!(jti)));
    let turn = |what: &'static str| {
        let path = format!("/api/v1/users/{user}/{what}");
        async move { app.operator().post(&path, json!({})).await.expect(200) }
    };
    judged(app, &token).await.unwrap();
    turn("ban").await;
    assert_eq!(judged(app, &token).await.unwrap_err().code, Code::Revoked);
    refused(
        &world.exchange(&again("1")).await,
        400,
        "invalid_grant",
        "banned or deleted",
    );
    let record = last_record(app).await;
    assert!(record["subject"].is_string(), "{record}");
    turn("unban").await;
    // The token of before stays dead; a new one is given.
    assert_eq!(judged(app, &token).await.unwrap_err().code, Code::Revoked);
    world.exchange(&again("1")).await.expect(200);
    app.operator()
        .delete(&format!("/api/v1/users/{user}"))
        .await
        .expect(200);
    refused(
        &world.exchange(&again("2")).await,
        400,
        "invalid_grant",
        "banned or deleted",
    );
    // Nobody is born again by being mentioned.
    assert_eq!(app.audit("kind=user.created").await.len(), 1);
}

#[tokio::test]
async fn the_grant_of_such_a_token_kills_it_too() {
    let world = world().await;
    let app = &world.app;
    let reply = world.exchange(&world.token()).await.expect(200);
    let token = reply.text_at("/access_token").to_owned();
    judged(app, &token).await.unwrap();
    let agent = opened(app, &token)
        .await
        .authority
        .agent()
        .unwrap()
        .to_string();
    let given = app
        .operator()
        .get(&format!("/api/v1/delegations?to={agent}"))
        .await
        .expect(200);
    let grant = given.rows()[0]["id"].as_str().unwrap().to_owned();
    app.operator()
        .delete(&format!("/api/v1/delegations/{grant}"))
        .await
        .expect(200);
    assert_eq!(judged(app, &token).await.unwrap_err().code, Code::Revoked);
}

#[tokio::test]
async fn the_humans_own_agent_may_be_the_one_that_shows_the_token() {
    let world = world().await;
    let app = &world.app;
    let first = world.exchange(&world.token()).await.expect(200);
    let user = opened(app, first.text_at("/access_token"))
        .await
        .authority
        .subject
        .to_string();
    let own = app.agent(&user, may(&["*"], "tools:call:search")).await;
    let strange = app
        .agent(&app.user().await, may(&["*"], "tools:call:search"))
        .await;
    for (agent, status) in [(&strange, 400), (&own, 200)] {
        let token = world.signed(&with(world.claims(), "jti", json!(agent.id)));
        let mut ask = asked(&token);
        ask.extend([
            ("actor_token", agent.key.as_str()),
            ("actor_token_type", AGENT_KEY),
        ]);
        let call = app
            .anonymous()
            .header("authorization", &basic("clerk-web", &secret()));
        let reply = call.post_form(TOKEN, &ask).await;
        assert_eq!(reply.status, status, "{reply}");
        if status == 200 {
            let leaf = opened(app, reply.text_at("/access_token")).await;
            assert_eq!(leaf.authority.agent().unwrap().to_string(), own.id);
        }
    }
}

/// A root of a provider's human is as narrow as a token would be, and uses the provider's token up.
#[tokio::test]
async fn a_root_of_such_a_human_keeps_to_the_ceilings_and_uses_the_token_up() {
    let world = world().await;
    let app = &world.app;
    let first = world.exchange(&world.token()).await.expect(200);
    let user = opened(app, first.text_at("/access_token"))
        .await
        .authority
        .subject
        .to_string();
    let offline = json!({ "offline": true });
    let agent = app
        .agent_with(&user, may(&["*"], "tools:call:search"), offline)
        .await;
    let token = world.signed(&with(world.claims(), "jti", json!("root")));
    for (id, scope, expected) in [
        ("1", "tools:call:delete", "ceiling"),
        ("2", "tools:call:search", ""),
        ("3", "tools:call:search", "used before"),
    ] {
        let mut ask = asked(&token);
        ask.retain(|(name, _)| *name != "scope");
        ask.extend([
            ("scope", scope),
            ("actor_token", agent.key.as_str()),
            ("actor_token_type", AGENT_KEY),
            (
                "requested_token_type",
                "urn:kavachos:params:oauth:token-type:root",
            ),
        ]);
        let (proof, _) = proof(app, 9, id);
        let call = app
            .anonymous()
            .header("authorization", &basic("clerk-web", &secret()));
        let reply = call.header("dpop", &proof).post_form(TOKEN, &ask).await;
        if expected.is_empty() {
            let seconds = reply.expect(200).at("/expires_in").as_u64().unwrap();
            assert!(seconds <= 120, "{seconds}");
        } else {
            refused(&reply, 400, "invalid_grant", expected);
        }
    }
}

#[tokio::test]
async fn an_hour_without_word_from_a_provider_ends_belief_in_it() {
    let world = world().await;
    let fresh = || world.signed(&with(world.claims(), "jti", json!(seconds(&world.app))));
    world.exchange(&fresh()).await.expect(200);
    world.provider.answers(KeysAnswer::Status(500));
    world.app.advance(59 * 60);
    world.exchange(&fresh()).await.expect(200);
    world.app.advance(60);
    let silent = world.exchange(&fresh()).await;
    refused(
        &silent,
        503,
        "temporarily_unavailable",
        "keys cannot be fetched",
    );
    assert!(silent.header("retry-after").parse::<u64>().unwrap() <= 30);
    // The twin: it is there again.
    world
        .provider
        .answers(KeysAnswer::Keys(vec![ProviderSigner::Rsa.jwk()]));
    world.app.advance(30);
    world.exchange(&fresh()).await.expect(200);
}

#[tokio::test]
async fn a_new_key_is_found_and_one_that_is_gone_is_dropped() {
    let world = world().await;
    let by = |signer: ProviderSigner| {
        let claims = with(
            world.claims(),
            "jti",
            json!(format!("{signer:?}{}", world.provider.fetches())),
        );
        signer.token(&header(signer), &claims)
    };
    world
        .provider
        .answers(KeysAnswer::Keys(vec![ProviderSigner::Rsa.jwk()]));
    world.exchange(&by(ProviderSigner::Rsa)).await.expect(200);
    disbelieved(
        &world.exchange(&by(ProviderSigner::P256)).await,
        "unknown_key",
    );
    world
        .provider
        .answers(KeysAnswer::Keys(vec![ProviderSigner::P256.jwk()]));
    // Not before half a minute is over.
    disbelieved(
        &world.exchange(&by(ProviderSigner::P256)).await,
        "unknown_key",
    );
    assert_eq!(world.provider.fetches(), 1);
    world.app.advance(30);
    world.exchange(&by(ProviderSigner::P256)).await.expect(200);
    disbelieved(
        &world.exchange(&by(ProviderSigner::Rsa)).await,
        "unknown_key",
    );
    assert_eq!(world.provider.fetches(), 2);
}

/// Lessons C 15: what a provider answers is held against the rules of every fetch.
#[tokio::test]
async fn keys_that_are_too_many_elsewhere_or_anothers_are_not_taken() {
    let elsewhere = TestProvider::start("").await;
    let keys = json!({ "keys": ProviderSigner::PUBLISHED.map(ProviderSigner::jwk) }).to_string();
    let padded = format!("{keys}{}", " ".repeat(200 * 1024));
    for answer in [
        KeysAnswer::Text(padded),
        KeysAnswer::Redirect(elsewhere.jwks_uri()),
        KeysAnswer::Text(keys.replace("\"keys\"", "\"keys\":[],\"keys\"")),
        KeysAnswer::Text(json!({ "keys": [] }).to_string()),
        KeysAnswer::Text("<html>".to_owned()),
        KeysAnswer::Status(404),
    ] {
        let world = world().await;
        world.provider.answers(answer);
        let reply = world.exchange(&world.token()).await;
        refused(
            &reply,
            503,
            "temporarily_unavailable",
            "keys cannot be fetched",
        );
        // The twin: the same keys as they should be.
        world.provider.answers(KeysAnswer::Text(keys.clone()));
        world.app.advance(30);
        world.exchange(&world.token()).await.expect(200);
    }
    assert_eq!(elsewhere.fetches(), 0);
    // A document of another issuer, and one whose keys are not asked for through it.
    let world = world().await;
    world.provider.says_it_is(&elsewhere.issuer());
    let reply = world.exchange(&world.token()).await;
    refused(
        &reply,
        503,
        "temporarily_unavailable",
        "keys cannot be fetched",
    );
    assert_eq!(elsewhere.fetches(), 0);
    let direct = world_with(|terms| {
        terms.jwks_uri = Some(format!("{}/jwks", terms.issuer));
    })
    .await;
    direct.provider.says_it_is(&elsewhere.issuer());
    direct.exchange(&direct.token()).await.expect(200);
}

#[tokio::test]
async fn a_server_that_fetches_nothing_from_its_machine_believes_no_provider_on_it() {
    let provider = TestProvider::start("").await;
    let app = believing(vec![terms("clerk", &provider)])
        .in_the_open()
        .start()
        .await;
    register(&app, json!({})).await;
    let now = seconds(&app);
    let claims =
        json!({ "iss": provider.issuer(), "sub": "u", "aud": "app", "iat": now, "exp": now + 60 });
    let token = ProviderSigner::Rsa.token(&header(ProviderSigner::Rsa), &claims);
    refused(
        &exchange(&app, &token).await,
        503,
        "temporarily_unavailable",
        "keys cannot be fetched",
    );
    assert_eq!(provider.fetches(), 0);
}
