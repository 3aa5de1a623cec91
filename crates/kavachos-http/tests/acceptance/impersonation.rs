//! Impersonation: always shown, always on record, never for what has consequences, and over with its maker.

use http::Method;
use kavachos_test::{Call, Reply, TestAgent, TestApp, may, may_under};
use serde_json::{Value, json};

use crate::roles::Human;

/// Ada, whose agent may deploy with her approval, and somebody who acts in her name.
struct Scene {
    app: TestApp,
    ada: Human,
    agent: TestAgent,
    /// The operator's key by which it was opened.
    key: String,
    key_id: String,
    token: String,
}

impl Scene {
    async fn new() -> Self {
        let app = crate::start().await;
        let ada = Human::with_role(&app, "member").await;
        let mut permissions = may(&["read"], "mcp:x");
        let asks = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
        if let (Some(all), Some(more)) = (permissions.as_array_mut(), asks.as_array()) {
            all.extend(more.clone());
        }
        let agent = app.agent(&ada.id, permissions).await;
        let scopes = json!(["sessions:write", "users:impersonate"]);
        let key = json!({ "name": "support", "scopes": scopes });
        let key = app.operator().post("/api/v1/keys", key).await.expect(201);
        let opened = open(&app.call(key.text_at("/data/token")), &ada.id).await;
        let opened = opened.expect(201);
        Self {
            token: opened.text_at("/data/token").to_owned(),
            key: key.text_at("/data/token").to_owned(),
            key_id: key.id().to_owned(),
            app,
            ada,
            agent,
        }
    }

    fn acting(&self) -> Call {
        self.app.call(&self.token)
    }

    async fn lives(&self) -> bool {
        self.acting().get("/api/v1/agents").await.status == 200
    }

    async fn asked(&self) -> String {
        let asked = self
            .app
            .decide(&self.agent.id, "run", "mcp:deploy:site")
            .await;
        let asked = asked.decided("approval_required");
        asked.text_at("/data/approvalId").to_owned()
    }
}

async fn open(caller: &Call, user: &str) -> Reply {
    let path = format!("/api/v1/users/{user}/impersonate");
    caller.post(&path, json!({ "reason": "ticket 7" })).await
}

#[tokio::test]
async fn it_needs_both_scopes_and_a_reason() {
    let app = crate::start().await;
    let user = app.user().await;
    for (scopes, status) in [
        (vec!["sessions:write"], 403),
        (vec!["users:impersonate"], 403),
        (vec!["users:impersonate", "users:write"], 403),
        (vec!["sessions:write", "users:impersonate"], 201),
    ] {
        let key = app.key(json!({ "name": "k", "scopes": scopes })).await;
        let reply = open(&app.call(&key), &user).await;
        assert_eq!(reply.status, status, "{reply}");
    }
    let path = format!("/api/v1/users/{user}/impersonate");
    for body in [json!({}), json!({ "reason": "" })] {
        let reply = app.operator().post(&path, body).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), "reason");
    }
    let operator = app.operator();
    let unknown = operator.post(
        "/api/v1/users/user_01h455vb4pex5vsknk084sn02q/impersonate",
        json!({ "reason": "r" }),
    );
    unknown.await.refused(404, "not_found");
    // A ceiling bounds it as it bounds any session.
    for (ceiling, status) in [(may(&["read"], "mcp:*"), 403), (may(&["*"], "*"), 201)] {
        let scopes = json!(["sessions:write", "users:impersonate"]);
        let key = json!({ "name": "k", "scopes": scopes, "ceiling": ceiling });
        let reply = open(&app.call(&app.key(key).await), &user).await;
        assert_eq!(reply.status, status, "{reply}");
    }
}

/// They count among the human's sessions.
#[tokio::test]
async fn there_are_only_so_many() {
    let setup = crate::setup().settings(|settings| settings.sessions_per_user = 2);
    let app = setup.start().await;
    let user = app.user().await;
    let stranger = open(&app.anonymous(), &user).await;
    stranger.refused(401, "unauthenticated");
    for status in [201, 201, 422] {
        let opened = open(&app.operator(), &user).await;
        assert_eq!(opened.status, status, "{opened}");
    }
    let third = open(&app.operator(), &user).await;
    third.refused(422, "session_limit_exceeded");
}

