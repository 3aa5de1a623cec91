//! Where operators make the accounts.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kavachos_auth::email_password::Verification;
use kavachos_engine::SignUps;
use kavachos_test::Setup;
use serde_json::json;

use super::scene::{ADA, PASSWORD, Scene};
use crate::mail::Waiting;

const STRANGER: &str = "stranger@example.com";

fn setup(sign_ups: SignUps) -> Setup {
    crate::setup().settings(move |settings| settings.sign_ups = sign_ups)
}

#[tokio::test]
async fn no_stranger_signs_up_where_sign_ups_are_closed() {
    for (sign_ups, status) in [(SignUps::Closed, 403), (SignUps::Open, 200)] {
        let scene = Scene::of(setup(sign_ups), Verification::First).await;
        let new = json!({ "email": STRANGER, "password": PASSWORD });
        for (path, body) in [
            ("/api/auth/sign-up/email", new),
            ("/api/auth/anonymous", json!({})),
        ] {
            let reply = scene.post(path, body).await.expect(status);
            if status == 403 {
                assert!(reply.message().contains("ask whoever runs this server"));
            }
        }
    }
}

/// Nor by a code or a link; and they are answered as those who have an account are.
#[tokio::test]
async fn a_stranger_gets_no_mail_and_the_same_answer() {
    let scene = Scene::of(setup(SignUps::Closed), Verification::First).await;
    human(&scene).await;
    for path in ["/api/auth/email-otp/send", "/api/auth/magic-link/send"] {
        let stranger = scene.post(path, json!({ "email": STRANGER })).await;
        let ada = scene.post(path, json!({ "email": ADA })).await;
        assert_eq!(
            stranger.expect(200).at("/data/next"),
            ada.expect(200).at("/data/next")
        );
        // The next mail is hers.
        assert!(!scene.next_mail().await.is_empty());
    }
    assert!(
        scene
            .smtp
            .expect(2)
            .await
            .iter()
            .all(|mail| mail.to == [ADA])
    );
}

/// Trying a code is the same, whosever it is: one that nobody was sent is looked at, too, and is none of a million.
#[tokio::test]
async fn a_code_that_nobody_was_sent_is_tried_like_any_other() {
    let setup = setup(SignUps::Closed).settings(|settings| settings.guesses_per_account = 2);
    let scene = Scene::of(setup, Verification::First).await;
    human(&scene).await;
    for email in [STRANGER, ADA] {
        let asked = scene.post("/api/auth/email-otp/send", json!({ "email": email }));
        let asked = asked.await.expect(200);
        let body = json!({ "challenge": asked.text_at("/data/challenge"), "code": "none" });
        for status in [401, 401, 429] {
            let tried = scene.post("/api/auth/email-otp/verify", body.clone());
            tried.await.expect(status);
        }
    }
}

/// Ada, whom an operator made.
async fn human(scene: &Scene) {
    let body = json!({ "email": ADA });
    scene
        .app
        .operator()
        .post("/api/v1/users", body)
        .await
        .expect(201);
}

/// Also where so many mails wait that none is queued: that is no way to find out who has an account.
#[tokio::test]
async fn where_the_queue_is_full_all_are_told_so() {
    for (waiting, status) in [(9_000, 503), (0, 200)] {
        let setup = setup(SignUps::Closed).kept_by(Arc::new(Waiting(AtomicU64::new(waiting))));
        let scene = Scene::of(setup, Verification::First).await;
        human(&scene).await;
        for email in [STRANGER, ADA] {
            let asked = json!({ "email": email });
            let path = "/api/auth/magic-link/send";
            scene.post(path, asked).await.expect(status);
        }
    }
}
