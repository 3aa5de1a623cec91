//! E-mail address and password.

use futures_util::future::join_all;
use kavachos_auth::email_password::Verification;
use serde_json::json;

use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};

const SIGN_UP: &str = "/api/auth/sign-up/email";
const VERIFY: &str = "/api/auth/verify-email";
/// What one hash computes at the cost that is recommended.
const ONE_HASH: u64 = 2 * 19_456;

#[tokio::test]
async fn an_account_is_there_once_the_mailed_link_was_opened_by_who_signed_up() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let asked = json!({ "email": "Ada@Example.com", "password": PASSWORD, "name": "Ada" });
    let asked = browser.post(SIGN_UP, asked).await.expect(200);
    assert_eq!(
        asked.body,
        json!({ "data": { "token": null, "next": "verify_email" } })
    );
    scene
        .sign_in(ADA, PASSWORD)
        .await
        .refused(401, "unauthenticated");
    let token = scene.mailed_token().await;
    let verified = browser
        .post(VERIFY, json!({ "token": token }))
        .await
        .expect(200);
    assert_eq!(verified.at("/data/user/email"), ADA);
    assert_eq!(verified.at("/data/user/emailVerified"), true);
    let again = scene.sign_in(ADA, PASSWORD).await.expect(200);
    assert_eq!(again.at("/data/user/id"), verified.at("/data/user/id"));
    browser
        .post(VERIFY, json!({ "token": token }))
        .await
        .refused(401, "unauthenticated");
}

/// Lessons C 38: whoever signs up with the address of somebody else gets nothing by the other's click.
#[tokio::test]
async fn a_link_that_somebody_else_asked_for_needs_the_password_that_they_chose() {
    let scene = Scene::start().await;
    let asked = json!({ "email": ADA, "password": "chosen by the attacker" });
    scene.post(SIGN_UP, asked).await.expect(200);
    let token = scene.mailed_token().await;
    let clicked = scene
        .post(VERIFY, json!({ "token": token }))
        .await
        .expect(200);
    assert_eq!(clicked.at("/data/next"), "enter_password");
    let body = json!({ "token": token, "password": PASSWORD });
    scene
        .post(VERIFY, body)
        .await
        .refused(401, "unauthenticated");
    scene
        .sign_in(ADA, "chosen by the attacker")
        .await
        .refused(401, "unauthenticated");
    // The twin: whoever chose the password and reads the mail is in.
    let body = json!({ "token": token, "password": "chosen by the attacker" });
    scene.post(VERIFY, body).await.expect(200);
}

