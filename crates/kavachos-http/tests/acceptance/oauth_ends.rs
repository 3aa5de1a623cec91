//! When ends what a human gave a client: with whom it is for, after a while without use, and in any case one day; and when all of
//! it is forgotten. What is worth nothing ends nothing.

use http::Method;
use kavachos_test::TestApp;
use serde_json::{Value, json};

use crate::moving::export;
use crate::oauth_clients::{AT_SITE, World, client, error, world};
use crate::oauth_rows::{KINDS, agents, count};
use crate::tokens::{judged, register};

const DAY: u64 = 24 * 60 * 60;

/// How many rows of each kind there are.
async fn kept(app: &TestApp) -> [usize; 6] {
    let file = export(&app.operator()).await;
    KINDS.map(|kind| count(&file, kind))
}

/// Lessons C 13 and 78: whatever ends a human, an agent or a client ends codes and refresh tokens, and every token that was made.
#[tokio::test]
async fn codes_and_tokens_end_with_whom_they_are_for() {
    let nothing = json!({});
    for (method, path, body) in [
        (Method::GET, "/api/v1/health", Value::Null),
        (Method::POST, "/api/v1/users/{user}/ban", nothing.clone()),
        (Method::DELETE, "/api/v1/users/{user}", Value::Null),
        (
            Method::POST,
            "/api/v1/agents/{agent}/suspend",
            nothing.clone(),
        ),
        (Method::POST, "/api/v1/agents/{agent}/rotate", nothing),
        (Method::DELETE, "/api/v1/agents/{agent}", Value::Null),
        (Method::DELETE, "/api/v1/clients/{client}", Value::Null),
    ] {
        let world = world().await;
        let tokens = world.let_in().await;
        let code = world.code().await;
        let agent = world.agent().await["id"].as_str().unwrap().to_owned();
        let path = path
            .replace("{user}", &world.user)
            .replace("{agent}", &agent)
            .replace("{client}", &world.client);
        let operator = world.app.operator();
        let ended = match method {
            Method::GET => operator.get(&path).await,
            Method::DELETE => operator.delete(&path).await,
            _ => operator.post(&path, body).await,
        };
        let access = judged(&world.app, tokens.text_at("/access_token")).await;
        let refreshed = world.refresh(tokens.text_at("/refresh_token")).await;
        let redeemed = world.redeem(&code, &[]).await;
        if path.ends_with("/health") {
            assert!(access.is_ok() && refreshed.status == 200 && redeemed.status == 200);
            continue;
        }
        assert!((200..300).contains(&ended.status), "{path}: {ended}");
        assert!(access.is_err(), "{path}");
        for reply in [refreshed, redeemed] {
            assert!([400, 401].contains(&reply.status), "{path}: {reply}");
        }
    }
}

/// Another tool server under the same address is none that the human let the client in to.
#[tokio::test]
async fn a_line_ends_with_its_tool_server() {
    let world = world().await;
    let tokens = world.let_in().await;
    let code = world.code().await;
    let servers = world.app.operator().get("/api/v1/resources").await;
    let server = servers.expect(200).rows()[0]["id"].clone();
    let path = format!("/api/v1/resources/{}", server.as_str().unwrap());
    world.app.operator().delete(&path).await.expect(200);
    assert!(
        judged(&world.app, tokens.text_at("/access_token"))
            .await
            .is_err()
    );
    register(&world.app, json!({ "defaultScope": "tools:call:*" })).await;
    let token = tokens.text_at("/refresh_token");
    error(&world.refresh(token).await, 400, "invalid_target");
    error(&world.redeem(&code, &[]).await, 400, "invalid_target");
    world.let_in().await;
}

#[tokio::test]
async fn a_human_who_goes_takes_along_what_they_let_in() {
    let world = world().await;
    let tokens = world.let_in().await;
    let code = world.code().await;
    world.allowed(&[AT_SITE]).await;
    let bob = world.app.user().await;
    let bob = World {
        session: world.app.session(&bob).await.token,
        user: bob,
        client: world.client.clone(),
        app: world.app,
    };
    let theirs = bob.let_in().await;
    let access = tokens.text_at("/access_token");
    judged(&bob.app, access).await.unwrap();
    assert_eq!(kept(&bob.app).await, [1, 2, 1, 4, 2, 4]);
    let call = bob.app.call(&world.session);
    let gone = call.post("/api/auth/delete-account", json!({})).await;
    gone.expect(200);
    assert!(judged(&bob.app, access).await.is_err());
    let dead = bob.refresh(tokens.text_at("/refresh_token")).await;
    error(&dead, 400, "invalid_grant");
    error(&bob.redeem(&code, &[]).await, 400, "invalid_grant");
    // The twin: what is others' stays.
    assert_eq!(kept(&bob.app).await, [1, 1, 0, 1, 1, 1]);
    judged(&bob.app, theirs.text_at("/access_token"))
        .await
        .unwrap();
    let next = bob.refresh(theirs.text_at("/refresh_token")).await;
    next.expect(200);
}

