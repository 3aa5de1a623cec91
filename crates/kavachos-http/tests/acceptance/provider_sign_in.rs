//! "Keep your provider" as sign-in for the API: humans call with tokens of Clerk, Auth0, Auth.js, better-auth and any other
//! issuer, as with a session. Each refusal stands beside the same call with the fault mended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use kavachos_core::id_token::TokenKind;
use kavachos_engine::{FreshBy, NewHumans, ProviderTerms, Rehearsal, SignInTerms};
use kavachos_test::{KeysAnswer, ProviderSigner, Reply, TestAgent, TestApp, TestProvider, may};
use serde_json::{Value, json};

use crate::id_tokens::{World, believing, header, permissions, seconds, terms, with, world_with};
use crate::moving::{export, import};
use crate::restore::{log_of, restore};
use crate::tokens::{self, DELEGATE, own, register};

const API: &str = "https://api.example.com";
const ORIGIN: &str = "https://app.example.com";
const AGENTS: &str = "/api/v1/agents";

/// A kind of token that signs in, for these audiences and parties.
pub(crate) fn kind(kind: TokenKind, audiences: &[&str], parties: &[&str]) -> SignInTerms {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    SignInTerms {
        audiences: texts(audiences),
        parties: texts(parties),
        ..SignInTerms::new(kind)
    }
}

/// How a provider's tokens look that sign in here, and how that is written down.
struct Shape {
    name: &'static str,
    path: &'static str,
    signer: ProviderSigner,
    header: Value,
    /// Without `iss`, `sub`, `iat` and `exp`.
    claims: Value,
    kind: SignInTerms,
}

fn shapes(now: i64) -> Vec<Shape> {
    let issued = |kind: SignInTerms| SignInTerms {
        fresh_by: FreshBy::Issue,
        ..kind
    };
    vec![
        Shape {
            name: "clerk",
            path: "",
            signer: ProviderSigner::Rsa,
            header: json!({ "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_rsa", "typ": "JWT" }),
            claims: json!({ "azp": ORIGIN, "sid": "sess_1", "sts": "active", "fva": [0, -1], "v": 2, "nbf": now - 10 }),
            kind: kind(TokenKind::Session, &[], &[ORIGIN]),
        },
        Shape {
            name: "auth0",
            path: "/",
            signer: ProviderSigner::Rsa,
            header: header(ProviderSigner::Rsa),
            claims: json!({ "aud": [API, "https://tenant.auth0.com/userinfo"], "azp": "client",
                "scope": "openid profile email" }),
            // Its tokens for an API do not say when the human signed in.
            kind: issued(kind(TokenKind::Access, &[API], &[])),
        },
        Shape {
            name: "authjs",
            path: "",
            signer: ProviderSigner::P256,
            header: header(ProviderSigner::P256),
            // Its session is encrypted for itself alone: what it keeps at sign-in is the provider's `account.id_token`.
            claims: json!({ "aud": "app", "azp": "app", "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "auth_time": now - 60,
                "email": "ada@example.com", "email_verified": true }),
            kind: kind(TokenKind::Identity, &[], &[]),
        },
        Shape {
            name: "better-auth",
            path: "/api/auth",
            signer: ProviderSigner::Ed25519,
            // As its plugin `jwt` makes them.
            header: json!({ "alg": "EdDSA", "kid": "ed25519" }),
            claims: json!({ "aud": "app", "email": "ada@example.com", "emailVerified": true, "name": "Ada" }),
            kind: issued(kind(TokenKind::Identity, &[], &[])),
        },
        Shape {
            name: "keycloak",
            path: "/realms/one",
            signer: ProviderSigner::P256,
            header: json!({ "alg": "ES256", "kid": "p256", "typ": "at+jwt" }),
            claims: json!({ "aud": API, "client_id": "web", "jti": "1", "typ": "Bearer", "auth_time": now - 60 }),
            kind: kind(TokenKind::Access, &[API], &["web"]),
        },
    ]
}

