//! Links by mail that sign in.

use kavachos_auth::email_password::Verification;
use serde_json::json;

use super::scene::{ADA, PASSWORD, Scene, token_of};

const SEND: &str = "/api/auth/magic-link/send";
const VERIFY: &str = "/api/auth/magic-link/verify";

#[tokio::test]
async fn a_link_signs_in_the_browser_that_asked_for_it_once() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let asked = browser
        .post(SEND, json!({ "email": ADA }))
        .await
        .expect(200);
    assert_eq!(asked.at("/data/next"), "open_link");
    let token = scene.mailed_token().await;
    let used = browser
        .post(VERIFY, json!({ "token": token }))
        .await
        .expect(200);
    assert_eq!(used.at("/data/user/email"), ADA);
    assert_eq!(used.at("/data/user/emailVerified"), true);
    let again = json!({ "token": token, "confirm": true });
    browser
        .post(VERIFY, again)
        .await
        .refused(401, "unauthenticated");
}

/// Lessons C 64: in another browser the reader says that it is meant.
#[tokio::test]
async fn in_another_browser_a_link_is_confirmed() {
    let scene = Scene::start().await;
    scene.post(SEND, json!({ "email": ADA })).await.expect(200);
    let token = scene.mailed_token().await;
    let asked = scene
        .post(VERIFY, json!({ "token": token }))
        .await
        .expect(200);
    assert_eq!(asked.at("/data/next"), "confirm");
    assert_eq!(asked.at("/data/token"), &serde_json::Value::Null);
    let confirmed = json!({ "token": token, "confirm": true });
    scene.post(VERIFY, confirmed).await.expect(200);
}

#[tokio::test]
async fn a_link_is_over_after_ten_minutes() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    for (seconds, status) in [(10 * 60 - 1, 200), (10 * 60, 401)] {
        browser
            .post(SEND, json!({ "email": ADA }))
            .await
            .expect(200);
        let token = scene.mailed_token().await;
        scene.app.advance(seconds);
        browser
            .post(VERIFY, json!({ "token": token }))
            .await
            .expect(status);
    }
}

/// Lessons C 66: an address gets five mails in an hour, whoever asks and by whichever method.
#[tokio::test]
async fn mails_to_one_address_are_limited_and_not_told_apart() {
    let scene = Scene::start().await;
    let both = [SEND, "/api/auth/email-otp/send"];
    for path in both.into_iter().cycle().take(5) {
        scene
            .post(path, json!({ "email": "bob@example.com" }))
            .await
            .expect(200);
    }
    for path in both {
        let reply = scene
            .post(path, json!({ "email": "bob@example.com" }))
            .await;
        reply.refused(429, "too_many_requests");
        // The twin: another address.
        scene.post(path, json!({ "email": ADA })).await.expect(200);
    }
    scene.app.advance(3_660);
    scene
        .post(SEND, json!({ "email": "bob@example.com" }))
        .await
        .expect(200);
}

/// Lessons C 38: whoever made an account with an address that they do not read keeps nothing of it.
#[tokio::test]
async fn the_reader_of_an_address_takes_over_what_somebody_else_made_with_it() {
    let scene = Scene::of(crate::setup(), Verification::Later).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let made = scene
        .post("/api/auth/sign-up/email", body)
        .await
        .expect(200);
    let attacker = token_of(&made);
    let user = made.text_at("/data/user/id").to_owned();
    let agent = scene
        .app
        .agent(&user, kavachos_test::may(&["read"], "mcp:*"))
        .await;
    scene
        .app
        .decide(&agent.id, "read", "mcp:a")
        .await
        .decided("allowed");
    scene.post(SEND, json!({ "email": ADA })).await.expect(200);
    let token = scene.mailed_token().await;
    let mut reader = scene.browser();
    let used = reader
        .post(VERIFY, json!({ "token": token, "confirm": true }))
        .await;
    let used = used.expect(200);
    assert_eq!(used.text_at("/data/user/id"), user);
    assert_eq!(used.at("/data/user/emailVerified"), true);
    scene
        .app
        .call(&attacker)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    scene
        .sign_in(ADA, PASSWORD)
        .await
        .refused(401, "unauthenticated");
    scene
        .app
        .decide(&agent.id, "read", "mcp:a")
        .await
        .decided("agent_revoked");
    scene
        .app
        .call(&agent.key)
        .get(&format!("/api/v1/agents/{}", agent.id))
        .await
        .refused(401, "unauthenticated");
    scene
        .app
        .call(&token_of(&used))
        .get("/api/auth/session")
        .await
        .expect(200);
}
