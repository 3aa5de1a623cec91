//! Sessions in cookies: whose they are, from where they are taken, and how they end.

use serde_json::json;

use super::scene::{ADA, PASSWORD, Scene, token_of};

const SIGN_IN: &str = "/api/auth/sign-in/email";
const SESSION: &str = "__Host-kavach_session";

#[tokio::test]
async fn a_browser_gets_its_session_as_a_cookie_that_no_script_and_no_other_host_sees() {
    let scene = Scene::start().await;
    scene.ada().await;
    let mut browser = scene.browser();
    let body = json!({ "email": ADA, "password": PASSWORD });
    let reply = browser.post_for_cookie(SIGN_IN, body).await.expect(200);
    assert_eq!(reply.at("/data/token"), &serde_json::Value::Null);
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    for cookie in cookies {
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.starts_with("__Host-kavach_"), "{cookie}");
        assert!(
            cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age="),
            "{cookie}"
        );
        assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
    }
    let own = browser.get("/api/auth/session").await.expect(200);
    assert_eq!(own.at("/data/session/current"), true);
    assert_eq!(own.at("/data/session/method"), "email_password");
    browser
        .post("/api/auth/sign-out", json!({}))
        .await
        .expect(200);
    assert_eq!(browser.cookie(SESSION), None);
    browser
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
}

/// Lessons C 71: what another site's page sends carries no session, and signs nobody in or out.
#[tokio::test]
async fn other_sites_pages_act_for_nobody() {
    let scene = Scene::start().await;
    scene.ada().await;
    let mut browser = scene.browser();
    let body = json!({ "email": ADA, "password": PASSWORD });
    browser
        .post_for_cookie(SIGN_IN, body.clone())
        .await
        .expect(200);
    let cookie = format!("{SESSION}={}", browser.cookie(SESSION).unwrap());
    let with = |pairs: &[(&str, &str)]| {
        let call = scene.app.anonymous().header("cookie", &cookie);
        pairs
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value))
    };
    for pairs in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[],
    ] {
        with(pairs)
            .post("/api/auth/sign-out", json!({}))
            .await
            .refused(401, "unauthenticated");
    }
    let foreign = scene
        .app
        .anonymous()
        .header("origin", "https://evil.example");
    foreign
        .post(SIGN_IN, body.clone())
        .await
        .refused(403, "forbidden");
    let foreign = scene.app.anonymous().header("sec-fetch-site", "cross-site");
    foreign
        .post(SIGN_IN, body.clone())
        .await
        .refused(403, "forbidden");
    // JSON under another name is what a form of another site could send.
    let plain = scene.app.anonymous().header("content-type", "text/plain");
    plain
        .post(SIGN_IN, body)
        .await
        .refused(400, "malformed_request");
    // The twin: from a page of this server.
    let here = with(&[("origin", "http://localhost:3000")]);
    here.post("/api/auth/sign-out", json!({})).await.expect(200);
}

/// Lessons C 67: what a browser had before a sign-in is worth nothing after it.
#[tokio::test]
async fn a_sign_in_replaces_the_session_that_was_there() {
    let scene = Scene::start().await;
    scene.ada().await;
    let mut browser = scene.browser();
    browser
        .post_for_cookie("/api/auth/anonymous", json!({}))
        .await
        .expect(200);
    let before = browser.cookie(SESSION).unwrap().to_owned();
    let body = json!({ "email": ADA, "password": PASSWORD });
    browser
        .post_for_cookie(SIGN_IN, body.clone())
        .await
        .expect(200);
    let after = browser.cookie(SESSION).unwrap().to_owned();
    assert_ne!(before, after);
    scene
        .app
        .call(&before)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    scene
        .app
        .call(&after)
        .get("/api/auth/session")
        .await
        .expect(200);
    // A dead cookie keeps nobody from signing in.
    scene
        .app
        .call(&after)
        .post("/api/auth/sign-out", json!({}))
        .await
        .expect(200);
    browser.post_for_cookie(SIGN_IN, body).await.expect(200);
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions_and_no_others() {
    let scene = Scene::start().await;
    let one = scene.ada().await;
    let two = token_of(&scene.sign_in(ADA, PASSWORD).await.expect(200));
    let list = scene
        .app
        .call(&two)
        .get("/api/auth/sessions")
        .await
        .expect(200);
    assert_eq!(list.rows().len(), 2);
    let current = |row: &&serde_json::Value| row["current"] == true;
    assert_eq!(list.rows().iter().filter(current).count(), 1);
    let other = list
        .rows()
        .iter()
        .find(|row| row["current"] == false)
        .unwrap();
    let path = format!("/api/auth/sessions/{}", other["id"].as_str().unwrap());
    let guest = token_of(
        &scene
            .post("/api/auth/anonymous", json!({}))
            .await
            .expect(200),
    );
    scene
        .app
        .call(&guest)
        .delete(&path)
        .await
        .refused(404, "not_found");
    scene.app.call(&two).delete(&path).await.expect(200);
    scene
        .app
        .call(&one)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    scene
        .app
        .operator()
        .get("/api/auth/session")
        .await
        .refused(403, "forbidden");
}