impl Shape {
    fn token(&self, provider: &TestProvider, human: &str, now: i64) -> String {
        let mut claims = self.claims.clone();
        for (name, value) in [
            ("iss", json!(provider.issuer())),
            ("sub", json!(human)),
            ("iat", json!(now)),
            ("exp", json!(now + 300)),
        ] {
            claims[name] = value;
        }
        self.signer.token(&self.header, &claims)
    }
}

fn new_agent() -> Value {
    json!({ "name": "mine", "type": "service", "permissions": may(&["read"], "mcp:notes") })
}

async fn reads(app: &TestApp, agent: &TestAgent) -> Reply {
    let question = json!({ "action": "read", "resource": "mcp:notes" });
    app.call(&agent.key)
        .post("/api/v1/authorize", question)
        .await
}

/// Their agents, as a human sees them.
async fn agents(app: &TestApp, token: &str) -> Reply {
    app.call(token).get(AGENTS).await
}

/// The human whom a provider names so.
async fn human(app: &TestApp, provider: &str, id: &str) -> Option<Value> {
    let users = app.operator().get("/api/v1/users").await.expect(200);
    let external = json!({ "provider": provider, "externalId": id });
    let mut users = users.rows().iter();
    users.find(|user| user["external"] == external).cloned()
}

async fn turn(app: &TestApp, user: &Value, how: &str) {
    let path = format!("/api/v1/users/{}/{how}", user["id"].as_str().unwrap());
    app.operator().post(&path, json!({})).await.expect(200);
}

#[tokio::test]
async fn a_human_of_each_provider_calls_has_an_agent_and_is_stopped_with_it() {
    let start = kavachos_test::START
        .parse::<kavachos_core::time::Timestamp>()
        .unwrap();
    let now = start.as_micros() / 1_000_000;
    let (mut all, mut providers) = (Vec::new(), Vec::new());
    for shape in shapes(now) {
        let provider = TestProvider::start(shape.path).await;
        let mut terms = terms(shape.name, &provider);
        terms.ceiling = permissions(&may(&["read"], "mcp:*"));
        terms.sign_in = vec![shape.kind.clone()];
        all.push(terms);
        providers.push((shape, provider));
    }
    let app = believing(all).start().await;
    for (shape, provider) in &providers {
        let name = shape.name;
        let token = shape.token(provider, "user_1", now);
        assert!(human(&app, name, "user_1").await.is_none());
        assert_eq!(agents(&app, &token).await.expect(200).rows().len(), 0);
        let user = human(&app, name, "user_1").await.unwrap();
        assert_eq!(user["permissions"][0]["resource"], "mcp:*", "{name}");
        let born = app.audit("kind=user.created").await.remove(0);
        assert_eq!(born["details"]["provider"], name);
        assert_eq!(
            born["details"]["token"],
            shape.kind.kind.as_str(),
            "{name}: {born}"
        );
        // Their own agent, which acts, and which they see and read of.
        let made = app.call(&token).post(AGENTS, new_agent()).await.expect(201);
        let agent = TestAgent::of(&made);
        assert_eq!(made.at("/data/userId"), &user["id"], "{name}");
        reads(&app, &agent).await.decided("allowed");
        assert_eq!(agents(&app, &token).await.expect(200).rows().len(), 1);
        let seen = app.call(&token).get("/api/v1/audit").await.expect(200);
        assert!(
            seen.rows().iter().all(|row| row["subject"] == user["id"]),
            "{name}"
        );
        // Somebody else of the same provider, who goes on.
        let other = shape.token(provider, "user_2", now);
        agents(&app, &other).await.expect(200);
        turn(&app, &user, "ban").await;
        let denied = reads(&app, &agent).await;
        assert_ne!(denied.code(), "allowed", "{name}: {denied}");
        agents(&app, &token).await.refused(401, "unauthenticated");
        agents(&app, &other).await.expect(200);
        assert_eq!(provider.fetches(), 1, "{name}");
    }
}