#[tokio::test]
async fn it_is_shown_to_whoever_sees_the_session() {
    let scene = Scene::new().await;
    let own = scene.acting().get("/api/auth/session").await.expect(200);
    assert_eq!(own.at("/data/session/impersonatedBy"), &json!(scene.key_id));
    assert_eq!(own.at("/data/user/id"), &json!(scene.ada.id));
    let ada = scene.app.call(&scene.ada.token);
    let own = ada.get("/api/auth/session").await.expect(200);
    assert!(own.at("/data/session/impersonatedBy").is_null());
    let listed = ada.get("/api/auth/sessions").await.expect(200);
    let by = |row: &&Value| row["impersonatedBy"] == json!(scene.key_id);
    assert_eq!(listed.rows().iter().filter(by).count(), 1, "{listed}");
    // She ends it, as any of her sessions.
    let id = listed.rows().iter().find(by).unwrap()["id"].clone();
    let path = format!("/api/v1/sessions/{}", id.as_str().unwrap());
    assert!(scene.lives().await);
    ada.delete(&path).await.expect(200);
    assert!(!scene.lives().await);
}

#[tokio::test]
async fn every_act_in_it_is_on_record_with_both() {
    let scene = Scene::new().await;
    let opened = scene.app.audit("kind=session.impersonated").await;
    assert_eq!(opened[0]["actor"], json!(scene.key_id));
    assert_eq!(opened[0]["subject"], json!(scene.ada.id));
    assert_eq!(opened[0]["reason"], "ticket 7");
    let approval = scene.asked().await;
    let agent = format!("/api/v1/agents/{}", scene.agent.id);
    let other = scene.app.session(&scene.ada.id).await;
    let acts = [
        (
            Method::POST,
            format!("/api/v1/approvals/{approval}/deny"),
            "approval.denied",
        ),
        (Method::POST, format!("{agent}/suspend"), "agent.suspended"),
        (Method::DELETE, agent, "agent.revoked"),
        (
            Method::DELETE,
            format!("/api/v1/sessions/{}", other.id),
            "session.revoked",
        ),
    ];
    for (method, path, kind) in acts {
        let body = (method == Method::POST).then(|| b"{}".to_vec());
        let done = scene.acting().send(method, &path, body).await;
        assert!(done.status < 300, "{path}: {done}");
        let rows = scene.app.audit(&format!("kind={kind}")).await;
        assert_eq!(rows[0]["impersonator"], json!(scene.key_id), "{rows:?}");
        assert_eq!(rows[0]["subject"], json!(scene.ada.id));
        assert_ne!(rows[0]["actor"], json!(scene.key_id));
    }
    // Refusals too.
    scene
        .acting()
        .get("/api/v1/users")
        .await
        .refused(403, "forbidden");
    let path = format!("/api/v1/users/{}/ban", scene.ada.id);
    scene
        .acting()
        .post(&path, json!({}))
        .await
        .refused(403, "forbidden");
    let rows = scene.app.audit("kind=user.banned&outcome=denied").await;
    assert_eq!(rows[0]["impersonator"], json!(scene.key_id), "{rows:?}");
    // The twin: what she does herself names nobody else, and she reads who it was, but not from where.
    let mine = scene.app.session(&scene.ada.id).await;
    let ada = scene.app.call(&scene.ada.token);
    ada.delete(&format!("/api/v1/sessions/{}", mine.id))
        .await
        .expect(200);
    let rows = ada
        .get("/api/v1/audit?kind=session.revoked")
        .await
        .expect(200);
    let rows = rows.rows();
    assert!(rows[0]["impersonator"].is_null() && rows[0]["ip"].is_string());
    assert_eq!(rows[1]["impersonator"], json!(scene.key_id));
    assert!(rows[1]["ip"].is_null() && rows[1]["userAgent"].is_null());
}

