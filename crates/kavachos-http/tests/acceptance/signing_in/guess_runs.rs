//! Guesses in a row have an end: after so many wrong ones nothing that a stranger shows is looked at, and nobody outside can
//! tell. Whoever it belongs to gets in where they were before, by other means, or sets it anew.

use kavachos_auth::email_password::Verification;
use kavachos_engine::Settings;
use kavachos_test::{Reply, Setup};
use serde_json::json;

use super::scene::{ADA, Browser, OTHER, PASSWORD, Scene, link_in};
use crate::authenticator::How;
use crate::passkey::{ANSWER, asked, registered};
use crate::totp;

const SIGN_IN: &str = "/api/auth/sign-in/email";
/// So many may be wrong here.
const RUN: u64 = 3;

fn setup(in_a_row: u64) -> Setup {
    crate::setup().lasting().settings(|settings| {
        settings.guesses_per_account = 10_000;
        settings.guesses_in_a_row = in_a_row;
    })
}

#[test]
fn a_hundred_in_a_row_are_the_most() {
    assert_eq!(Settings::default().guesses_in_a_row, 100);
}

impl Scene {
    /// So many wrong passwords of strangers; all are answered alike.
    async fn guessed(&self, times: u64) -> Reply {
        let mut last = self.sign_in(ADA, "not the password").await;
        for _ in 1..times {
            last = self.sign_in(ADA, "not the password").await;
        }
        last.refused(401, "unauthenticated")
    }

    fn warnings(&self) -> usize {
        let mails = self.smtp.mails();
        let subjects = mails.iter().filter_map(|mail| mail.header("subject"));
        let of_it = |subject: &String| subject.contains("guessing at your account");
        subjects.filter(of_it).count()
    }
}

async fn in_browser(browser: &mut Browser<'_>, password: &str) -> Reply {
    let body = json!({ "email": ADA, "password": password });
    browser.post_for_cookie(SIGN_IN, body).await
}

#[tokio::test]
async fn after_so_many_wrong_guesses_in_a_row_the_right_one_is_wrong_too() {
    for (run, shut) in [(RUN, true), (RUN + 2, false)] {
        let mut scene = Scene::of(setup(run), Verification::First).await;
        scene.ada().await;
        let before = scene.warnings();
        let wrong = scene.guessed(RUN).await;
        // Also over a restart.
        scene.app.restart().await;
        let right = scene.sign_in(ADA, PASSWORD).await;
        if !shut {
            // The twin: one run that is longer. Whoever was right begins anew.
            right.expect(200);
            scene.guessed(RUN).await;
            scene.sign_in(ADA, PASSWORD).await.expect(200);
            assert_eq!(scene.warnings(), before);
            continue;
        }
        let right = right.refused(401, "unauthenticated");
        assert_eq!(right.message(), wrong.message());
        for _ in 0..2 {
            let again = scene.sign_in(ADA, PASSWORD).await;
            again.refused(401, "unauthenticated");
        }
        let told = scene.next_mail().await;
        assert!(told.contains("was wrong each time"), "{told}");
        assert_eq!(scene.warnings(), before + 1, "one mail, however many come");
    }
}

#[tokio::test]
async fn a_browser_that_is_known_is_shut_out_by_no_stranger_and_ends_the_run() {
    let scene = Scene::of(setup(RUN), Verification::First).await;
    scene.ada().await;
    let mut known = scene.browser();
    in_browser(&mut known, PASSWORD).await.expect(200);
    let mut other = scene.browser();
    in_browser(&mut other, PASSWORD).await.expect(200);
    scene.guessed(RUN + 1).await;
    let shut = scene.sign_in(ADA, PASSWORD).await;
    shut.refused(401, "unauthenticated");
    // A browser has a run of its own, and is shut by its own alone.
    for _ in 0..=RUN {
        let wrong = in_browser(&mut other, "not the password").await;
        wrong.refused(401, "unauthenticated");
    }
    let shut = in_browser(&mut other, PASSWORD).await;
    shut.refused(401, "unauthenticated");
    in_browser(&mut known, PASSWORD).await.expect(200);
    scene.sign_in(ADA, PASSWORD).await.expect(200);
    in_browser(&mut other, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_link_or_a_new_password_ends_the_run() {
    for by_link in [true, false] {
        let scene = Scene::of(setup(RUN), Verification::First).await;
        scene.account(ADA).await;
        scene.guessed(RUN + 1).await;
        let (send, verify) = match by_link {
            true => ("magic-link/send", "magic-link/verify"),
            false => ("forgot-password", "reset-password"),
        };
        let before = scene.smtp.mails().len();
        let ask = json!({ "email": ADA });
        scene
            .post(&format!("/api/auth/{send}"), ask)
            .await
            .expect(200);
        let link = scene.mailed((ADA, before), link_in).await;
        let (body, password) = match by_link {
            true => (json!({ "token": link, "confirm": true }), PASSWORD),
            false => (json!({ "token": link, "newPassword": OTHER }), OTHER),
        };
        let shut = scene.sign_in(ADA, PASSWORD).await;
        shut.refused(401, "unauthenticated");
        let done = scene.post(&format!("/api/auth/{verify}"), body).await;
        done.expect(200);
        scene.sign_in(ADA, password).await.expect(200);
    }
}

#[tokio::test]
async fn codes_of_an_app_have_an_end_of_their_own() {
    let scene = Scene::of_all(setup(RUN), None).await;
    let app = &scene.app;
    let token = scene.account(ADA).await;
    let session = kavachos_test::TestSession {
        token: token.clone(),
        id: String::new(),
    };
    let mut passkey = registered(app, &session, 7).await;
    let call = app.call(&token);
    let begun = call.post(totp::SETUP, json!({})).await.expect(201);
    let secret = begun.text_at("/data/secret").to_owned();
    let shown = json!({ "code": totp::code(app, &secret, 0) });
    call.post(totp::ENABLE, shown).await.expect(200);
    let with_code = async |code: String| {
        // The password is right each time, which ends no run of codes.
        let first = scene.sign_in(ADA, PASSWORD).await.expect(200);
        let body = json!({ "signIn": first.at("/data/signIn"), "code": code });
        scene.post(totp::VERIFY, body).await
    };
    for _ in 0..RUN {
        let wrong = with_code("000000".to_owned()).await;
        wrong.refused(401, "unauthenticated");
    }
    let right = with_code(totp::code(app, &secret, 1)).await;
    right.refused(401, "unauthenticated");
    let answered = passkey.answer(&asked(app).await, &How::default());
    app.anonymous().post(ANSWER, answered).await.expect(200);
    with_code(totp::code(app, &secret, 1)).await.expect(200);
}
