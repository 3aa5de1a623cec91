//! What a human takes out of what is kept about them, and how they go.

use kavachos_test::{TestApp, may};
use serde_json::{Value, json};

use crate::moving_people::{PASSWORD, by_passkey, human, with_all};
use crate::roles::Human;

async fn ada(app: &TestApp) -> Human {
    let body = json!({ "name": "Ada", "email": "ada@example.com" });
    let made = app.operator().post("/api/v1/users", body).await.expect(201);
    Human::signed_in(app, made.id()).await
}

#[tokio::test]
async fn a_human_takes_out_all_that_is_kept_about_them_and_nothing_of_others() {
    let app = crate::start().await;
    let (ada, bob) = (ada(&app).await, Human::with_role(&app, "owner").await);
    let own = app.agent(&ada.id, may(&["read"], "mcp:x")).await;
    let other = app.agent(&bob.id, may(&["read"], "mcp:x")).await;
    app.decide(&own.id, "read", "mcp:x")
        .await
        .decided("allowed");
    app.decide(&other.id, "read", "mcp:x")
        .await
        .decided("allowed");
    for _ in 0..120 {
        app.decide(&own.id, "read", "mcp:x")
            .await
            .decided("allowed");
    }
    let whole = app
        .call(&ada.token)
        .get("/api/auth/export")
        .await
        .expect(200);
    assert_eq!(whole.at("/data/account/email"), "ada@example.com");
    let length = |name: &str| whole.at(&format!("/data/{name}")).as_array().map(Vec::len);
    assert_eq!(length("sessions"), Some(1));
    assert_eq!(length("agents"), Some(1));
    assert_eq!(length("delegations"), Some(1));
    assert_eq!(length("approvals"), Some(0));
    assert!(length("audit").unwrap() > 120, "{:?}", length("audit"));
    assert!(whole.text.contains(&own.id));
    for others in [&other.id, &bob.id, &ada.token, &own.key] {
        assert!(!whole.text.contains(others.as_str()), "{others}");
    }
    let rows = app.audit("kind=user.exported").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["subject"], json!(ada.id));
    // The twin: an owner's own holds the owner's things, and not hers, whatever else an owner may see.
    let theirs = app
        .call(&bob.token)
        .get("/api/auth/export")
        .await
        .expect(200);
    assert!(theirs.text.contains(&other.id) && !theirs.text.contains(&own.id));
}

#[tokio::test]
async fn what_somebody_signs_in_with_is_told_without_its_secrets() {
    let app = with_all(crate::setup()).start().await;
    let mut human = human(&app).await;
    let signed_in = by_passkey(&app, &mut human).await.expect(200);
    let caller = app.call(signed_in.text_at("/data/token"));
    let whole = caller.get("/api/auth/export").await.expect(200);
    let methods = whole.at("/data/methods").as_array().unwrap();
    let of = |method: &str| methods.iter().find(|one| one["method"] == method).unwrap();
    assert_eq!(of("username_password")["username"], "ada.k");
    assert_eq!(of("passkey")["kind"], "passkey");
    for (method, member) in [
        ("password", "setAt"),
        ("username_password", "chosenAt"),
        ("passkey", "usedAt"),
        ("totp", "enabledAt"),
    ] {
        assert!(of(method)[member].is_string(), "{method}: {whole}");
    }
    for secret in [
        human.secret.as_str(),
        &human.backup,
        PASSWORD,
        "argon2",
        "sealed",
    ] {
        assert!(!whole.text.contains(secret), "{secret}");
    }
    // The twin: who has none of it is told of none.
    let other = ada(&app).await;
    let none = app
        .call(&other.token)
        .get("/api/auth/export")
        .await
        .expect(200);
    assert_eq!(none.at("/data/methods"), &json!([]));
}

#[tokio::test]
async fn only_a_human_in_a_fresh_session_takes_theirs_out_or_goes() {
    for (seconds, status) in [(599, 200), (600, 403)] {
        let app = crate::start().await;
        let ada = ada(&app).await;
        app.advance(seconds);
        let caller = app.call(&ada.token);
        caller.get("/api/auth/export").await.expect(status);
        let gone = caller.post("/api/auth/delete-account", json!({})).await;
        gone.expect(status);
    }
    let app = crate::start().await;
    let stranger = app.anonymous();
    let refused = stranger.get("/api/auth/export").await;
    refused.refused(401, "unauthenticated");
    let refused = stranger.post("/api/auth/delete-account", json!({})).await;
    refused.refused(401, "unauthenticated");
    let ada = ada(&app).await;
    let caller = app.call(&ada.token);
    let wrong = caller.get("/api/auth/export?userId=me").await;
    assert_eq!(wrong.refused(400, "malformed_request").field(), "userId");
    let body = json!({ "userId": ada.id });
    let wrong = caller.post("/api/auth/delete-account", body).await;
    assert_eq!(wrong.refused(400, "malformed_request").field(), "userId");
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
    for caller in [app.operator(), app.call(&agent.key)] {
        caller
            .get("/api/auth/export")
            .await
            .refused(403, "forbidden");
        let gone = caller.post("/api/auth/delete-account", json!({})).await;
        gone.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn a_human_who_goes_takes_along_what_is_personal() {
    let app = crate::start().await;
    let ada = ada(&app).await;
    let agent = app.agent(&ada.id, may(&["read"], "mcp:x")).await;
    let caller = app.call(&ada.token);
    let gone = caller.post("/api/auth/delete-account", json!({})).await;
    let gone = gone.expect(200);
    assert_eq!(gone.at("/data/state"), "closed");
    let own = app.call(&ada.token).get("/api/auth/session").await;
    own.refused(401, "unauthenticated");
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("owner_not_active");
    let shown = app
        .operator()
        .get(&format!("/api/v1/users/{}", ada.id))
        .await;
    let shown = shown.expect(200);
    assert_eq!(shown.at("/data/status"), "revoked");
    for member in ["email", "name"] {
        assert_eq!(shown.at(&format!("/data/{member}")), &Value::Null);
    }
    let sessions = format!("/api/v1/users/{}/sessions", ada.id);
    let sessions = app.operator().get(&sessions).await.expect(200);
    assert!(sessions.rows().iter().all(|row| row["ip"].is_null()));
    let rows = app.audit("kind=user.deleted").await;
    let actor = rows[0]["actor"].as_str().unwrap();
    assert!(!actor.starts_with("key_"), "{actor}");
    // The address is free for another.
    let body = json!({ "email": "ada@example.com" });
    app.operator().post("/api/v1/users", body).await.expect(201);
}
