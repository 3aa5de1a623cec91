//! Lessons C 68: whoever asks for codes of an app is asked for one by every way in, in a browser that is known, and after the
//! password was set anew.

use kavachos_test::Reply;
use serde_json::{Value, json};

use super::scene::{ADA, OTHER, PASSWORD, Scene, code_in, link_in};
use crate::totp;

/// What every way in that is one factor comes to, in this order.
async fn by_every_way(scene: &Scene) -> Vec<(&'static str, Reply)> {
    let mails = || scene.smtp.mails().len();
    let mut all = Vec::new();
    all.push(("password", scene.sign_in(ADA, PASSWORD).await));

    let before = mails();
    scene
        .post("/api/auth/magic-link/send", json!({ "email": ADA }))
        .await
        .expect(200);
    let link = scene.mailed((ADA, before), link_in).await;
    let body = json!({ "token": link, "confirm": true });
    all.push((
        "link",
        scene.post("/api/auth/magic-link/verify", body).await,
    ));

    let before = mails();
    let sent = scene
        .post("/api/auth/email-otp/send", json!({ "email": ADA }))
        .await;
    let code = scene.mailed((ADA, before), code_in).await;
    let challenge = sent.text_at("/data/challenge").to_owned();
    let body = json!({ "challenge": challenge, "code": code });
    all.push(("code", scene.post("/api/auth/email-otp/verify", body).await));

    let before = mails();
    scene
        .post("/api/auth/forgot-password", json!({ "email": ADA }))
        .await
        .expect(200);
    let link = scene.mailed((ADA, before), link_in).await;
    let body = json!({ "token": link, "newPassword": OTHER });
    let reset = scene.post("/api/auth/reset-password", body).await;
    assert_eq!(reset.expect(200).at("/data/token"), &Value::Null);
    all.push(("password set anew", scene.sign_in(ADA, OTHER).await));
    all
}

#[tokio::test]
async fn every_way_in_ends_at_the_second_factor() {
    for asks in [true, false] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let token = scene.account(ADA).await;
        let mut known = scene.browser();
        let body = json!({ "email": ADA, "password": PASSWORD });
        let sign_in = "/api/auth/sign-in/email";
        known
            .post_for_cookie(sign_in, body.clone())
            .await
            .expect(200);
        if asks {
            let call = scene.app.call(&token);
            let begun = call.post(totp::SETUP, json!({})).await.expect(201);
            let code = totp::code(&scene.app, begun.text_at("/data/secret"), 0);
            call.post(totp::ENABLE, json!({ "code": code }))
                .await
                .expect(200);
        }
        let browser = known.post_for_cookie(sign_in, body).await;
        assert_eq!(
            browser.expect(200).at("/data/next") == "second_factor",
            asks
        );
        for (way, reply) in by_every_way(&scene).await {
            let reply = reply.expect(200);
            // The twin: where no app was set up, each of them opens a session.
            assert_eq!(
                reply.at("/data/next") == "second_factor",
                asks,
                "{way}: {reply}"
            );
            assert_eq!(reply.at("/data/token").is_null(), asks, "{way}: {reply}");
        }
    }
}