/// Lessons C 13: what was made before stays dead, and what comes after lives.
#[tokio::test]
async fn a_token_of_before_a_ban_is_dead_for_good_and_one_of_a_deleted_human_too() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    let before = world.token();
    agents(app, &before).await.expect(200);
    let user = human(app, "clerk", "user_1").await.unwrap();
    app.advance(5);
    turn(app, &user, "ban").await;
    turn(app, &user, "unban").await;
    agents(app, &before).await.refused(401, "unauthenticated");
    // The provider's clock may go 30 seconds wrong.
    app.advance(29);
    agents(app, &world.token())
        .await
        .refused(401, "unauthenticated");
    app.advance(3);
    let after = world.token();
    agents(app, &after).await.expect(200);
    agents(app, &before).await.refused(401, "unauthenticated");
    let path = format!("/api/v1/users/{}", user["id"].as_str().unwrap());
    app.operator().delete(&path).await.expect(200);
    app.advance(60);
    for token in [&after, &world.token()] {
        agents(app, token).await.refused(401, "unauthenticated");
    }
    // The pair is nobody's for ever.
    let users = app.operator().get("/api/v1/users").await.expect(200);
    assert_eq!(users.rows().len(), 1, "{users}");
}

/// A server that believes one provider, whose tokens of identity sign in.
pub(crate) async fn signing_in(change: impl FnOnce(&mut ProviderTerms)) -> World {
    world_with(|terms| {
        terms.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
        change(terms);
    })
    .await
}

#[tokio::test]
async fn tokens_of_a_provider_sign_in_only_where_that_is_written_down() {
    let (off, on) = (world_with(|_| ()).await, signing_in(|_| ()).await);
    agents(&off.app, &off.token())
        .await
        .refused(401, "unauthenticated");
    assert!(human(&off.app, "clerk", "user_1").await.is_none());
    agents(&on.app, &on.token()).await.expect(200);
    // Beside one whose tokens do.
    let (first, second) = (TestProvider::start("").await, TestProvider::start("").await);
    let mut believed = terms("first", &first);
    believed.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
    let app = believing(vec![believed, terms("second", &second)])
        .start()
        .await;
    for (provider, status) in [(&first, 200), (&second, 401)] {
        let claims = with(on.claims(), "iss", json!(provider.issuer()));
        agents(&app, &on.signed(&claims)).await.expect(status);
    }
    assert_eq!(second.fetches(), 0);
}

/// Lessons C 22, 52: what is wrong with a token, and the same token as it should be.
#[tokio::test]
async fn a_token_counts_only_as_it_is_written_down() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    let now = seconds(app);
    let claims = world.claims();
    agents(app, &world.token()).await.expect(200);
    for (claim, value) in [
        ("aud", json!("another-app")),
        ("aud", json!(["app", "another-app"])),
        ("azp", json!("another-app")),
        ("iss", json!("https://elsewhere.example.com")),
        ("exp", json!(now)),
        ("iat", json!(now - 3_601)),
        ("iat", json!(now + 31)),
        ("nbf", json!(now + 31)),
        ("auth_time", json!(now - 31 * 24 * 60 * 60)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("act", json!({ "sub": "support" })),
        ("scope", json!("openid")),
        ("events", json!({})),
        ("token_use", json!("access")),
        ("typ", json!("Bearer")),
    ] {
        let token = world.signed(&with(claims.clone(), claim, value.clone()));
        let reply = agents(app, &token).await;
        assert_eq!(reply.status, 401, "{claim} {value}: {reply}");
    }
    let unsigned = |alg: &str| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": alg, "kid": "ins_rsa", "typ": "JWT" });
        format!("{}.{}.{}", part(&header), part(&claims), "AAAA")
    };
    let jwk = ProviderSigner::Rsa.jwk();
    for token in [
        unsigned("none"),
        unsigned("HS256"),
        unsigned("RS256"),
        ProviderSigner::StrangeRsa.token(&header(ProviderSigner::Rsa), &claims),
        // Another of the provider's keys than the header says, and a header that brings one along.
        ProviderSigner::P256.token(&header(ProviderSigner::Rsa), &claims),
        ProviderSigner::Rsa.token(&with(header(ProviderSigner::Rsa), "jwk", jwk), &claims),
        ProviderSigner::Rsa.token(
            &with(header(ProviderSigner::Rsa), "typ", json!("at+jwt")),
            &claims,
        ),
        format!("{}.", world.token()),
        format!("{}=", world.token()),
    ] {
        let reply = agents(app, &token).await;
        assert_eq!(reply.status, 401, "{token}: {reply}");
    }
    assert_eq!(app.audit("kind=user.created").await.len(), 1);
    agents(app, &world.token()).await.expect(200);
}

