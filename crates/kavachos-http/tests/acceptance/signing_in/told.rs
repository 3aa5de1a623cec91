//! What humans are told of by mail: a password that an operator has them set anew, a backup code that was used, a first
//! password.

use std::time::Duration;

use serde_json::json;

use super::scene::{ADA, OTHER, PASSWORD, Scene, link_in, token_of};
use crate::totp;

/// How long a mail may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// A part of what each of these mails says.
const RESET: &str = "asks you to set a new password";
const BACKUP: &str = "A backup code was used";

/// How many mails to Ada say this.
fn count(scene: &Scene, what: &str) -> usize {
    let mails = scene.smtp.mails();
    let theirs = mails.iter().filter(|mail| mail.to == [ADA]);
    theirs.filter(|mail| mail.text().contains(what)).count()
}

/// Waits for a mail to Ada that anybody may ask for: whatever was queued before has been sent.
async fn settled(scene: &Scene) {
    let before = scene.smtp.mails().len();
    let asked = json!({ "email": ADA });
    scene
        .post("/api/auth/forgot-password", asked)
        .await
        .expect(200);
    scene.mailed((ADA, before), link_in).await;
}

/// Fails unless so many mails to Ada say this. Several are sent at once, so that a later one may come first.
async fn are_told(scene: &Scene, what: &str, times: usize) {
    settled(scene).await;
    let all = async {
        while count(scene, what) < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Too few are told below.
    drop(tokio::time::timeout(PATIENCE, all).await);
    assert_eq!(count(scene, what), times, "{what}");
}

#[tokio::test]
async fn a_password_that_an_operator_requires_anew_is_told_with_the_way_to_it() {
    for has_password in [true, false] {
        let scene = Scene::start().await;
        let operator = scene.app.operator();
        let user = match has_password {
            true => {
                let own = scene.app.call(&scene.ada().await);
                let own = own.get("/api/auth/session").await.expect(200);
                own.text_at("/data/user/id").to_owned()
            }
            false => {
                let made = operator
                    .post("/api/v1/users", json!({ "email": ADA }))
                    .await;
                made.expect(201).id().to_owned()
            }
        };
        let path = format!("/api/v1/users/{user}/require-reset");
        operator.post(&path, json!({})).await.expect(200);
        are_told(&scene, RESET, usize::from(has_password)).await;
        let mails = scene.smtp.mails();
        if let Some(mail) = mails.iter().find(|mail| mail.text().contains(RESET)) {
            let text = mail.text();
            assert!(text.contains("/forgot-password"), "{text}");
            assert!(!text.contains("token="), "{text}");
        }
    }
}

#[tokio::test]
async fn a_backup_code_that_was_used_is_told_and_a_code_of_the_app_is_not() {
    let scene = Scene::of_all(crate::setup(), None).await;
    let session = scene.ada().await;
    let call = scene.app.call(&session);
    let begun = call.post(totp::SETUP, json!({})).await.expect(201);
    let secret = begun.text_at("/data/secret").to_owned();
    let body = json!({ "code": totp::code(&scene.app, &secret, 0) });
    let on = call.post(totp::ENABLE, body).await.expect(200);
    let codes = on.at("/data/backupCodes").as_array().unwrap();
    let backup = |at: usize| codes[at].as_str().unwrap().to_owned();
    let verify = async |code: String| {
        let pending = scene.sign_in(ADA, PASSWORD).await.expect(200);
        let sign_in = pending.text_at("/data/signIn").to_owned();
        let body = json!({ "signIn": sign_in, "code": code });
        scene.post(totp::VERIFY, body).await
    };
    let opened = verify(totp::code(&scene.app, &secret, 1)).await;
    opened.expect(200);
    are_told(&scene, BACKUP, 0).await;
    let session = token_of(&verify(backup(0)).await.expect(200));
    // One that is wrong, or was used, is no news.
    verify(backup(0)).await.refused(401, "unauthenticated");
    are_told(&scene, BACKUP, 1).await;
    let body = json!({ "code": backup(1) });
    let call = scene.app.call(&session);
    call.post(totp::CONFIRM, body).await.expect(200);
    are_told(&scene, BACKUP, 2).await;
    let mails = scene.smtp.mails();
    let text: Vec<String> = mails.iter().map(kavachos_test::Delivered::text).collect();
    assert!(!text.concat().contains(&backup(0)), "no mail has a code");
}

#[tokio::test]
async fn a_first_password_is_told_as_one_more_way_in_and_a_changed_one_as_changed() {
    let scene = Scene::start().await;
    let mut browser = scene.browser();
    let asked = json!({ "email": ADA });
    let asked = browser.post("/api/auth/magic-link/send", asked).await;
    asked.expect(200);
    let link = json!({ "token": scene.mailed_token().await });
    let opened = browser.post("/api/auth/magic-link/verify", link).await;
    let token = token_of(&opened.expect(200));
    let body = json!({ "newPassword": PASSWORD });
    let call = scene.app.call(&token);
    let set = call.post("/api/auth/change-password", body).await;
    let token = token_of(&set.expect(200));
    let first = scene.next_mail().await;
    assert!(
        first.contains("can now be signed in to with: a password"),
        "{first}"
    );
    let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
    let call = scene.app.call(&token);
    call.post("/api/auth/change-password", body)
        .await
        .expect(200);
    let changed = scene.next_mail().await;
    assert!(changed.contains("was changed"), "{changed}");
}
