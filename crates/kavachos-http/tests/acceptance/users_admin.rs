//! Looking for humans, bans that end, the end of all sessions, and required resets.

use std::sync::Arc;
use std::time::Duration;

use kavachos_auth::password::{Choosing, Passwords};
use kavachos_auth::username_password::UsernamePassword;
use kavachos_test::{Reply, TestApp, may};
use serde_json::{Value, json};

async fn human(app: &TestApp, body: Value) -> String {
    let made = app.operator().post("/api/v1/users", body).await.expect(201);
    made.id().to_owned()
}

async fn own(app: &TestApp, key: &str) -> String {
    let question = json!({ "action": "read", "resource": "mcp:x" });
    let asked = app.call(key).post("/api/v1/authorize", question).await;
    asked.code().to_owned()
}

/// F26: a ban that has an end is over at that moment in every path, and what was issued before stays dead.
#[tokio::test]
async fn a_ban_with_an_end_is_over_at_its_end_everywhere() {
    for seconds in [59, 60] {
        let over = seconds == 60;
        let app = crate::start().await;
        let user = app.user().await;
        let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
        let session = app.session(&user).await;
        let of = |rest: &str| format!("/api/v1/users/{user}{rest}");
        let until = app.kavach().engine().now().plus(Duration::from_secs(60));
        let ban = json!({ "until": until, "reason": "spam" });
        let banned = app.operator().post(&of("/ban"), ban.clone()).await;
        assert_eq!(banned.expect(200).at("/data/state"), "closed");
        app.decide(&agent.id, "read", "mcp:x")
            .await
            .decided("owner_not_active");
        app.advance(seconds);

        let shown = app.operator().get(&of("")).await.expect(200);
        let status = if over { "active" } else { "banned" };
        assert_eq!(shown.at("/data/status"), status);
        assert_eq!(shown.at("/data/bannedUntil").is_null(), over, "{shown}");
        let code = if over { "allowed" } else { "owner_not_active" };
        app.decide(&agent.id, "read", "mcp:x").await.decided(code);
        // What was issued before stays dead.
        assert_eq!(own(&app, &agent.key).await, "key_revoked");
        let old = app.call(&session.token).get("/api/v1/agents").await;
        old.refused(401, "unauthenticated");
        // What is issued now is not.
        let opened = app.operator().post(&of("/sessions"), json!({})).await;
        assert_eq!(opened.status, if over { 201 } else { 409 }, "{opened}");
        let rotate = format!("/api/v1/agents/{}/rotate", agent.id);
        let rotated = app.operator().post(&rotate, json!({})).await;
        assert_eq!(rotated.status, if over { 201 } else { 409 }, "{rotated}");
        if over {
            assert_eq!(own(&app, rotated.text_at("/data/token")).await, "allowed");
            let token = opened.text_at("/data/token");
            app.call(token).get("/api/v1/agents").await.expect(200);
        }
        let new = json!({ "ownerId": user, "name": "n", "type": "service", "permissions": may(&["read"], "mcp:x") });
        let made = app.operator().post("/api/v1/agents", new).await;
        assert_eq!(made.status, if over { 201 } else { 409 }, "{made}");
        // Whoever is no longer banned can be banned again, and cannot be unbanned.
        let unban = app.operator().post(&of("/unban"), json!({})).await;
        assert_eq!(unban.status, if over { 409 } else { 200 }, "{unban}");
        let again = app.operator().post(&of("/ban"), json!({})).await;
        again.expect(200);
        let rows = app.audit("kind=user.banned").await;
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["details"]["until"], json!(until));
        assert_eq!(rows[1]["reason"], "spam");
        assert!(rows[0]["details"]["until"].is_null());
    }
}