#[tokio::test]
async fn nothing_with_consequences_is_done_in_it() {
    let scene = Scene::new().await;
    let approval = scene.asked().await;
    let path = format!("/api/v1/approvals/{approval}");
    let shown = scene.acting().get(&path).await.expect(200);
    let server = json!({
        "audience": "https://tools.example.com/mcp", "name": "tools", "kind": "kavach",
        "scopes": [{ "name": "mcp:*", "description": "everything" }],
    });
    scene
        .app
        .operator()
        .post("/api/v1/resources", server)
        .await
        .expect(201);
    let token = json!({
        "audience": "https://tools.example.com/mcp", "reason": "look",
        "permissions": [{ "actions": ["read"], "resource": "mcp:x" }],
    });
    let mut of_agent = token.clone();
    of_agent["agent"] = json!(scene.agent.id);
    let digest = json!({ "digest": shown.at("/data/digest") });
    let approve = format!("{path}/approve");
    let of = |rest: &str| format!("/api/v1/users/{}{rest}", scene.ada.id);
    let none = json!({});
    // What she herself may do, in the same order: (path, body, her status).
    let posts = [
        ("/api/v1/delegate", &token, 200),
        ("/api/v1/delegate", &of_agent, 200),
        (approve.as_str(), &digest, 200),
        ("/api/auth/delete-account", &none, 200),
    ];
    for (path, body, _) in posts {
        let reply = scene.acting().post(path, body.clone()).await;
        reply.refused(403, "forbidden");
    }
    let export = scene.acting().get("/api/auth/export").await;
    export.refused(403, "forbidden");
    open(&scene.acting(), &scene.ada.id)
        .await
        .refused(403, "forbidden");
    let path = of("/sessions");
    let opened = scene.acting().post(&path, json!({})).await;
    opened.refused(403, "forbidden");
    // The twin: in a session of her own each of them is done.
    let ada = scene.app.call(&scene.ada.token);
    ada.get("/api/auth/export").await.expect(200);
    for (path, body, status) in posts {
        ada.post(path, body.clone()).await.expect(status);
    }
}

#[tokio::test]
async fn it_lasts_an_hour_at_the_most_however_much_it_is_used() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        assert!(scene.lives().await);
        scene.app.advance(600);
    }
    scene.app.advance(599);
    assert!(scene.lives().await);
    scene.app.advance(1);
    assert!(!scene.lives().await);
    // A key that ends sooner takes it along.
    let end = scene
        .app
        .kavach()
        .engine()
        .now()
        .plus(std::time::Duration::from_secs(60));
    let scopes = json!(["sessions:write", "users:impersonate"]);
    let key = json!({ "name": "k", "scopes": scopes, "expiresAt": end });
    let key = scene.app.key(key).await;
    let opened = open(&scene.app.call(&key), &scene.ada.id).await.expect(201);
    assert_eq!(opened.at("/data/expiresAt"), &json!(end));
}

#[tokio::test]
async fn it_ends_with_the_key_that_opened_it() {
    for end in ["nothing", "revoked", "changed", "another"] {
        let scene = Scene::new().await;
        let path = format!("/api/v1/keys/{}", scene.key_id);
        let operator = scene.app.operator();
        match end {
            "revoked" => drop(operator.delete(&path).await.expect(200)),
            "changed" => drop(
                operator
                    .patch(&path, json!({ "name": "n" }))
                    .await
                    .expect(200),
            ),
            "another" => {
                let other = json!({ "name": "k", "scopes": ["audit:read"] });
                let other = operator.post("/api/v1/keys", other).await.expect(201);
                let path = format!("/api/v1/keys/{}", other.id());
                operator.delete(&path).await.expect(200);
            }
            _ => {}
        }
        let lives = matches!(end, "nothing" | "another");
        assert_eq!(scene.lives().await, lives, "{end}");
        let agent = format!("/api/v1/agents/{}/suspend", scene.agent.id);
        let act = scene.acting().post(&agent, json!({})).await;
        assert_eq!(act.status, if lives { 200 } else { 401 }, "{end}: {act}");
        // A new session of hers, and an impersonation by another key, are other things.
        let own = scene.app.call(&scene.ada.token).get("/api/v1/agents").await;
        own.expect(200);
        assert!(!scene.key.is_empty());
    }
}