#[tokio::test]
async fn signing_up_tells_nobody_whether_there_is_an_account() {
    let scene = Scene::start().await;
    scene.ada().await;
    let mut answers = Vec::new();
    for email in [ADA, "bob@example.com"] {
        let before = scene.passwords.blocks_filled();
        let body = json!({ "email": email, "password": OTHER });
        let reply = scene.post(SIGN_UP, body).await.expect(200);
        assert_eq!(
            scene.passwords.blocks_filled() - before,
            ONE_HASH,
            "{email}"
        );
        answers.push(reply.text);
    }
    assert_eq!(answers[0], answers[1]);
    // Ada is told that she has an account; Bob gets a link.
    let mails = scene.smtp.expect(3).await;
    let to_ada = mails.iter().rfind(|mail| mail.to == [ADA]).unwrap();
    assert!(!to_ada.text().contains("token="), "{}", to_ada.text());
    scene
        .sign_in(ADA, OTHER)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn neither_the_answer_nor_the_work_of_a_sign_in_tells_of_accounts() {
    let scene = Scene::start().await;
    scene.ada().await;
    let mut answers = Vec::new();
    for email in [ADA, "bob@example.com", "carol@example.org"] {
        let before = scene.passwords.blocks_filled();
        let reply = scene.sign_in(email, "not the password").await;
        assert_eq!(
            scene.passwords.blocks_filled() - before,
            ONE_HASH,
            "{email}"
        );
        answers.push(reply.refused(401, "unauthenticated").message().to_owned());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// Lessons C 45: a thousand guesses at once are no more than the budget.
#[tokio::test]
async fn guesses_are_counted_before_they_are_looked_at() {
    let setup = crate::setup().settings(|settings| settings.guesses_per_account = 3);
    let scene = Scene::of(setup, Verification::First).await;
    scene.ada().await;
    let before = scene.passwords.blocks_filled();
    let guesses = (0..40).map(|number| async {
        let address = format!("127.0.0.{}", number + 2);
        let body = json!({ "email": ADA, "password": format!("a guess of mine {number}") });
        let call = scene.app.anonymous().from(&address);
        call.post("/api/auth/sign-in/email", body).await.status
    });
    let statuses = join_all(guesses).await;
    let looked_at = (scene.passwords.blocks_filled() - before) / ONE_HASH;
    assert_eq!(looked_at, 3);
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 37);
    // Also for whoever knows it, until the pause is over; then the budget comes back with the right one.
    let waiting = scene
        .sign_in(ADA, PASSWORD)
        .await
        .refused(429, "too_many_requests");
    assert!(!waiting.header("retry-after").is_empty());
    scene.app.advance(61);
    scene.sign_in(ADA, PASSWORD).await.expect(200);
    scene
        .sign_in(ADA, "not the password")
        .await
        .refused(401, "unauthenticated");
}

/// A stranger who guesses does not lock the owner out of a browser in which they signed in before.
#[tokio::test]
async fn a_browser_that_is_known_has_guesses_of_its_own() {
    let setup = crate::setup().settings(|settings| settings.guesses_per_account = 2);
    let scene = Scene::of(setup, Verification::First).await;
    scene.ada().await;
    let mut known = scene.browser();
    let body = json!({ "email": ADA, "password": PASSWORD });
    known
        .post_for_cookie("/api/auth/sign-in/email", body.clone())
        .await
        .expect(200);
    assert!(known.cookie("__Host-kavach_device").is_some());
    for _ in 0..3 {
        scene.sign_in(ADA, "not the password").await;
    }
    scene
        .sign_in(ADA, PASSWORD)
        .await
        .refused(429, "too_many_requests");
    known
        .post_for_cookie("/api/auth/sign-in/email", body.clone())
        .await
        .expect(200);
    // The cookie of somebody else's browser is none of hers.
    let mut bob = scene.browser();
    let guest = bob.post_for_cookie("/api/auth/anonymous", json!({})).await;
    guest.expect(200);
    bob.post_for_cookie("/api/auth/sign-in/email", body)
        .await
        .refused(429, "too_many_requests");
}

#[tokio::test]
async fn a_changed_password_ends_whatever_was_open() {
    let scene = Scene::start().await;
    let (old, token) = (
        scene.ada().await,
        token_of(&scene.sign_in(ADA, PASSWORD).await),
    );
    let change = "/api/auth/change-password";
    let wrong = json!({ "currentPassword": OTHER, "newPassword": OTHER });
    scene
        .app
        .call(&token)
        .post(change, wrong)
        .await
        .refused(403, "forbidden");
    let without = json!({ "newPassword": OTHER });
    let without = scene.app.call(&token).post(change, without).await;
    assert_eq!(
        without.refused(400, "malformed_request").field(),
        "currentPassword"
    );
    let short = json!({ "currentPassword": PASSWORD, "newPassword": "short" });
    let short = scene.app.call(&token).post(change, short).await;
    assert_eq!(
        short.refused(400, "malformed_request").field(),
        "newPassword"
    );
    let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
    let changed = scene.app.call(&token).post(change, body).await.expect(200);
    for dead in [&old, &token] {
        let reply = scene.app.call(dead).get("/api/auth/session").await;
        reply.refused(401, "unauthenticated");
    }
    scene
        .app
        .call(&token_of(&changed))
        .get("/api/auth/session")
        .await
        .expect(200);
    scene
        .sign_in(ADA, PASSWORD)
        .await
        .refused(401, "unauthenticated");
    scene.sign_in(ADA, OTHER).await.expect(200);
    assert!(scene.next_mail().await.contains("password"));
}

/// Lessons A F26, C 13: whoever was stopped signs in by no method, and what was open is dead.
#[tokio::test]
async fn whoever_is_banned_is_out_at_once_and_stays_out() {
    let scene = Scene::start().await;
    let token = scene.ada().await;
    let own = scene
        .app
        .call(&token)
        .get("/api/auth/session")
        .await
        .expect(200);
    let user = own.text_at("/data/user/id").to_owned();
    let ban = format!("/api/v1/users/{user}/ban");
    scene.app.operator().post(&ban, json!({})).await.expect(200);
    scene
        .app
        .call(&token)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    scene.sign_in(ADA, PASSWORD).await.refused(403, "forbidden");
    // Only who knows the password learns of it.
    scene
        .sign_in(ADA, OTHER)
        .await
        .refused(401, "unauthenticated");
    let unban = format!("/api/v1/users/{user}/unban");
    scene
        .app
        .operator()
        .post(&unban, json!({}))
        .await
        .expect(200);
    scene.sign_in(ADA, PASSWORD).await.expect(200);
    scene
        .app
        .call(&token)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn what_cannot_be_accepted_is_named_and_nothing_more_may_be_set() {
    let scene = Scene::start().await;
    let with = |more: serde_json::Value| {
        let mut body = json!({ "email": ADA, "password": PASSWORD });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let long = "x".repeat(100_000);
    for (body, field) in [
        (with(json!({ "email": "no address" })), "email"),
        (
            with(json!({ "email": "ada@example.com\r\nBcc: eve@example.com" })),
            "email",
        ),
        (with(json!({ "email": "\u{430}da@example.com" })), "email"),
        (with(json!({ "password": "short" })), "password"),
        (with(json!({ "password": long })), "password"),
        (with(json!({ "password": 7 })), "password"),
        (with(json!({ "name": "Ada\u{202e}" })), "name"),
        // Lessons C 2: what is the server's to say cannot be said.
        (with(json!({ "role": "owner" })), "role"),
        (with(json!({ "emailVerified": true })), "emailVerified"),
        (with(json!({ "permissions": [] })), "permissions"),
    ] {
        let reply = scene.post(SIGN_UP, body).await;
        let reply = reply.refused(400, "malformed_request");
        assert_eq!(reply.field(), field);
        assert!(!reply.text.contains(PASSWORD), "{reply}");
    }
}

#[tokio::test]
async fn in_development_an_account_is_there_at_once() {
    let scene = Scene::of(crate::setup(), Verification::Later).await;
    let body = json!({ "email": ADA, "password": PASSWORD, "name": "Ada" });
    let made = scene.post(SIGN_UP, body.clone()).await.expect(200);
    assert_eq!(made.at("/data/user/emailVerified"), false);
    scene
        .app
        .call(&token_of(&made))
        .get("/api/auth/session")
        .await
        .expect(200);
    scene.post(SIGN_UP, body).await.refused(409, "conflict");
}