/// A token that an agent was given before the ban is dead after it, and a new one is given.
#[tokio::test]
async fn a_session_asks_for_tokens_again_after_the_ban() {
    let app = crate::start().await;
    let user = app.user().await;
    let server = json!({
        "audience": "https://tools.example.com/mcp", "name": "tools", "kind": "kavach",
        "scopes": [{ "name": "mcp:*", "description": "everything" }],
    });
    app.operator()
        .post("/api/v1/resources", server)
        .await
        .expect(201);
    let ask = json!({
        "audience": "https://tools.example.com/mcp", "reason": "look",
        "permissions": [{ "actions": ["read"], "resource": "mcp:x" }],
    });
    let asks = async |token: &str| app.call(token).post("/api/v1/delegate", ask.clone()).await;
    let before = app.session(&user).await;
    asks(&before.token).await.expect(200);
    let until = app.kavach().engine().now().plus(Duration::from_secs(60));
    let ban = format!("/api/v1/users/{user}/ban");
    app.operator()
        .post(&ban, json!({ "until": until }))
        .await
        .expect(200);
    asks(&before.token).await.refused(401, "unauthenticated");
    app.advance(60);
    asks(&before.token).await.refused(401, "unauthenticated");
    let after = app.session(&user).await;
    asks(&after.token).await.expect(200);
}

#[tokio::test]
async fn a_ban_that_would_be_over_is_refused() {
    let app = crate::start().await;
    let path = format!("/api/v1/users/{}/ban", app.user().await);
    let now = app.kavach().engine().now();
    for (until, status) in [(now, 400), (now.plus(Duration::from_secs(1)), 200)] {
        let reply = app.operator().post(&path, json!({ "until": until })).await;
        assert_eq!(reply.status, status, "{reply}");
        if status == 400 {
            assert_eq!(reply.field(), "until");
        }
    }
    for (field, body) in [
        ("reason", json!({ "reason": "" })),
        ("reason", json!({ "reason": "a\u{202e}b" })),
        ("until", json!({ "until": "tomorrow" })),
    ] {
        let reply = app.operator().post(&path, body).await;
        let reply = reply.refused(400, "malformed_request");
        assert_eq!(reply.field(), field, "{reply}");
    }
}

#[tokio::test]
async fn humans_are_found_by_how_their_names_and_addresses_begin() {
    let app = crate::start().await;
    let ada = human(
        &app,
        json!({ "name": "Ada Lovelace", "email": "countess@example.com" }),
    )
    .await;
    let adam = human(&app, json!({ "name": "ADAM", "role": "admin" })).await;
    let known = json!({ "provider": "demo", "externalId": "zoe|1" });
    let zoe = json!({ "name": "Zoë", "email": "ada@example.org", "external": known });
    let zoe = human(&app, zoe).await;
    let odd = human(&app, json!({ "name": "100%_\\'; DROP TABLE users" })).await;
    let ban = format!("/api/v1/users/{zoe}/ban");
    app.operator().post(&ban, json!({})).await.expect(200);
    let find = async |query: &str| {
        let path = format!("/api/v1/users?{query}");
        let found = app.operator().get(&path).await.expect(200);
        let mut ids: Vec<String> = found
            .rows()
            .iter()
            .map(|row| row["id"].to_string())
            .collect();
        ids.sort();
        ids
    };
    let ids = |all: &[&String]| {
        let mut ids: Vec<String> = all.iter().map(|id| json!(id).to_string()).collect();
        ids.sort();
        ids
    };
    for (query, expected) in [
        ("search=ada", ids(&[&ada, &adam, &zoe])),
        ("search=ADA", ids(&[&ada, &adam, &zoe])),
        ("search=Ada%20L", ids(&[&ada])),
        ("search=countess%40", ids(&[&ada])),
        ("search=love", ids(&[])),
        ("search=Zo%C3%AB", ids(&[&zoe])),
        ("search=%25", ids(&[])),
        ("search=_", ids(&[])),
        ("search=100%25_%5C%27", ids(&[&odd])),
        ("search=ada&status=banned", ids(&[&zoe])),
        ("search=ada&status=active", ids(&[&ada, &adam])),
        ("role=admin", ids(&[&adam])),
        ("role=member&search=ad", ids(&[&ada, &zoe])),
        ("email=Ada%40Example.org", ids(&[&zoe])),
        ("email=ada%40example.com", ids(&[])),
        ("status=revoked", ids(&[])),
        ("provider=demo&externalId=zoe%7C1", ids(&[&zoe])),
        ("provider=demo&externalId=zoe%7C1&status=active", ids(&[])),
        ("provider=demo&externalId=zoe", ids(&[])),
        ("provider=other&externalId=zoe%7C1", ids(&[])),
    ] {
        assert_eq!(find(query).await, expected, "{query}");
    }
    for (field, query) in [
        ("search", "search="),
        ("search", "search=%00"),
        ("email", "email=ada"),
        ("status", "status=suspended"),
        ("role", "role=root"),
        ("externalId", "provider=demo"),
        ("provider", "externalId=zoe"),
        ("provider", "provider=&externalId=zoe"),
    ] {
        let path = format!("/api/v1/users?{query}");
        let wrong = app.operator().get(&path).await;
        let wrong = wrong.refused(400, "malformed_request");
        assert_eq!(wrong.field(), field, "{query}: {wrong}");
    }
}

