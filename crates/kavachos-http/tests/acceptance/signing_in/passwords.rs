//! Forgotten passwords, and showing again who one is.

use futures_util::future::join_all;
use kavachos_auth::email_password::Verification;
use serde_json::json;

use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};

const FORGOT: &str = "/api/auth/forgot-password";
const RESET: &str = "/api/auth/reset-password";
const CONFIRM: &str = "/api/auth/re-authenticate";

#[tokio::test]
async fn a_reset_ends_what_was_open_and_signs_nobody_in() {
    let scene = Scene::start().await;
    let open = scene.ada().await;
    scene
        .post(FORGOT, json!({ "email": ADA }))
        .await
        .expect(200);
    let token = scene.mailed_token().await;
    let body = json!({ "token": token, "newPassword": OTHER });
    let reset = scene.post(RESET, body.clone()).await.expect(200);
    assert_eq!(
        reset.body,
        json!({ "data": { "token": null, "next": "sign_in" } })
    );
    scene
        .app
        .call(&open)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    scene
        .sign_in(ADA, PASSWORD)
        .await
        .refused(401, "unauthenticated");
    scene.sign_in(ADA, OTHER).await.expect(200);
    scene
        .post(RESET, body)
        .await
        .refused(401, "unauthenticated");
}

/// Lessons C 38: an address that nobody verified is whose who reads mail there, and so is the account.
#[tokio::test]
async fn a_reset_of_an_account_that_nobody_verified_takes_it_over() {
    let scene = Scene::of(crate::setup(), Verification::Later).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let made = scene.post("/api/auth/sign-up/email", body).await;
    let stranger = token_of(&made.expect(200));
    scene
        .post(FORGOT, json!({ "email": ADA }))
        .await
        .expect(200);
    let token = scene.mailed_token().await;
    let body = json!({ "token": token, "newPassword": OTHER });
    scene.post(RESET, body.clone()).await.expect(200);
    scene
        .post(RESET, body)
        .await
        .refused(401, "unauthenticated");
    let gone = scene.app.call(&stranger).get("/api/auth/session").await;
    gone.refused(401, "unauthenticated");
    let own = scene.sign_in(ADA, OTHER).await.expect(200);
    assert_eq!(own.at("/data/user/emailVerified"), true);
}

#[tokio::test]
async fn of_many_resets_by_one_link_one_wins() {
    let scene = Scene::start().await;
    scene.ada().await;
    scene
        .post(FORGOT, json!({ "email": ADA }))
        .await
        .expect(200);
    let token = scene.mailed_token().await;
    let resets = (0..16).map(|number| {
        let password = format!("Schlehen nach dem Frost {number}");
        let body = json!({ "token": token, "newPassword": password });
        let scene = &scene;
        async move { (scene.post(RESET, body).await.status, password) }
    });
    let done = join_all(resets).await;
    let won: Vec<_> = done.iter().filter(|(status, _)| *status == 200).collect();
    assert_eq!(won.len(), 1, "{done:?}");
    scene.sign_in(ADA, &won[0].1).await.expect(200);
}

#[tokio::test]
async fn forgetting_tells_nobody_whether_there_is_an_account_and_a_link_is_over_after_half_an_hour()
{
    let scene = Scene::start().await;
    scene.ada().await;
    let known = scene
        .post(FORGOT, json!({ "email": ADA }))
        .await
        .expect(200);
    let unknown = scene
        .post(FORGOT, json!({ "email": "bob@example.com" }))
        .await
        .expect(200);
    assert_eq!(known.text, unknown.text);
    let token = scene.mailed_token().await;
    scene.app.advance(30 * 60);
    let body = json!({ "token": token, "newPassword": OTHER });
    scene
        .post(RESET, body)
        .await
        .refused(401, "unauthenticated");
    let cut: String = token.chars().skip(1).collect();
    for forged in ["", "AAAA", &"A".repeat(64), &cut] {
        let body = json!({ "token": forged, "newPassword": OTHER });
        scene
            .post(RESET, body)
            .await
            .refused(401, "unauthenticated");
    }
    assert!(scene.smtp.mails().iter().all(|mail| mail.to == [ADA]));
}

#[tokio::test]
async fn a_session_is_fresh_again_once_its_human_showed_who_they_are() {
    let scene = Scene::start().await;
    let token = scene.ada().await;
    let fresh = scene
        .app
        .call(&token)
        .get("/api/auth/freshness")
        .await
        .expect(200);
    assert_eq!(fresh.at("/data/fresh"), true);
    assert_eq!(fresh.at("/data/methods"), &json!(["password"]));
    scene.app.advance(10 * 60);
    let stale = scene
        .app
        .call(&token)
        .get("/api/auth/freshness")
        .await
        .expect(200);
    assert_eq!(stale.at("/data/fresh"), false);
    let wrong = json!({ "method": "password", "password": OTHER });
    scene
        .app
        .call(&token)
        .post(CONFIRM, wrong)
        .await
        .refused(403, "forbidden");
    let odd = scene
        .app
        .call(&token)
        .post(CONFIRM, json!({ "method": "smile" }))
        .await;
    assert_eq!(odd.refused(400, "malformed_request").field(), "method");
    let right = json!({ "method": "password", "password": PASSWORD });
    let renewed = scene
        .app
        .call(&token)
        .post(CONFIRM, right)
        .await
        .expect(200);
    // Lessons C 67: what was there before the step up is worth nothing after it.
    scene
        .app
        .call(&token)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    let fresh = scene
        .app
        .call(&token_of(&renewed))
        .get("/api/auth/freshness")
        .await;
    assert_eq!(fresh.expect(200).at("/data/fresh"), true);
}