/// A ban stops all of it, and what was made before stays dead.
#[tokio::test]
async fn whoever_is_banned_has_no_client_and_what_they_let_in_is_let_in_anew() {
    let world = world().await;
    let tokens = world.let_in().await;
    let code = world.code().await;
    let path = |what: &str| format!("/api/v1/users/{}/{what}", world.user);
    let operator = world.app.operator();
    operator.post(&path("ban"), json!({})).await.expect(200);
    let access = tokens.text_at("/access_token");
    let is_dead = async || {
        assert!(judged(&world.app, access).await.is_err());
        let refresh = world.refresh(tokens.text_at("/refresh_token")).await;
        assert!(refresh.status >= 400, "{refresh}");
        let redeemed = world.redeem(&code, &[]).await;
        assert!(redeemed.status >= 400, "{redeemed}");
    };
    is_dead().await;
    operator.post(&path("unban"), json!({})).await.expect(200);
    is_dead().await;
    let world = World {
        session: world.app.session(&world.user).await.token,
        ..world
    };
    world.let_in().await;
    assert_eq!(agents(&world.app, &world.user).await.len(), 1);
}

#[tokio::test]
async fn a_line_ends_after_thirty_days_without_use_and_after_ninety_in_any_case() {
    let (idle, used) = (world().await, world().await);
    let token = idle.let_in().await.text_at("/refresh_token").to_owned();
    idle.app.advance(30 * DAY - 1);
    let next = idle.refresh(&token).await.expect(200);
    idle.app.advance(30 * DAY);
    let late = idle.refresh(next.text_at("/refresh_token")).await;
    error(&late, 400, "invalid_grant");

    let mut token = used.let_in().await.text_at("/refresh_token").to_owned();
    for _ in 0..3 {
        used.app.advance(29 * DAY);
        let next = used.refresh(&token).await.expect(200);
        next.text_at("/refresh_token").clone_into(&mut token);
    }
    used.app.advance(3 * DAY - 1);
    let next = used.refresh(&token).await.expect(200);
    used.app.advance(1);
    let late = used.refresh(next.text_at("/refresh_token")).await;
    assert!([400, 401].contains(&late.status), "{late}");
}

/// Any page can send a browser here for codes; they end no line that is used, and there is an end to them.
#[tokio::test]
async fn codes_that_nobody_redeems_end_nothing() {
    let world = world().await;
    let used = world
        .with_code_of(&world.allowed(&[AT_SITE]).await)
        .await
        .expect(200);
    world.app.advance(1);
    let first = world.silent(&[]).await;
    let mut last = String::new();
    for _ in 0..11 {
        last = world.silent(&[]).await;
    }
    error(&world.with_code_of(&first).await, 400, "invalid_grant");
    world.with_code_of(&last).await.expect(200);
    let used = world.refresh(used.text_at("/refresh_token")).await;
    let used = used.expect(200);
    assert!(
        world
            .app
            .audit("kind=connection.line_ended")
            .await
            .is_empty()
    );
    // What is redeemed takes the place of the oldest, which is on record.
    for _ in 0..9 {
        let location = world.silent(&[]).await;
        world.with_code_of(&location).await.expect(200);
    }
    error(
        &world.refresh(used.text_at("/refresh_token")).await,
        400,
        "invalid_grant",
    );
    let ended = world.app.audit("kind=connection.line_ended").await;
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0]["details"]["why"], "replaced");
}

/// Nobody ends what is another's by what is worth nothing.
#[tokio::test]
async fn what_is_worth_nothing_ends_nothing() {
    let world = world().await;
    let code = world.code().await;
    let tokens = world.redeem(&code, &[]).await.expect(200);
    let verifier = "a".repeat(43);
    let copy = world.redeem(&code, &[("code_verifier", &verifier)]).await;
    error(&copy, 400, "invalid_grant");
    let old = tokens.text_at("/access_token").to_owned();
    judged(&world.app, &old).await.unwrap();
    world.app.advance(600);
    let next = world.refresh(tokens.text_at("/refresh_token")).await;
    let next = next.expect(200);
    let fields = [("client_id", world.client.as_str()), ("token", &old)];
    let given = world.app.anonymous();
    given.post_form("/oauth/revoke", &fields).await.expect(200);
    judged(&world.app, next.text_at("/access_token"))
        .await
        .unwrap();
}

/// A code that nobody redeems makes nothing, and its line ends before the code is forgotten.
#[tokio::test]
async fn a_code_that_nobody_redeems_ends_its_line() {
    let world = world().await;
    world.code().await;
    let active = async || {
        let file = export(&world.app.operator()).await;
        let is_line = |line: &&str| line.starts_with("{\"kind\":\"agentKey\"");
        let is_active = |line: &&str| line.contains("\"status\":\"active\"");
        file.lines().filter(is_line).filter(is_active).count()
    };
    world.app.advance(60 + 600);
    forget(&world.app).await;
    assert_eq!(active().await, 1);
    world.app.advance(1);
    forget(&world.app).await;
    assert_eq!(active().await, 0);
    assert_eq!(kept(&world.app).await, [1, 1, 0, 1, 0, 1]);
    // Thirty days later nothing of it is left, and nobody is held up by it.
    world.app.advance(30 * DAY);
    forget(&world.app).await;
    assert_eq!(kept(&world.app).await, [1, 0, 0, 0, 0, 0]);
}

