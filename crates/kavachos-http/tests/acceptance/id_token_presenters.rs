//! Who presents the identity tokens of outside providers, within which bounds, and what becomes of what they got when the
//! human is stopped.

use kavachos_core::token::Code;
use kavachos_engine::ProviderTerms;
use kavachos_test::{TestApp, may};
use serde_json::{Value, json};

use crate::exchange::{AGENT_KEY, SESSION, TOKEN, proof};
use crate::id_tokens::{
    as_client, asked, basic, last_record, permissions, refused, secret, with, world, world_with,
};
use crate::tokens::{judged, opened};

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
async fn only_a_registered_client_with_its_secret_presents_a_token() {
    let world = world().await;
    let app = &world.app;
    let token = world.token();
    for authorization in [
        basic("clerk-web", &"x".repeat(34)),
        basic("other", &secret()),
        basic("clerk-web", ""),
        "Basic".to_owned(),
        "Bearer kv_key_x".to_owned(),
    ] {
        let reply = as_client(app, &authorization, &token).await;
        refused(&reply, 401, "invalid_client", "");
        let schemes = reply.headers.get_all("www-authenticate").iter().count();
        assert_eq!(schemes, 2);
    }
    let reply = app.anonymous().post_form(TOKEN, &asked(&token)).await;
    refused(&reply, 401, "invalid_client", "presented by");
    // The twin.
    world.exchange(&token).await.expect(200);
    // Guesses are on record as strangers' are; what was answered later is written later.
    assert!(app.audit("kind=refusal").await.len() >= 3);
}

#[tokio::test]
async fn a_client_authenticates_in_the_header_or_in_the_body_and_not_in_both() {
    let world = world().await;
    let app = &world.app;
    let (token, own) = (world.token(), secret());
    let body = |secret: &'static str| {
        let mut ask = asked(&token);
        ask.extend([("client_id", "clerk-web"), ("client_secret", secret)]);
        ask
    };
    let right: &'static str = secret().leak();
    let both = app
        .anonymous()
        .header("authorization", &basic("clerk-web", &own));
    let both = both.post_form(TOKEN, &body(right)).await;
    refused(&both, 400, "invalid_request", "one way");
    let guess = body("wrong-wrong-wrong-wrong-wrong-wrong");
    let guess = app.anonymous().post_form(TOKEN, &guess).await;
    refused(&guess, 401, "invalid_client", "");
    app.anonymous()
        .post_form(TOKEN, &body(right))
        .await
        .expect(200);
    // A client stands beside no other subject.
    let session = app.session(&app.user().await).await;
    let mut ask = asked(&session.token);
    ask.retain(|(name, _)| *name != "subject_token_type");
    ask.push(("subject_token_type", SESSION));
    let beside = app
        .anonymous()
        .header("authorization", &basic("clerk-web", &own));
    refused(
        &beside.post_form(TOKEN, &ask).await,
        401,
        "invalid_client",
        "",
    );
    app.anonymous().post_form(TOKEN, &ask).await.expect(200);
}

#[tokio::test]
async fn an_operators_key_presents_with_the_scope_for_the_provider() {
    let world = world().await;
    let app = &world.app;
    let token = world.token();
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
    let given = app.call(&key).post_form(TOKEN, &asked(&token)).await;
    let given = given.expect(200).text_at("/access_token").to_owned();
    judged(app, &given).await.unwrap();
    // Once it is revoked it presents nothing more, and what it got is dead.
    let another = world.signed(&with(world.claims(), "jti", json!("2")));
    app.operator()
        .delete(&key_path(app, &key).await)
        .await
        .expect(200);
    assert_eq!(judged(app, &given).await.unwrap_err().code, Code::Revoked);
    let reply = app.call(&key).post_form(TOKEN, &asked(&another)).await;
    refused(&reply, 401, "invalid_client", "");
    app.operator()
        .post_form(TOKEN, &asked(&another))
        .await
        .expect(200);
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
    // What the provider said before the ban may be as old as its clock is wrong.
    app.advance(60);
    let again = |jti: &'static str| world.signed(&with(world.claims(), "jti", json!(jti)));
    world.exchange(&again("3")).await.expect(200);
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
