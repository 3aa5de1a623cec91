//! "Keep your provider": identity tokens of Clerk, Auth0, Auth.js, better-auth and others, exchanged for tokens of ours.
//! Each refusal stands beside the same exchange with the control switched off or the fault mended.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use kavachos_core::permission::PermissionSet;
use kavachos_core::time::Timestamp;
use kavachos_engine::{ClientTerms, Provider, ProviderTerms, Providers};
use kavachos_test::{KeysAnswer, ProviderSigner, Reply, START, Setup, TestApp, TestProvider, may};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::exchange::{GRANT, ID_TOKEN, TOKEN};
use crate::tokens::{TOOLS, judged, now, opened, register};

/// The secret of every client.
pub(crate) fn secret() -> String {
    "a-secret-of-a-back-end-of-a-test-42".to_owned()
}

pub(crate) fn permissions(value: &Value) -> PermissionSet {
    PermissionSet::from_json(value).unwrap()
}

/// What is believed of a provider: its humans may have tools called that search.
pub(crate) fn terms(name: &str, provider: &TestProvider) -> ProviderTerms {
    let ceiling = permissions(&may(&["*"], "tools:call:search"));
    let mut terms = ProviderTerms::new(name, &provider.issuer(), ceiling);
    terms.audiences = vec!["app".to_owned()];
    terms.clients = vec![ClientTerms::with_secret(&format!("{name}-web"), &secret()).unwrap()];
    terms
}

pub(crate) fn believing(terms: Vec<ProviderTerms>) -> Setup {
    let providers = terms.into_iter().map(|terms| Provider::new(terms).unwrap());
    let providers = Providers::new(providers.collect()).unwrap();
    crate::setup().settings(|settings| settings.providers = providers)
}

pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) provider: TestProvider,
}

/// A server that believes one provider, named `clerk`, and a tool server.
pub(crate) async fn world_with(change: impl FnOnce(&mut ProviderTerms)) -> World {
    let provider = TestProvider::start("").await;
    let mut terms = terms("clerk", &provider);
    change(&mut terms);
    let app = believing(vec![terms]).start().await;
    register(&app, json!({})).await;
    World { app, provider }
}

pub(crate) async fn world() -> World {
    world_with(|_| ()).await
}

pub(crate) fn seconds(app: &TestApp) -> i64 {
    now(app).as_micros() / 1_000_000
}

pub(crate) fn header(signer: ProviderSigner) -> Value {
    json!({ "alg": signer.alg(), "kid": signer.kid(), "typ": "JWT" })
}

pub(crate) fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

impl World {
    /// What the provider says of a human now.
    pub(crate) fn claims(&self) -> Value {
        let now = seconds(&self.app);
        json!({ "iss": self.provider.issuer(), "sub": "user_1", "aud": "app", "iat": now - 1, "exp": now + 120 })
    }

    pub(crate) fn signed(&self, claims: &Value) -> String {
        ProviderSigner::Rsa.token(&header(ProviderSigner::Rsa), claims)
    }

    pub(crate) fn token(&self) -> String {
        self.signed(&self.claims())
    }

    pub(crate) async fn exchange(&self, token: &str) -> Reply {
        exchange(&self.app, token).await
    }
}

pub(crate) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

pub(crate) fn asked(token: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", GRANT),
        ("subject_token", token),
        ("subject_token_type", ID_TOKEN),
        ("audience", TOOLS),
        ("scope", "tools:call:search"),
        ("reason", "find sources"),
    ]
}

pub(crate) async fn exchange(app: &TestApp, token: &str) -> Reply {
    as_client(app, &basic("clerk-web", &secret()), token).await
}

pub(crate) async fn as_client(app: &TestApp, authorization: &str, token: &str) -> Reply {
    let call = app.anonymous().header("authorization", authorization);
    call.post_form(TOKEN, &asked(token)).await
}

#[track_caller]
pub(crate) fn refused(reply: &Reply, status: u16, code: &str, word: &str) {
    assert_eq!((reply.status, reply.code()), (status, code), "{reply}");
    let description = reply.text_at("/error_description");
    assert!(description.contains(word), "{word}: {description}");
}

/// Refused for what is wrong with the token: as no token at all, or as one that is not believed.
#[track_caller]
pub(crate) fn disbelieved(reply: &Reply, code: &str) {
    let is_none = ["malformed", "wrong_type", "alg_not_allowed"].contains(&code);
    let error = if is_none {
        "invalid_request"
    } else {
        "invalid_grant"
    };
    refused(reply, 400, error, code);
}

/// The last record of a token that was or was not given.
pub(crate) async fn last_record(app: &TestApp) -> Value {
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
    type Member = fn(i64) -> Value;
    let rows: [(&str, Member, &str, Change); 5] = [
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
