//! An app that is lost: whoever looks after its human takes it off, on record, and the human is told.

use kavachos_test::TestSession;
use serde_json::{Value, json};

use super::scene::{ADA, PASSWORD, Scene};
use crate::authenticator::{Authenticator, How};
use crate::passkey::{ANSWER, asked, registered};
use crate::roles::Human;
use crate::totp;

/// Ada with an app, a passkey, and a session that proved two factors.
struct Ada {
    id: String,
    token: String,
    passkey: Authenticator,
}

impl Ada {
    async fn of(scene: &Scene) -> Self {
        let token = scene.account(ADA).await;
        let id = String::new();
        let passkey = registered(
            &scene.app,
            &TestSession {
                id,
                token: token.clone(),
            },
            7,
        )
        .await;
        let call = scene.app.call(&token);
        let begun = call.post(totp::SETUP, json!({})).await.expect(201);
        let code = totp::code(&scene.app, begun.text_at("/data/secret"), 0);
        let done = call.post(totp::ENABLE, json!({ "code": code })).await;
        let done = done.expect(200);
        Self {
            id: done.text_at("/data/user/id").to_owned(),
            token: done.text_at("/data/token").to_owned(),
            passkey,
        }
    }

    /// Whether the password alone signs her in.
    async fn password_does(scene: &Scene) -> bool {
        let signed_in = scene.sign_in(ADA, PASSWORD).await.expect(200);
        signed_in.at("/data/next") != "second_factor"
    }

    async fn passkey_does(&mut self, scene: &Scene) -> bool {
        let answered = self
            .passkey
            .answer(&asked(&scene.app).await, &How::default());
        scene.app.anonymous().post(ANSWER, answered).await.status == 200
    }
}

fn removed(scene: &Scene) -> usize {
    let mails = scene.smtp.mails();
    let subjects = mails.iter().filter_map(|mail| mail.header("subject"));
    subjects
        .filter(|subject| subject.contains("was removed"))
        .count()
}

#[tokio::test]
async fn an_operator_takes_off_a_lost_app_and_passkeys_by_name_alone() {
    for (body, passkey_stays) in [
        (json!({}), true),
        (json!({ "methods": ["totp", "passkey"] }), false),
    ] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let mut ada = Ada::of(&scene).await;
        assert!(!Ada::password_does(&scene).await);
        let before = removed(&scene);
        let path = format!("/api/v1/users/{}/remove-factors", ada.id);
        let operator = scene.app.operator();
        let once = scene.app.operator().header("idempotency-key", "one");
        once.post(&path, body.clone()).await.expect(200);
        let other = once.post(&path, json!({ "methods": ["passkey"] })).await;
        other.refused(409, "idempotency_mismatch");
        // What was open ends, backup codes with it; then the password does alone.
        let open = scene.app.call(&ada.token).get("/api/auth/session").await;
        open.refused(401, "unauthenticated");
        assert!(Ada::password_does(&scene).await);
        assert_eq!(ada.passkey_does(&scene).await, passkey_stays);
        // Nothing is done twice.
        operator.post(&path, body).await.expect(200);
        assert!(Ada::password_does(&scene).await);
        let records = scene.app.audit("kind=user.factors_removed").await;
        assert_eq!(records.len(), 1, "{records:?}");
        let mut mails = scene.smtp.mails();
        while removed(&scene) == before {
            mails = scene.smtp.expect(mails.len() + 1).await;
        }
        assert_eq!(removed(&scene), before + 1);
    }
}

#[tokio::test]
async fn only_whoever_looks_after_a_human_takes_off_their_factors() {
    let scene = Scene::of_all(crate::setup(), None).await;
    let ada = Ada::of(&scene).await;
    let app = &scene.app;
    let path = format!("/api/v1/users/{}/remove-factors", ada.id);
    let role = format!("/api/v1/users/{}/role", ada.id);
    let named = |name: &str| json!({ "methods": [name] });
    let operator = app.operator();
    let reader = json!({ "name": "reader", "scopes": ["users:read"] });
    let reader = operator.post("/api/v1/keys", reader).await.expect(201);
    let reader = app.call(reader.text_at("/data/token"));
    let member = Human::with_role(app, "member").await;
    for caller in [&reader, &app.call(&member.token), &app.call(&ada.token)] {
        let reply = caller.post(&path, json!({})).await;
        reply.refused(403, "forbidden");
    }
    for wrong in [
        named("password"),
        named("email_password"),
        json!({ "methods": [] }),
    ] {
        let reply = operator.post(&path, wrong).await;
        reply.refused(400, "malformed_request");
    }
    let nobody = path.replace(&ada.id, "user_00000000000000000000000009");
    let reply = operator.post(&nobody, json!({})).await;
    reply.refused(404, "not_found");
    // An owner's are taken off by no admin, and by no owner of themselves.
    let owner = json!({ "role": "owner" });
    operator.post(&role, owner).await.expect(200);
    let admin = Human::with_role(app, "admin").await;
    let reply = app.call(&admin.token).post(&path, json!({})).await;
    reply.refused(403, "forbidden");
    let own = app.session(&ada.id).await;
    let reply = app.call(&own.token).post(&path, json!({})).await;
    assert!(
        reply
            .refused(403, "forbidden")
            .message()
            .contains("this is you")
    );
    assert!(!Ada::password_does(&scene).await);
    // The twin: another owner.
    let other = Human::with_role(app, "owner").await;
    let reply = app
        .call(&other.token)
        .post(&path, Value::Object(Default::default()))
        .await;
    reply.expect(200);
    assert!(Ada::password_does(&scene).await);
}
