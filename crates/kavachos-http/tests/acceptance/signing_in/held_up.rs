//! Recoveries that whoever is in the account tries to hold up, to outlive or to go around.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kavachos::store::{Batch, BoxFuture, CommitError};
use kavachos_auth::email_password::Verification;
use kavachos_core::revocation::HandleKind;
use kavachos_test::{Keeper, kavachos};
use serde_json::json;

use super::claims::code;
use super::not_me::{agent, intruder, status, user_of};
use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};

const FORGOT: &str = "/api/auth/forgot-password";
const RESET: &str = "/api/auth/reset-password";
const OTP: &str = "/api/auth/email-otp/send";

/// What anybody has a mail sent by, and how the answer to it is.
async fn asks(scene: &Scene, path: &str) -> u16 {
    scene.post(path, json!({ "email": ADA })).await.status
}

/// Changes something of each agent that is about to be ended with its human, as somebody would who has their session: the
/// commit finds it so.
#[derive(Default)]
struct Busy {
    /// Whether everything of the human is changed all the time.
    all: AtomicBool,
}

impl Keeper for Busy {
    fn before(&self, batch: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let kills = |kind| batch.kills.iter().any(|kill| kill.handle.kind == kind);
        let agents = kills(HandleKind::Agent) || self.all.load(Ordering::SeqCst);
        let moved = kills(HandleKind::User) && agents;
        Box::pin(async move {
            match moved {
                true => Err(CommitError::Conflict { write: None }),
                false => Ok(()),
            }
        })
    }
}

/// The twin is a recovery in whose way somebody can come at every try.
#[tokio::test]
async fn whoever_changes_what_they_made_holds_up_no_recovery() {
    let busy = Arc::new(Busy::default());
    let setup = crate::setup().kept_by(Arc::clone(&busy) as Arc<dyn Keeper>);
    let scene = Scene::of(setup, Verification::First).await;
    let own = scene.ada().await;
    let user = user_of(&scene, &own).await;
    let thief = intruder(&scene).await;
    let (made, _) = agent(&scene, &thief, &user).await;
    assert_eq!(asks(&scene, FORGOT).await, 200);
    let token = scene.mailed_token().await;
    let body = json!({ "token": token, "newPassword": OTHER });
    busy.all.store(true, Ordering::SeqCst);
    scene
        .post(RESET, body.clone())
        .await
        .refused(409, "conflict");
    assert_eq!(status(&scene, &made).await, "active");
    busy.all.store(false, Ordering::SeqCst);
    scene.post(RESET, body).await.expect(200);
    assert_eq!(status(&scene, &made).await, "revoked");
}

/// An account that may act in others' names is recovered with what was opened by it.
#[tokio::test]
async fn what_acts_in_anothers_name_ends_with_the_recovery_of_who_opened_it() {
    let scene = Scene::start().await;
    let own = scene.ada().await;
    let user = user_of(&scene, &own).await;
    let role = format!("/api/v1/users/{user}/role");
    let operator = scene.app.operator();
    let role = operator.post(&role, json!({ "role": "owner" })).await;
    role.expect(200);
    let victim = scene.app.user().await;
    let thief = intruder(&scene).await;
    let opened = format!("/api/v1/users/{victim}/impersonate");
    let thief = scene.app.call(&thief);
    let opened = thief.post(&opened, json!({ "reason": "none" })).await;
    let acting = opened.expect(201).text_at("/data/token").to_owned();
    let acting = scene.app.call(&acting);
    acting.get("/api/v1/agents").await.expect(200);
    assert_eq!(asks(&scene, FORGOT).await, 200);
    let token = scene.mailed_token().await;
    let body = json!({ "token": token, "newPassword": OTHER });
    scene.post(RESET, body).await.expect(200);
    let after = acting.get("/api/v1/agents").await;
    after.refused(401, "unauthenticated");
}

/// The twin is the sixth mail of the same kind.
#[tokio::test]
async fn whoever_has_an_address_written_to_keeps_nobody_from_a_new_password() {
    let scene = Scene::start().await;
    scene.ada().await;
    // One was sent to verify the address.
    scene.app.advance(2 * 3_600);
    for _ in 0..5 {
        assert_eq!(asks(&scene, OTP).await, 200);
    }
    assert_eq!(asks(&scene, OTP).await, 429);
    assert_eq!(asks(&scene, "/api/auth/magic-link/send").await, 429);
    for _ in 0..5 {
        assert_eq!(asks(&scene, FORGOT).await, 200);
    }
    assert_eq!(asks(&scene, FORGOT).await, 429);
    // Nor does it tell whether there is an account.
    let nobody = json!({ "email": "nobody@example.com" });
    for expected in [200, 200, 200, 200, 200, 429] {
        let reply = scene.post(FORGOT, nobody.clone()).await;
        assert_eq!(reply.status, expected);
    }
}

