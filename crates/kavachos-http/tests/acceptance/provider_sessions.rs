//! Sessions of ours for tokens of outside providers, and accounts that are given an identity there.

use std::time::Duration;

use kavachos_auth::provider::ProviderSignIn;
use kavachos_engine::plugin::{
    Allowance, Answer, CallerType, Change, Context, Flood, Method, Plugin, Request, Route,
};
use kavachos_engine::{FreshBy, ProviderTerms, SignIn};
use kavachos_test::{Reply, TestApp, TestProvider};
use serde_json::{Value, json};

use crate::id_tokens::{World, believing, seconds, terms, with};
use crate::provider_sign_in::kind;
use kavachos_core::id_token::TokenKind;

const SIGN_IN: &str = "/api/auth/sign-in/provider";
const LINK: &str = "/api/auth/link/provider";
/// A second factor that is always right.
pub(crate) struct Pin;

impl Plugin for Pin {
    fn id(&self) -> &'static str {
        "pin"
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec!["pin.armed", "pin.used"]
    }

    fn routes(&self) -> Vec<Route> {
        let few = Allowance::new(100, HOUR);
        let open = CallerType::Open(Flood {
            per_source: few,
            overall: few,
        });
        let arm = |context: Context, _| async move {
            let human = context.own_account().await?.id;
            let plan = || async { Ok(Change::of("").arms(human)) };
            context.change("pin.armed", plan).await?;
            Ok(Answer::empty())
        };
        let verify = |context: Context, request: Request| async move {
            let body: Value = request.json()?;
            let token = body["signIn"].as_str().unwrap_or_default();
            let pending = context.engine().attempt_second_factor(token).await?;
            let plan = || async {
                let proof = SignIn::completing(&pending, "pin");
                Ok(Change::of("").signs_in(proof))
            };
            let changed = context.change("pin.used", plan).await?;
            Answer::signed_in(changed.signed_in.unwrap())
        };
        vec![
            Route::new(Method::Post, "/api/auth/pin/arm", CallerType::Session, arm),
            Route::new(Method::Post, "/api/auth/pin/verify", open, verify),
        ]
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

/// A server on which tokens of one provider open sessions of an hour.
async fn world(change: impl FnOnce(&mut ProviderTerms)) -> World {
    let provider = TestProvider::start("").await;
    let mut terms = terms("clerk", &provider);
    terms.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
    terms.session_life = Some(HOUR);
    change(&mut terms);
    let setup = believing(vec![terms]).with(|builder| builder.plugin(ProviderSignIn).plugin(Pin));
    World {
        app: setup.start().await,
        provider,
    }
}

async fn sign_in(app: &TestApp, token: &str) -> Reply {
    let body = json!({ "token": token });
    app.anonymous().post(SIGN_IN, body).await
}

fn numbered(world: &World, number: usize) -> String {
    world.signed(&with(world.claims(), "jti", json!(number.to_string())))
}

#[tokio::test]
async fn a_token_opens_one_session_that_ends_as_the_configuration_says() {
    let world = world(|_| ()).await;
    let app = &world.app;
    let signed_in = seconds(app) - 120;
    let token = world.signed(&with(world.claims(), "auth_time", json!(signed_in)));
    let reply = sign_in(app, &token).await.expect(200);
    let session = reply.text_at("/data/token").to_owned();
    assert!(session.starts_with("kv_sess_"), "{reply}");
    assert_eq!(reply.at("/data/user/external/externalId"), "user_1");
    let own = app
        .call(&session)
        .get("/api/auth/session")
        .await
        .expect(200);
    assert_eq!(own.text_at("/data/session/method"), "provider:clerk");
    let at = |pointer: &str| {
        let time = own.text_at(&format!("/data/session/{pointer}"));
        let time = time.parse::<kavachos_core::time::Timestamp>().unwrap();
        time.as_micros() / 1_000_000
    };
    assert_eq!(at("expiresAt"), seconds(app) + 3_600);
    // As fresh as the sign-in there, and not as the sign-in here.
    assert_eq!(at("freshUntil"), signed_in + 600);
    let record = app.audit("kind=provider.signed_in").await.remove(0);
    assert_eq!(record["details"]["method"], "provider:clerk");
    assert_eq!(record["subject"], *reply.at("/data/user/id"));
    // Once.
    let again = sign_in(app, &token).await;
    again.refused(401, "unauthenticated");
    // The session is ours: it lives on when the token is over.
    app.advance(600);
    app.call(&session).get("/api/v1/agents").await.expect(200);
    app.advance(3_000);
    let over = app.call(&session).get("/api/v1/agents").await;
    over.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_session_is_opened_only_by_a_young_token_of_the_named_provider_and_nonce() {
    let world = world(|_| ()).await;
    let app = &world.app;
    let now = seconds(app);
    let claims = with(world.claims(), "nonce", json!("n-1"));
    let rows: [(&str, Value, Value, u16); 6] = [
        ("iat", json!(now - 301), json!({}), 401),
        ("iat", json!(now - 299), json!({}), 200),
        ("jti", json!("1"), json!({ "nonce": "n-2" }), 401),
        ("jti", json!("1"), json!({ "nonce": "n-1" }), 200),
        ("jti", json!("2"), json!({ "provider": "auth0" }), 401),
        ("jti", json!("2"), json!({ "provider": "clerk" }), 200),
    ];
    for (claim, value, more, status) in rows {
        let mut body = more.clone();
        body["token"] = json!(world.signed(&with(claims.clone(), claim, value.clone())));
        let reply = app.anonymous().post(SIGN_IN, body).await;
        assert_eq!(reply.status, status, "{claim} {value} {more}: {reply}");
    }
    for body in [
        json!({}),
        json!({ "token": 1 }),
        json!({ "token": "a", "userId": "user_1" }),
        json!([]),
    ] {
        let reply = app.anonymous().post(SIGN_IN, body).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
    let garbage = sign_in(app, "kv_sess_x").await;
    garbage.refused(401, "unauthenticated");
}

#[tokio::test]
async fn no_session_is_opened_unless_that_is_written_down() {
    let off = world(|terms| terms.session_life = None).await;
    sign_in(&off.app, &off.token())
        .await
        .refused(401, "unauthenticated");
    // As a bearer it counts all the same.
    let bearer = off.app.call(&off.token()).get("/api/v1/agents").await;
    bearer.expect(200);
    let on = world(|_| ()).await;
    sign_in(&on.app, &on.token()).await.expect(200);
}

#[tokio::test]
async fn nobody_is_fresh_by_a_token_that_does_not_say_when_they_signed_in() {
    for (fresh_by, is_fresh) in [(FreshBy::SignIn, false), (FreshBy::Issue, true)] {
        let world = world(|terms| terms.sign_in[0].fresh_by = fresh_by).await;
        let reply = sign_in(&world.app, &world.token()).await.expect(200);
        let session = reply.text_at("/data/token").to_owned();
        let body = json!({ "name": "mine", "type": "service",
            "permissions": kavachos_test::may(&["*"], "tools:call:search") });
        let made = world.app.call(&session).post("/api/v1/agents", body).await;
        assert_eq!(made.status == 201, is_fresh, "{made}");
    }
}

/// Lessons C 68: a provider's token passes no second factor by, and the session that comes of both is bounded all the same.
#[tokio::test]
async fn whoever_has_a_second_factor_here_proves_it_beside_the_providers_token() {
    let world = world(|_| ()).await;
    let app = &world.app;
    let first = sign_in(app, &numbered(&world, 1)).await.expect(200);
    let session = first.text_at("/data/token").to_owned();
    let bearer = numbered(&world, 2);
    // A provider's token is no session, and makes no credential that stays.
    let arm = "/api/auth/pin/arm";
    let by_provider = app.call(&bearer).post(arm, json!({})).await;
    by_provider.refused(403, "forbidden");
    app.call(&session).post(arm, json!({})).await.expect(204);
    // What the provider said before is over, like every session of before.
    let stale = numbered(&world, 4);
    app.advance(60);
    sign_in(app, &stale).await.refused(403, "forbidden");
    let token = numbered(&world, 3);
    let left = sign_in(app, &token).await.expect(200);
    assert!(left.at("/data/token").is_null(), "{left}");
    assert_eq!(left.at("/data/methods"), &json!(["pin"]));
    // The token is used up by it.
    sign_in(app, &token).await.refused(401, "unauthenticated");
    let body = json!({ "signIn": left.at("/data/signIn") });
    let verify = "/api/auth/pin/verify";
    let done = app.anonymous().post(verify, body.clone()).await.expect(200);
    let session = done.text_at("/data/token").to_owned();
    let own = app.call(&session).get("/api/auth/session").await;
    let own = own.expect(200);
    assert_eq!(own.text_at("/data/session/method"), "provider:clerk+pin");
    let again = app.anonymous().post(verify, body).await;
    again.refused(401, "unauthenticated");
    app.advance(3_600);
    let over = app.call(&session).get("/api/v1/agents").await;
    over.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_stopped_human_gets_no_session_and_loses_those_they_have() {
    let world = world(|_| ()).await;
    let app = &world.app;
    let reply = sign_in(app, &numbered(&world, 1)).await.expect(200);
    let session = reply.text_at("/data/token").to_owned();
    let user = reply.text_at("/data/user/id").to_owned();
    app.call(&session).get("/api/v1/agents").await.expect(200);
    let ban = format!("/api/v1/users/{user}/ban");
    app.operator().post(&ban, json!({})).await.expect(200);
    let dead = app.call(&session).get("/api/v1/agents").await;
    dead.refused(401, "unauthenticated");
    let refused = sign_in(app, &numbered(&world, 2)).await;
    refused.refused(403, "forbidden");
}

#[tokio::test]
async fn a_human_links_their_account_with_a_fresh_session_and_the_providers_token() {
    let world = world(|_| ()).await;
    let app = &world.app;
    let ada = app.user().await;
    let session = app.session(&ada).await;
    let caller = app.call(&session.token);
    let token = numbered(&world, 1);
    let body = json!({ "token": token, "provider": "clerk" });
    // Not by the provider's token alone, nor with a session that is old.
    let alone = app
        .call(&numbered(&world, 7))
        .post(LINK, body.clone())
        .await;
    alone.refused(403, "forbidden");
    let linked = caller
        .post(LINK, json!({ "token": numbered(&world, 2) }))
        .await;
    // The identity is somebody's by now: whoever called with it was made.
    linked.refused(409, "conflict");
    let other = |sub: &str, number: usize| {
        let claims = with(world.claims(), "jti", json!(number.to_string()));
        world.signed(&with(claims, "sub", json!(sub)))
    };
    let linked = caller
        .post(LINK, json!({ "token": other("user_2", 1) }))
        .await;
    assert_eq!(linked.expect(200).at("/data/external/externalId"), "user_2");
    let record = app.audit("kind=user.linked").await.remove(0);
    assert_eq!(
        (&record["subject"], &record["details"]["provider"]),
        (&json!(ada), &json!("clerk"))
    );
    // From now on the token is theirs.
    let reply = sign_in(app, &other("user_2", 2)).await.expect(200);
    assert_eq!(reply.text_at("/data/user/id"), ada);
    // One identity each.
    let again = caller
        .post(LINK, json!({ "token": other("user_3", 1) }))
        .await;
    again.refused(409, "conflict");
    let bob = app.session(&app.user().await).await;
    let used = app
        .call(&bob.token)
        .post(LINK, json!({ "token": other("user_2", 3) }))
        .await;
    used.refused(409, "conflict");
    let bad = app
        .call(&bob.token)
        .post(LINK, json!({ "token": "a.b.c" }))
        .await;
    bad.refused(403, "forbidden");
    app.advance(600);
    let fresh = |world: &World| {
        let claims = with(world.claims(), "sub", json!("user_4"));
        world.signed(&claims)
    };
    let old = app
        .call(&bob.token)
        .post(LINK, json!({ "token": fresh(&world) }))
        .await;
    old.refused(403, "forbidden");
    let carol = app.session(&app.user().await).await;
    let linked = app
        .call(&carol.token)
        .post(LINK, json!({ "token": fresh(&world) }))
        .await;
    linked.expect(200);
}