/// A token of one kind is none of another, also with the other's audience.
#[tokio::test]
async fn each_kind_of_token_is_accepted_where_it_is_named_and_not_in_anothers_place() {
    let kinds = [
        kind(TokenKind::Identity, &["app"], &[]),
        kind(TokenKind::Access, &[API], &[]),
        kind(TokenKind::Session, &["session-api"], &[ORIGIN]),
    ];
    let more = [
        json!({ "aud": "app", "nonce": "n-1" }),
        json!({ "aud": API, "azp": "client", "scope": "openid" }),
        json!({ "azp": ORIGIN, "sid": "sess_1" }),
    ];
    for (only, own) in kinds.iter().zip(0..) {
        let world = world_with(|terms| terms.sign_in = vec![only.clone()]).await;
        for (more, of) in more.iter().zip(0..) {
            let mut claims = world.claims();
            claims.as_object_mut().unwrap().remove("aud");
            for (name, value) in more.as_object().unwrap() {
                claims[name] = value.clone();
            }
            let audience = only.audiences[0].clone();
            let forged = with(claims.clone(), "aud", json!(audience));
            for claims in [claims, forged] {
                let reply = agents(&world.app, &world.signed(&claims)).await;
                let expected = if own == of { 200 } else { 401 };
                assert_eq!(reply.status, expected, "{claims}: {reply}");
            }
        }
    }
}

/// Lessons C 58: nothing that we signed ourselves signs anybody in.
#[tokio::test]
async fn our_own_tokens_are_nobodys_sign_in() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let leaf = app.call(&agent.key).post(DELEGATE, own(&agent)).await;
    let leaf = leaf.expect(200).text_at("/data/token").to_owned();
    let poll =
        json!({ "nonce": "n", "instance": "i", "epoch": 0, "rseq": 0, "rhash": "A".repeat(43) });
    let head = app.operator().post("/api/v1/revocations/head", poll).await;
    let head = head.expect(200).text_at("/data/head").to_owned();
    let (proof, _) = tokens::proof_at(app, AGENTS, (7, "one"));
    for token in [&leaf, &head, &proof] {
        assert_eq!(token.split('.').count(), 3);
        agents(app, token).await.refused(401, "unauthenticated");
        // The same at the other ways in.
        let body = json!({ "action": "read", "resource": "mcp:notes" });
        let reply = app.call(token).post("/api/v1/authorize", body).await;
        reply.refused(401, "unauthenticated");
    }
    agents(app, &world.token()).await.expect(200);
}

#[tokio::test]
async fn unknown_keys_are_asked_for_once_in_a_while_and_keep_nobody_out() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    agents(app, &world.token()).await.expect(200);
    for round in 0..200 {
        let header = with(
            header(ProviderSigner::Rsa),
            "kid",
            json!(format!("k{round}")),
        );
        let token = ProviderSigner::Rsa.token(&header, &world.claims());
        agents(app, &token).await.refused(401, "unauthenticated");
    }
    assert_eq!(world.provider.fetches(), 1);
    agents(app, &world.token()).await.expect(200);
    // The twin: half a minute later one of them is asked for, once.
    app.advance(30);
    for round in 0..20 {
        let header = with(
            header(ProviderSigner::Rsa),
            "kid",
            json!(format!("l{round}")),
        );
        let token = ProviderSigner::Rsa.token(&header, &world.claims());
        agents(app, &token).await.refused(401, "unauthenticated");
    }
    assert_eq!(world.provider.fetches(), 2);
}

#[tokio::test]
async fn without_word_from_the_provider_nobody_of_it_comes_in_and_others_do() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    agents(app, &world.token()).await.expect(200);
    world.provider.answers(KeysAnswer::Status(500));
    app.advance(60 * 60);
    let silent = agents(app, &world.token()).await.expect(503);
    assert!(silent.header("retry-after").parse::<u64>().unwrap() <= 30);
    app.operator().get(AGENTS).await.expect(200);
}

