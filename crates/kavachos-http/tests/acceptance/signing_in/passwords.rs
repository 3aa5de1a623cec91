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

/// A stranger who guesses keeps nobody out who has just reset their password: not in the browser in which they did.
#[tokio::test]
async fn whoever_reset_their_password_is_not_kept_out_by_a_stranger() {
    let setup = crate::setup().settings(|settings| settings.guesses_per_account = 2);
    let scene = Scene::of(setup, Verification::First).await;
    scene.ada().await;
    let attack = async || {
        for _ in 0..3 {
            scene.sign_in(ADA, "a guess").await;
        }
    };
    attack().await;
    let mut ada = scene.browser();
    let forgot = ada.post_for_cookie(FORGOT, json!({ "email": ADA })).await;
    forgot.expect(200);
    let body = json!({ "token": scene.mailed_token().await, "newPassword": OTHER });
    ada.post_for_cookie(RESET, body).await.expect(200);
    attack().await;
    let right = json!({ "email": ADA, "password": OTHER });
    let elsewhere = scene.sign_in(ADA, OTHER).await;
    elsewhere.refused(429, "too_many_requests");
    ada.post_for_cookie("/api/auth/sign-in/email", right)
        .await
        .expect(200);
}

/// A browser stays known when its human changes their password in it; the others are known no more.
#[tokio::test]
async fn a_changed_password_forgets_all_browsers_but_the_one_in_which_it_was_changed() {
    let setup = crate::setup().settings(|settings| settings.guesses_per_account = 2);
    let scene = Scene::of(setup, Verification::First).await;
    scene.ada().await;
    let right = |password: &str| json!({ "email": ADA, "password": password });
    let (mut here, mut there) = (scene.browser(), scene.browser());
    for browser in [&mut here, &mut there] {
        let signed_in = browser.post_for_cookie("/api/auth/sign-in/email", right(PASSWORD));
        signed_in.await.expect(200);
    }
    let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
    here.post_for_cookie("/api/auth/change-password", body)
        .await
        .expect(200);
    for _ in 0..3 {
        scene.sign_in(ADA, "a guess").await;
    }
    there
        .post_for_cookie("/api/auth/sign-in/email", right(OTHER))
        .await
        .refused(429, "too_many_requests");
    here.post_for_cookie("/api/auth/sign-in/email", right(OTHER))
        .await
        .expect(200);
}

/// Style, rule 4: a guess in a session that somebody found is on record like one at the door.
#[tokio::test]
async fn a_wrong_password_in_a_session_is_on_record() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    let kind = "kind=session_freshness.confirmed&outcome=denied";
    let call = scene.app.call(&ada);
    let right = json!({ "method": "password", "password": PASSWORD });
    let token = token_of(&call.post(CONFIRM, right).await.expect(200));
    assert!(scene.app.audit(kind).await.is_empty());
    let wrong = json!({ "method": "password", "password": OTHER });
    let call = scene.app.call(&token);
    call.post(CONFIRM, wrong).await.refused(403, "forbidden");
    assert_eq!(scene.app.audit(kind).await.len(), 1);
}

/// Whoever else knows a password that must be set anew does nothing with it, in a session either.
#[tokio::test]
async fn a_password_that_must_be_reset_confirms_and_changes_nothing() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    let own = scene.app.call(&ada).get("/api/auth/session").await;
    let user = own.expect(200).text_at("/data/user/id").to_owned();
    let path = format!("/api/v1/users/{user}/require-reset");
    scene
        .app
        .operator()
        .post(&path, json!({}))
        .await
        .expect(200);
    let session = scene.app.session(&user).await;
    let call = scene.app.call(&session.token);
    let confirming = json!({ "method": "password", "password": PASSWORD });
    let changing = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
    for (path, body) in [
        (CONFIRM, confirming),
        ("/api/auth/change-password", changing),
    ] {
        let refused = call.post(path, body).await.refused(409, "conflict");
        assert!(refused.message().contains("/forgot-password"), "{refused}");
    }
}

/// Whoever knows a password and found a session is let by it to nothing that asks for a fresh one.
#[tokio::test]
async fn a_changed_password_makes_no_session_fresh() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    scene.app.advance(10 * 60);
    let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
    let call = scene.app.call(&ada);
    let changed = call.post("/api/auth/change-password", body).await;
    let token = token_of(&changed.expect(200));
    let call = scene.app.call(&token);
    let fresh = call.get("/api/auth/freshness").await.expect(200);
    assert_eq!(fresh.at("/data/fresh"), false);
    // The twin: showing it again does.
    let body = json!({ "method": "password", "password": OTHER });
    let token = token_of(&call.post(CONFIRM, body).await.expect(200));
    let fresh = scene.app.call(&token).get("/api/auth/freshness").await;
    assert_eq!(fresh.expect(200).at("/data/fresh"), true);
}
/// Whoever has no password and found an open session gives the account none.
#[tokio::test]
async fn a_first_password_asks_for_a_fresh_session() {
    for (seconds, status) in [(599, 200), (600, 403)] {
        let scene = Scene::start().await;
        let mut browser = scene.browser();
        let asked = json!({ "email": ADA });
        let asked = browser.post("/api/auth/magic-link/send", asked).await;
        asked.expect(200);
        let link = json!({ "token": scene.mailed_token().await });
        let opened = browser.post("/api/auth/magic-link/verify", link).await;
        let token = token_of(&opened.expect(200));
        scene.app.advance(seconds);
        let own = scene.app.call(&token);
        let body = json!({ "newPassword": PASSWORD });
        let set = own.post("/api/auth/change-password", body).await;
        set.expect(status);
    }
}
