//! Lessons A F29, C 45: of a thousand guesses at once, so many are looked at as there may be, whether the server is started
//! anew meanwhile or not.

use futures_util::future::join_all;
use kavachos_test::TestApp;
use serde_json::{Value, json};

use super::scene::{ADA, PASSWORD, Scene, code_in};

/// What one comparison of a password computes.
const ONE_HASH: u64 = 2 * 19_456;
/// Guesses, before and again after the server is started anew.
const GUESSES: usize = 500;
/// How many passwords are looked at in an hour.
const BUDGET: u64 = 20;

/// All of these guesses, from so many networks that it is not their limit that holds; their statuses.
async fn guess(
    app: &TestApp,
    path: &str,
    token: Option<&str>,
    body: impl Fn(usize) -> Value,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    // So many connections at once as a machine has descriptors for.
    for hundred in 0..GUESSES / 100 {
        let some = (0..100).map(|number| {
            let call = app
                .anonymous()
                .from(&format!("127.{}.{}.1", 1 + hundred, 1 + number));
            let call = match token {
                Some(token) => call.header("authorization", &format!("Bearer {token}")),
                None => call,
            };
            let body = body(hundred * 100 + number);
            async move { call.post(path, body).await.status }
        });
        statuses.extend(join_all(some).await);
    }
    statuses
}

async fn started() -> Scene {
    Scene::of_all(crate::setup().lasting(), None).await
}

#[tokio::test]
async fn of_a_thousand_codes_at_once_five_are_looked_at_over_a_restart_too() {
    let mut scene = started().await;
    // There is an account, so that each guess that is looked at is on record.
    scene.account(ADA).await;
    let asked = async |scene: &Scene| {
        let before = scene.smtp.mails().len();
        let body = json!({ "email": ADA });
        let asked = scene
            .post("/api/auth/email-otp/send", body)
            .await
            .expect(200);
        let code = scene.mailed((ADA, before), code_in).await;
        (asked.text_at("/data/challenge").to_owned(), code)
    };
    let (challenge, code) = asked(&scene).await;
    let right: usize = code.parse().unwrap();
    let verify = "/api/auth/email-otp/verify";
    for round in 0..2 {
        let statuses = guess(&scene.app, verify, None, |number| {
            let wrong = (right + 1 + round * GUESSES + number) % 1_000_000;
            json!({ "challenge": challenge, "code": format!("{wrong:06}") })
        });
        let statuses = statuses.await;
        assert!(
            statuses.iter().all(|status| [401, 429].contains(status)),
            "{statuses:?}"
        );
        scene.app.restart().await;
    }
    let looked_at = scene.app.audit("kind=email_otp.used&outcome=denied").await;
    assert_eq!(looked_at.len(), 5);
    let body = json!({ "challenge": challenge, "code": code });
    scene
        .post(verify, body)
        .await
        .refused(401, "unauthenticated");
    // The twin: a code of its own.
    let (challenge, code) = asked(&scene).await;
    let body = json!({ "challenge": challenge, "code": code });
    scene.post(verify, body).await.expect(200);
}

#[tokio::test]
async fn of_a_thousand_passwords_at_once_the_budget_is_looked_at_over_a_restart_too() {
    for (email, name) in [
        (true, "known"),
        (true, "unknown"),
        (false, "known"),
        (false, "unknown"),
    ] {
        let mut scene = started().await;
        scene.account(ADA).await;
        let up = json!({ "username": "ada", "password": PASSWORD });
        scene
            .post("/api/auth/sign-up/username", up)
            .await
            .expect(200);
        let (path, member, known, unknown) = match email {
            true => ("/api/auth/sign-in/email", "email", ADA, "bob@example.com"),
            false => ("/api/auth/sign-in/username", "username", "ada", "bob"),
        };
        let whose = if name == "known" { known } else { unknown };
        let before = scene.passwords.blocks_filled();
        for round in 0..2 {
            let guesses = guess(
                &scene.app,
                path,
                None,
                |number| json!({ member: whose, "password": format!("a guess of mine {round} {number}") }),
            );
            let statuses = guesses.await;
            assert!(
                statuses.iter().all(|status| [401, 429].contains(status)),
                "{statuses:?}"
            );
            scene.app.restart().await;
        }
        let looked_at = (scene.passwords.blocks_filled() - before) / ONE_HASH;
        assert_eq!(looked_at, BUDGET, "{member} {name}");
        let right = json!({ member: whose, "password": PASSWORD });
        scene
            .post(path, right.clone())
            .await
            .refused(429, "too_many_requests");
        // The twins: after the pause the right one is looked at, and was all the time by the other name.
        if name == "known" {
            scene.app.advance(2 * 60 * 60);
            scene.post(path, right).await.expect(200);
        }
    }
}

/// Whoever found an open session guesses no more than others.
#[tokio::test]
async fn of_a_thousand_passwords_in_an_open_session_the_budget_is_looked_at() {
    for (path, member) in [
        ("/api/auth/re-authenticate", "password"),
        ("/api/auth/change-password", "currentPassword"),
    ] {
        let mut scene = started().await;
        let token = scene.account(ADA).await;
        let before = scene.passwords.blocks_filled();
        for round in 0..2 {
            let guesses = guess(&scene.app, path, Some(&token), |number| {
                let mut body = json!({ member: format!("a guess of mine {round} {number}") });
                match member {
                    "password" => body["method"] = "password".into(),
                    _ => body["newPassword"] = "the thief's own password".into(),
                }
                body
            });
            let statuses = guesses.await;
            assert!(
                statuses.iter().all(|status| [403, 429].contains(status)),
                "{statuses:?}"
            );
            scene.app.restart().await;
        }
        let looked_at = (scene.passwords.blocks_filled() - before) / ONE_HASH;
        assert!(looked_at <= BUDGET, "{path}: {looked_at}");
        assert!(looked_at > 0, "{path}");
    }
}