#[tokio::test]
async fn what_needs_a_fresh_human_needs_a_sign_in_that_the_provider_tells_of() {
    let by_issue = |terms: &mut ProviderTerms| terms.sign_in[0].fresh_by = FreshBy::Issue;
    let (world, issued) = (
        signing_in(|terms| terms.ceiling = permissions(&may(&["read"], "mcp:*"))).await,
        signing_in(|terms| {
            terms.ceiling = permissions(&may(&["read"], "mcp:*"));
            by_issue(terms);
        })
        .await,
    );
    let now = seconds(&world.app);
    for (auth_time, status) in [(Some(now - 599), 201), (Some(now - 600), 403), (None, 403)] {
        let mut claims = world.claims();
        if let Some(auth_time) = auth_time {
            claims["auth_time"] = auth_time.into();
        }
        let token = world.signed(&claims);
        // Reading is not what needs it.
        agents(&world.app, &token).await.expect(200);
        let made = world.app.call(&token).post(AGENTS, new_agent()).await;
        assert_eq!(made.status, status, "{auth_time:?}: {made}");
        if status == 403 {
            assert!(
                made.message().contains("reauthentication required"),
                "{made}"
            );
        }
    }
    // The twin: that the token was made counts there.
    let caller = issued.app.call(&issued.token());
    caller.post(AGENTS, new_agent()).await.expect(201);
    issued.app.advance(601);
    let old = with(issued.claims(), "iat", json!(now));
    let old = issued.signed(&old);
    agents(&issued.app, &old).await.expect(200);
    let late = issued.app.call(&old).post(AGENTS, new_agent()).await;
    late.refused(403, "forbidden");
}

#[tokio::test]
async fn a_human_approves_by_their_providers_token_and_not_above_its_ceiling() {
    let world = signing_in(|terms| {
        terms.ceiling = permissions(&may(&["run"], "mcp:deploy:site"));
        terms.sign_in[0].fresh_by = FreshBy::Issue;
    })
    .await;
    let app = &world.app;
    agents(app, &world.token()).await.expect(200);
    let user = human(app, "clerk", "user_1").await.unwrap();
    let id = user["id"].as_str().unwrap().to_owned();
    // An operator lets the human do more than the provider's word may.
    let wider = json!({ "permissions": may(&["run"], "mcp:deploy:*") });
    let path = format!("/api/v1/users/{id}");
    app.operator().patch(&path, wider).await.expect(200);
    app.advance(60);
    let asks =
        kavachos_test::may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
    let agent = app.agent(&id, asks).await;
    let session = app.session(&id).await;
    for (resource, by_provider) in [("mcp:deploy:site", 200), ("mcp:deploy:all", 403)] {
        let question = json!({ "action": "run", "resource": resource });
        let asked = app
            .call(&agent.key)
            .post("/api/v1/authorize", question)
            .await;
        let path = format!("/api/v1/approvals/{}", asked.text_at("/data/approvalId"));
        let token = world.token();
        let shown = app.call(&token).get(&path).await.expect(200);
        let body = json!({ "digest": shown.at("/data/digest") });
        let approve = format!("{path}/approve");
        let answer = app.call(&token).post(&approve, body.clone()).await;
        assert_eq!(answer.status, by_provider, "{resource}: {answer}");
        if by_provider == 403 {
            // The twin: the human's own session.
            app.call(&session.token)
                .post(&approve, body)
                .await
                .expect(200);
        }
    }
    let wide =
        json!({ "name": "w", "type": "service", "permissions": may(&["run"], "mcp:deploy:*") });
    let made = app.call(&world.token()).post(AGENTS, wide.clone()).await;
    assert!(made.message().contains("provider's ceiling"), "{made}");
    app.call(&session.token)
        .post(AGENTS, wide)
        .await
        .expect(201);
}