/// A client without refresh tokens leaves no line behind that a further one would have to end.
#[tokio::test]
async fn a_client_without_refresh_tokens_ends_nothing() {
    let world = world().await;
    let new = json!({
        "name": "Brief", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none", "grantTypes": ["authorization_code"],
    });
    let id = client(&world.app, new).await.id().to_owned();
    let mut world = World {
        client: id,
        ..world
    };
    for _ in 0..12 {
        world.session = world.app.session(&world.user).await.token;
        let tokens = world.let_in().await;
        assert!(tokens.at("/refresh_token").is_null(), "{tokens}");
        world.app.advance(61);
    }
    let ended = world.app.audit("kind=connection.line_ended").await;
    assert!(ended.is_empty(), "{ended:?}");
}

/// Lines that nobody uses end, so that what an agent holds can be read and replaced however often its client came.
#[tokio::test]
async fn an_agent_whose_client_came_often_is_shown_and_stopped() {
    let mut world = world().await;
    let mut last = String::new();
    for round in 0..2 {
        world.app.advance(round * 31 * DAY);
        world.session = world.app.session(&world.user).await.token;
        for _ in 0..10 {
            let tokens = world.let_in().await;
            tokens.text_at("/refresh_token").clone_into(&mut last);
        }
    }
    let path = world.agent_path().await;
    world.app.operator().get(&path).await.expect(200);
    let rotated = format!("{path}/rotate");
    let rotated = world.app.operator().post(&rotated, json!({})).await;
    rotated.expect(201);
    error(&world.refresh(&last).await, 400, "invalid_grant");
}

async fn forget(app: &TestApp) {
    app.kavach().engine().forget().await.unwrap();
}

#[tokio::test]
async fn what_is_over_for_long_is_forgotten_and_counts_among_nobodys_agents() {
    let mut world = world().await;
    let tokens = world.let_in().await;
    world.refresh(tokens.text_at("/refresh_token")).await;
    world.allowed(&[AT_SITE]).await;
    assert_eq!(kept(&world.app).await, [1, 1, 1, 2, 2, 2]);
    // A code is known for a day after it is over.
    world.app.advance(60 + DAY);
    forget(&world.app).await;
    assert_eq!(kept(&world.app).await, [1, 1, 1, 2, 2, 2]);
    world.app.advance(1);
    forget(&world.app).await;
    assert_eq!(kept(&world.app).await, [1, 1, 1, 2, 2, 0]);
    // Ninety days of the line, and thirty more.
    let [stopped, keyed, late] = [
        world.app.user().await,
        world.app.user().await,
        world.app.user().await,
    ];
    world.app.advance(118 * DAY - 61);
    for user in [&stopped, &keyed] {
        lets_in(&mut world, user).await;
    }
    world.app.advance(DAY);
    forget(&world.app).await;
    assert_eq!(kept(&world.app).await, [1, 3, 1, 3, 2, 2]);
    assert_eq!(agents(&world.app, &world.user).await[0]["status"], "active");
    world.app.advance(1);
    lets_in(&mut world, &late).await;
    forget(&world.app).await;
    let status = async |user: &str| agents(&world.app, user).await[0]["status"].clone();
    assert_eq!(status(&world.user).await, "revoked");
    let ended = world.app.audit("kind=agent.revoked").await;
    assert_eq!((ended.len(), &ended[0]["actor"]), (1, &json!("system")));
    // The twins: what was let in anew, and later what somebody stopped for a while, or has a key of its own.
    assert_eq!(status(&late).await, "active");
    assert_eq!(kept(&world.app).await, [1, 3, 0, 3, 0, 3]);
    let operator = world.app.operator();
    world.app.advance(119 * DAY);
    for (user, deed, code) in [(&stopped, "suspend", 200), (&keyed, "rotate", 201)] {
        let agent = agents(&world.app, user).await[0]["id"].clone();
        let path = format!("/api/v1/agents/{}/{deed}", agent.as_str().unwrap());
        operator.post(&path, json!({})).await.expect(code);
    }
    world.app.advance(DAY + 1);
    forget(&world.app).await;
    for (user, expected) in [
        (&stopped, "suspended"),
        (&keyed, "active"),
        (&late, "revoked"),
    ] {
        assert_eq!(status(user).await, expected);
    }
    // Nobody's count has what ended.
    let file = export(&world.app.operator()).await;
    for (user, agents) in [(&world.user, 0), (&late, 0), (&stopped, 1), (&keyed, 1)] {
        let of =
            |line: &&str| line.starts_with("{\"kind\":\"user\"") && line.contains(user.as_str());
        let row: Value = serde_json::from_str(file.lines().find(of).unwrap()).unwrap();
        assert_eq!(row["agents"], agents);
    }
}

/// Another human lets the same client in.
async fn lets_in(world: &mut World, user: &str) {
    let session = world.app.session(user).await.token;
    let before = std::mem::replace(&mut world.session, session);
    world.code().await;
    world.session = before;
}