#[tokio::test]
async fn a_search_goes_on_page_by_page_and_only_with_its_own_cursor() {
    let app = crate::start().await;
    for index in 0..7 {
        app.advance(1);
        human(&app, json!({ "name": format!("Ada {index}") })).await;
        human(&app, json!({ "name": format!("Bob {index}") })).await;
    }
    let mut path = "/api/v1/users?search=ada&limit=3".to_owned();
    let mut found = Vec::new();
    loop {
        let page = app.operator().get(&path).await.expect(200);
        found.extend(page.rows().iter().map(|row| row["name"].to_string()));
        let Some(cursor) = page.at("/nextCursor").as_str() else {
            break;
        };
        let other = format!("/api/v1/users?search=bob&limit=3&cursor={cursor}");
        let other = app.operator().get(&other).await;
        assert_eq!(other.refused(400, "malformed_request").field(), "cursor");
        path = format!("/api/v1/users?search=ada&limit=3&cursor={cursor}");
    }
    let expected: Vec<_> = (0..7)
        .rev()
        .map(|index| format!("\"Ada {index}\""))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn all_sessions_of_a_human_end_at_once() {
    let app = crate::start().await;
    let (user, other) = (app.user().await, app.user().await);
    let bystander = app.session(&other).await;
    for who in ["operator", "human"] {
        let mut sessions = Vec::new();
        for _ in 0..5 {
            sessions.push(app.session(&user).await);
        }
        let caller = match who {
            "operator" => app.operator(),
            _ => app.call(&sessions[0].token),
        };
        let path = format!("/api/v1/users/{user}/sessions");
        let ended = caller.delete(&path).await.expect(200);
        assert_eq!(ended.at("/data/state"), "closed");
        for session in &sessions {
            let own = app.call(&session.token).get("/api/v1/agents").await;
            own.refused(401, "unauthenticated");
        }
        app.call(&bystander.token)
            .get("/api/v1/agents")
            .await
            .expect(200);
        app.operator().delete(&path).await.expect(200);
    }
    let rows = app.audit("kind=session.all_revoked").await;
    assert_eq!(rows.len(), 2, "none was left to end: {rows:?}");
    assert_eq!(rows[0]["details"]["sessions"], 5);
    let path = format!("/api/v1/users/{user}/sessions");
    let stranger = app.call(&bystander.token).delete(&path).await;
    stranger.refused(404, "not_found");
}

#[tokio::test]
async fn a_required_reset_ends_sessions_and_leaves_agents_alone() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let session = app.session(&user).await;
    let path = format!("/api/v1/users/{user}/require-reset");
    app.operator().post(&path, json!({})).await.expect(200);
    let own_agents = app.call(&session.token).get("/api/v1/agents").await;
    own_agents.refused(401, "unauthenticated");
    assert_eq!(own(&app, &agent.key).await, "allowed");
    assert_eq!(app.audit("kind=user.reset_required").await.len(), 1);
    let gone = app.user().await;
    let path = format!("/api/v1/users/{gone}");
    app.operator().delete(&path).await.expect(200);
    for what in ["require-reset", "remove-factors"] {
        let path = format!("{path}/{what}");
        let reply = app.operator().post(&path, json!({})).await;
        reply.refused(409, "conflict");
    }
}