/// A browser is known by all that is asked of its human, not by a mail alone: a known one has guesses of its own. The twin
/// has one factor.
#[tokio::test]
async fn a_reset_makes_no_browser_known_where_two_factors_are_asked_for() {
    for two in [false, true] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let own = scene.ada().await;
        if two {
            let own = scene.app.call(&own);
            let begun = own.post("/api/auth/totp/setup", json!({})).await;
            let shown = code(&scene, begun.expect(201).text_at("/data/secret"));
            let on = own.post("/api/auth/totp/enable", json!({ "code": shown }));
            on.await.expect(200);
        }
        let mut browser = scene.browser();
        assert_eq!(asks(&scene, FORGOT).await, 200);
        let link = scene.mailed((ADA, 1), super::scene::link_in).await;
        let body = json!({ "token": link, "newPassword": OTHER });
        browser.post_for_cookie(RESET, body).await.expect(200);
        let known = browser.cookie("__Host-kavach_device").is_some();
        assert_eq!(known, !two);
    }
}

/// Where only those come in who are there, a code that nobody was sent is refused like those of others.
#[tokio::test]
async fn codes_that_nobody_was_sent_tell_of_no_account_once_no_more_are_taken() {
    let setup = crate::setup().settings(|settings| {
        settings.wrong_codes = 20;
        settings.sign_ups = kavachos_engine::SignUps::Closed;
    });
    let scene = Scene::of(setup, Verification::First).await;
    let known = json!({ "email": ADA, "name": "Ada" });
    let known = scene.app.operator().post("/api/v1/users", known).await;
    known.expect(201);
    let mut seen = Vec::new();
    for who in [0, 0, 0, 1, 1, 1, 0] {
        let email = ["nobody@example.com", ADA][who];
        let sent = scene.post(OTP, json!({ "email": email })).await.expect(200);
        let challenge = sent.text_at("/data/challenge").to_owned();
        let body = json!({ "challenge": challenge, "code": "000000" });
        let shown = scene.post("/api/auth/email-otp/verify", body).await;
        seen.push(shown.status);
    }
    // One network has two of twenty. What nobody was sent took none of it, and is refused once it is taken.
    assert_eq!(seen, [401, 401, 401, 401, 401, 429, 429]);
}

/// Somebody who came as a guest and can show more than that session shows it.
#[tokio::test]
async fn a_guest_who_has_a_way_to_sign_in_becomes_no_other_account_by_an_old_session() {
    const UPGRADE: &str = "/api/auth/anonymous/upgrade";
    let asked = json!({ "email": ADA, "password": PASSWORD });
    for has_password in [false, true] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let come = scene.post("/api/auth/anonymous", json!({})).await;
        let guest = token_of(&come.expect(200));
        let mut own = scene.app.call(&guest);
        if has_password {
            let named = json!({ "username": "ada.k" });
            own.post("/api/auth/change-username", named)
                .await
                .expect(200);
            let chosen = json!({ "newPassword": OTHER });
            let chosen = own.post("/api/auth/change-password", chosen).await;
            own = scene.app.call(&token_of(&chosen.expect(200)));
        }
        scene.app.advance(24 * 60 * 60);
        let upgraded = own.post(UPGRADE, asked.clone()).await;
        let expected = if has_password { 403 } else { 200 };
        assert_eq!(upgraded.status, expected, "{upgraded}");
    }
    // Nor does whoever was given an address by others.
    let scene = Scene::of_all(crate::setup(), None).await;
    let come = scene
        .post("/api/auth/anonymous", json!({}))
        .await
        .expect(200);
    let user = format!("/api/v1/users/{}", come.text_at("/data/user/id"));
    let addressed = json!({ "email": "ada@elsewhere.example" });
    let addressed = scene.app.operator().patch(&user, addressed).await;
    addressed.expect(200);
    let guest = scene.app.call(&token_of(&come));
    let again = guest.post(UPGRADE, asked).await;
    again.refused(409, "conflict");
}