#[tokio::test]
async fn nobody_is_made_where_new_humans_are_refused() {
    for (new_humans, status) in [(NewHumans::Refused, 403), (NewHumans::Created, 200)] {
        let world = signing_in(|terms| terms.new_humans = new_humans).await;
        let app = &world.app;
        agents(app, &world.token()).await.expect(status);
        let known = human(app, "clerk", "user_1").await;
        assert_eq!(known.is_some(), status == 200);
        if known.is_none() {
            let external = json!({ "external": { "provider": "clerk", "externalId": "user_1" } });
            let created = app.operator().post("/api/v1/users", external).await;
            created.expect(201);
            agents(app, &world.token()).await.expect(200);
        }
    }
}

/// A backup may not know who was banned since: new humans wait, and tokens of before count no more.
#[tokio::test]
async fn after_a_restoration_new_humans_wait_and_old_tokens_are_over() {
    let world = signing_in(|_| ()).await;
    let old = world.token();
    agents(&world.app, &old).await.expect(200);
    let file = export(&world.app.operator()).await;
    let late = world.signed(&with(world.claims(), "sub", json!("late")));
    agents(&world.app, &late).await.expect(200);
    let user = human(&world.app, "clerk", "late").await.unwrap();
    turn(&world.app, &user, "ban").await;
    let log = log_of(&world.app).await;

    let mut terms = terms("clerk", &world.provider);
    terms.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
    let app = believing(vec![terms]).seeded(7).start().await;
    import(&app.operator(), &file).await.expect(200);
    assert!(restore(&app, Some(log), Rehearsal::No).await.humans_held);
    agents(&app, &old).await.refused(401, "unauthenticated");
    app.advance(60);
    let of = |human: &str| {
        let now = seconds(&app);
        let claims = with(with(world.claims(), "sub", json!(human)), "iat", json!(now));
        world.signed(&with(claims, "exp", json!(now + 60)))
    };
    // Who was here before goes on.
    agents(&app, &of("user_1")).await.expect(200);
    for human in ["late", "new"] {
        let held = agents(&app, &of(human)).await;
        let held = held.refused(403, "forbidden");
        assert!(held.message().contains("operator has to confirm"), "{held}");
    }
    let operator = app.call(world.app.operator_key());
    let admit = operator.post("/api/v1/users/admit", json!({})).await;
    admit.expect(200);
    agents(&app, &of("new")).await.expect(200);
}

#[tokio::test]
async fn a_providers_token_is_no_session() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    let token = world.token();
    agents(app, &token).await.expect(200);
    let caller = app.call(&token);
    caller
        .get("/api/auth/session")
        .await
        .refused(403, "forbidden");
    let out = caller.post("/api/auth/sign-out", json!({})).await;
    out.refused(403, "forbidden");
    // The human's sessions are the human's, whatever they call with.
    let user = human(app, "clerk", "user_1").await.unwrap();
    let session = app.session(user["id"].as_str().unwrap()).await;
    let listed = caller.get("/api/auth/sessions").await.expect(200);
    assert_eq!(listed.rows().len(), 1);
    assert_eq!(listed.at("/data/0/current"), &json!(false));
    let own = app.call(&session.token).get("/api/auth/session").await;
    own.expect(200);
    // What needs an operator needs one.
    caller.get("/api/v1/users").await.refused(403, "forbidden");
}

/// What comes of it ends with the provider's token, and with its human.
#[tokio::test]
async fn a_token_for_a_tool_server_ends_with_the_providers_and_with_the_human() {
    let world = signing_in(|terms| terms.sign_in[0].fresh_by = FreshBy::Issue).await;
    let app = &world.app;
    register(
        app,
        json!({ "audience": "https://other.example.com/mcp", "name": "other",
        "scopes": [{ "name": "other:*", "description": "other" }] }),
    )
    .await;
    let claims = with(world.claims(), "exp", json!(seconds(app) + 45));
    let token = world.signed(&claims);
    let made = app.call(&token).post(DELEGATE, tokens::search()).await;
    let leaf = made.expect(200).text_at("/data/token").to_owned();
    let ends = tokens::opened(app, &leaf).await.life.expires_at;
    assert_eq!(ends.as_micros() / 1_000_000, seconds(app) + 45);
    tokens::judged(app, &leaf).await.unwrap();
    let user = human(app, "clerk", "user_1").await.unwrap();
    turn(app, &user, "ban").await;
    assert!(tokens::judged(app, &leaf).await.is_err());
}