#[tokio::test]
async fn it_ends_with_the_session_the_role_and_the_account_of_who_opened_it() {
    for end in [
        "nothing",
        "signed out",
        "demoted",
        "banned",
        "banned a while",
        "deleted",
        "raised",
    ] {
        let app = crate::start().await;
        let admin = Human::with_role(&app, "admin").await;
        let ada = Human::with_role(&app, "member").await;
        let opened = open(&app.call(&admin.token), &ada.id).await.expect(201);
        assert_eq!(opened.at("/data/impersonatedBy"), &json!(admin.id));
        let acting = app.call(opened.text_at("/data/token"));
        acting.get("/api/v1/agents").await.expect(200);
        let operator = app.operator();
        let of = |id: &str, rest: &str| format!("/api/v1/users/{id}{rest}");
        match end {
            "signed out" => {
                let own = app.call(&admin.token);
                own.post("/api/auth/sign-out", json!({})).await.expect(200);
            }
            "demoted" => {
                let body = json!({ "role": "member" });
                operator
                    .post(&of(&admin.id, "/role"), body)
                    .await
                    .expect(200);
            }
            "banned" => drop(
                operator
                    .post(&of(&admin.id, "/ban"), json!({}))
                    .await
                    .expect(200),
            ),
            "banned a while" => {
                let until = app
                    .kavach()
                    .engine()
                    .now()
                    .plus(std::time::Duration::from_secs(5));
                let body = json!({ "until": until });
                operator
                    .post(&of(&admin.id, "/ban"), body)
                    .await
                    .expect(200);
                app.advance(5);
            }
            "deleted" => drop(operator.delete(&of(&admin.id, "")).await.expect(200)),
            "raised" => {
                let body = json!({ "role": "admin" });
                operator.post(&of(&ada.id, "/role"), body).await.expect(200);
            }
            _ => {}
        }
        let reply = acting.get("/api/v1/agents").await;
        let expected = if end == "nothing" { 200 } else { 401 };
        assert_eq!(reply.status, expected, "{end}: {reply}");
    }
}

#[tokio::test]
async fn it_has_no_role_and_reaches_nobody_as_high() {
    let app = crate::start().await;
    let (owner, admin) = (
        Human::with_role(&app, "owner").await,
        Human::with_role(&app, "admin").await,
    );
    let opened = open(&app.call(&owner.token), &admin.id).await.expect(201);
    let acting = app.call(opened.text_at("/data/token"));
    acting.get("/api/v1/users").await.refused(403, "forbidden");
    let member = Human::with_role(&app, "member").await;
    open(&acting, &member.id).await.refused(403, "forbidden");
    // The twin: the admin's own session.
    let own = app.call(&admin.token);
    own.get("/api/v1/users").await.expect(200);
    open(&own, &member.id).await.expect(201);
    open(&own, &admin.id).await.refused(403, "forbidden");
    open(&own, &owner.id).await.refused(403, "forbidden");
    // Nor of another one who is trusted with as much.
    let other = Human::with_role(&app, "owner").await;
    open(&app.call(&owner.token), &other.id)
        .await
        .refused(403, "forbidden");
    let myself = open(&app.call(&owner.token), &owner.id).await;
    myself.refused(409, "conflict");
    let ban = format!("/api/v1/users/{}/ban", member.id);
    app.operator().post(&ban, json!({})).await.expect(200);
    open(&own, &member.id).await.refused(409, "conflict");
    // A member cannot, and learns nothing of who there is.
    let plain = Human::with_role(&app, "member").await;
    open(&app.call(&plain.token), &owner.id)
        .await
        .refused(403, "forbidden");
}