const PASSWORD: &str = "Vogelbeeren im späten Herbst";

/// A server with names and passwords.
async fn with_passwords() -> TestApp {
    let plugin = UsernamePassword::new(Arc::new(Choosing {
        passwords: Passwords::default(),
        breached: None,
        ..Choosing::serving()
    }));
    let setup = crate::setup().with(move |builder| builder.plugin(plugin.clone()));
    setup.start().await
}

async fn by_password(app: &TestApp, route: &str, username: &str) -> Reply {
    let body = json!({ "username": username, "password": PASSWORD });
    let path = format!("/api/auth/{route}/username");
    app.anonymous().post(&path, body).await
}

#[tokio::test]
async fn whoever_is_banned_for_a_while_signs_in_after_it() {
    let app = with_passwords().await;
    let up = by_password(&app, "sign-up", "ada").await.expect(200);
    let id = up.text_at("/data/user/id");
    let until = app.kavach().engine().now().plus(Duration::from_secs(60));
    let ban = format!("/api/v1/users/{id}/ban");
    let body = json!({ "until": until });
    app.operator().post(&ban, body).await.expect(200);
    for (seconds, status) in [(0, 403), (59, 403), (1, 200)] {
        app.advance(seconds);
        let signed_in = by_password(&app, "sign-in", "ada").await;
        assert_eq!(signed_in.status, status, "{signed_in}");
    }
    // The session of before stays dead.
    let old = app.call(up.text_at("/data/token"));
    old.get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_password_that_is_to_be_reset_signs_nobody_in() {
    let app = with_passwords().await;
    let up = by_password(&app, "sign-up", "ada").await.expect(200);
    by_password(&app, "sign-up", "bob").await.expect(200);
    let path = format!(
        "/api/v1/users/{}/require-reset",
        up.text_at("/data/user/id")
    );
    app.operator().post(&path, json!({})).await.expect(200);
    let own = app.call(up.text_at("/data/token"));
    own.get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    for (name, next) in [("ada", json!("reset_password")), ("bob", Value::Null)] {
        let signed_in = by_password(&app, "sign-in", name).await.expect(200);
        assert_eq!(signed_in.at("/data/next"), &next, "{signed_in}");
        assert_eq!(signed_in.at("/data/token").is_null(), name == "ada");
    }
}

/// What plugins keep goes with the human, and nobody changes how they sign in in their name.
#[tokio::test]
async fn how_a_human_signs_in_is_theirs_alone_and_goes_with_them() {
    let app = with_passwords().await;
    let up = by_password(&app, "sign-up", "ada").await.expect(200);
    let id = up.text_at("/data/user/id");
    let path = format!("/api/v1/users/{id}/impersonate");
    let acting = app.operator().post(&path, json!({ "reason": "r" })).await;
    let acting = app.call(acting.expect(201).text_at("/data/token"));
    acting.get("/api/auth/session").await.expect(200);
    let renamed = json!({ "username": "eve" });
    let change = acting.post("/api/auth/change-username", renamed.clone());
    change.await.refused(403, "forbidden");
    // The twin: in her own session she does.
    let own = app.call(up.text_at("/data/token"));
    own.post("/api/auth/change-username", renamed)
        .await
        .expect(200);
    let signed_in = by_password(&app, "sign-in", "eve").await.expect(200);
    let own = app.call(signed_in.text_at("/data/token"));
    own.post("/api/auth/delete-account", json!({}))
        .await
        .expect(200);
    by_password(&app, "sign-in", "eve")
        .await
        .refused(401, "unauthenticated");
}