/// Lessons C 37: an address in a token finds no account, verified or not.
#[tokio::test]
async fn an_email_address_in_a_token_links_nothing() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    let body = json!({ "email": "ada@example.com", "name": "Ada" });
    let ada = app.operator().post("/api/v1/users", body).await.expect(201);
    for (sub, verified) in [("user_1", false), ("user_2", true)] {
        let claims = with(world.claims(), "email", json!("ada@example.com"));
        let claims = with(
            with(claims, "email_verified", json!(verified)),
            "sub",
            json!(sub),
        );
        agents(app, &world.signed(&claims)).await.expect(200);
        let user = human(app, "clerk", sub).await.unwrap();
        assert_ne!(user["id"], ada.id(), "{sub}");
        assert!(user["email"].is_null(), "{user}");
    }
    let path = format!("/api/v1/users/{}", ada.id());
    let ada = app.operator().get(&path).await.expect(200);
    assert!(ada.at("/data/external").is_null());
}

#[tokio::test]
async fn of_many_first_calls_at_once_one_makes_the_human() {
    let world = signing_in(|_| ()).await;
    let token = world.token();
    let all = join_all((0..32).map(|_| agents(&world.app, &token))).await;
    assert!(all.iter().all(|reply| reply.status == 200));
    assert_eq!(world.app.audit("kind=user.created").await.len(), 1);
}

/// Whoever is stopped while they call has done it before, or does it no more.
#[tokio::test]
async fn what_is_made_beside_a_ban_is_stopped_by_it() {
    let world = signing_in(|terms| {
        terms.ceiling = permissions(&may(&["read"], "mcp:*"));
        terms.sign_in[0].fresh_by = FreshBy::Issue;
    })
    .await;
    let app = &world.app;
    for round in 0..16 {
        let name = format!("user_{round}");
        let token = world.signed(&with(world.claims(), "sub", json!(name)));
        agents(app, &token).await.expect(200);
        let user = human(app, "clerk", &name).await.unwrap();
        let caller = app.call(&token);
        let agent = if round % 2 == 0 {
            tokio::join!(caller.post(AGENTS, new_agent()), turn(app, &user, "ban")).0
        } else {
            tokio::join!(turn(app, &user, "ban"), caller.post(AGENTS, new_agent())).1
        };
        assert!([201, 401, 409].contains(&agent.status), "{agent}");
        if agent.status == 201 {
            let denied = reads(app, &TestAgent::of(&agent)).await;
            assert_ne!(denied.code(), "allowed", "{denied}");
        }
        agents(app, &token).await.refused(401, "unauthenticated");
    }
}

/// Lessons C 17: whatever stands in the header, it is no defect of ours.
#[tokio::test]
async fn ten_thousand_malformed_credentials_are_refused_and_none_is_a_defect() {
    let world = signing_in(|_| ()).await;
    let app = &world.app;
    let good = format!("Bearer {}", world.token()).into_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut refused = 0;
    for round in 0..10_000 {
        let mut bytes = good.clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match round % 5 {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = b'.',
                2 => bytes.insert(at, b"\t !\xff\x80{}[]\"'\\.-_=+/"[next(18)]),
                3 => bytes[at] = 0x80 | u8::try_from(next(128)).unwrap(),
                _ => bytes.swap(at, 0),
            }
        }
        if bytes == good {
            continue;
        }
        let call = app.anonymous().header_bytes("authorization", &bytes);
        let reply = call.get("/api/v1/users").await;
        // One bit in the last letter of a signature may say nothing: then it is the human, who is no operator.
        let expected = [400, 401, 403].contains(&reply.status);
        assert!(expected, "{:?}: {reply}", String::from_utf8_lossy(&bytes));
        refused += usize::from(reply.status != 403);
    }
    assert!(refused > 9_900, "{refused}");
    assert!(world.provider.fetches() <= 1);
    agents(app, &world.token()).await.expect(200);
}
