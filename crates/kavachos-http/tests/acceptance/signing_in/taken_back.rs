//! An account that its human takes back: all that somebody else made in it ends, however much it is, and what they added to
//! sign in with goes; what was there before stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kavachos_auth::email_password::Verification;
use kavachos_test::kavachos::Builder;
use kavachos_test::{TestApp, copy_agent, may};
use serde_json::{Value, json};

use super::claims::code;
use super::not_me::{NOT_ME, agent, intruder, status, token_in, user_of};
use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};
use crate::authenticator::{Authenticator, How};

/// How many agents are made: more than the commit of a recovery and the steps of its answer end.
const MADE: u32 = 4_600;
/// How long after a sign-in its link takes away the ways in that were added since.
const DOUBT_SECONDS: u64 = 24 * 60 * 60;

/// How many agents that this human made are active, and whether their end is under way; the server starts anew.
async fn left(app: &mut TestApp, user: &str) -> (i64, i64) {
    app.restart_after(|database| {
        let agents = "SELECT COUNT(*) FROM agents WHERE made_by = ?1 AND status = 'active'";
        let agents = database.query_row(agents, [user], |row| row.get(0));
        let kills = "SELECT COUNT(*) FROM begun_kills WHERE id LIKE 'made:%'";
        let kills = database.query_row(kills, [], |row| row.get(0));
        (agents.unwrap(), kills.unwrap())
    })
    .await
}

/// Nobody keeps an account by making more agents than a commit holds. Until all are ended the tenant does not move: the
/// steps stay behind, and what they did not reach would live on there.
#[tokio::test]
async fn of_thousands_that_were_made_none_outlives_a_recovery_over_a_restart_and_none_moves() {
    let is_quiet = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_quiet);
    // Without upkeep, nothing but what is asked for makes the steps.
    let quiet = move |builder: Builder| match switch.load(Ordering::Relaxed) {
        true => builder.at_rest(),
        false => builder,
    };
    let setup = crate::setup().in_a_file().with(quiet);
    let mut scene = Scene::of(setup, Verification::First).await;
    let own = scene.ada().await;
    let user = user_of(&scene, &own).await;
    let operators = scene.app.agent(&user, may(&["read"], "mcp:*")).await.id;
    let (first, _) = agent(&scene, &own, &user).await;
    let asked = json!({ "email": ADA });
    let asked = scene.post("/api/auth/forgot-password", asked).await;
    asked.expect(200);
    let token = scene.mailed_token().await;
    is_quiet.store(true, Ordering::Relaxed);
    let fill = |database: &_| copy_agent(database, &first, MADE);
    let last = scene.app.restart_after(fill).await;
    let allowed = scene.app.decide(&last, "read", "mcp:a").await;
    allowed.decided("allowed");
    let body = json!({ "token": token, "newPassword": OTHER });
    let reset = scene.post("/api/auth/reset-password", body).await;
    reset.expect(200);
    let export = scene.app.operator().post("/api/v1/export", json!({})).await;
    let export = export.refused(409, "conflict");
    assert!(export.message().contains("still being ended"), "{export}");
    // The twin: the answer did not wait for all of it, and a restart alone ends none.
    let (agents, kills) = left(&mut scene.app, &user).await;
    assert!(agents > 0 && agents < i64::from(MADE) - 200, "{agents}");
    assert_eq!(kills, 1);
    scene.app.kavach().engine().finish_kills().await.unwrap();
    assert_eq!(left(&mut scene.app, &user).await, (0, 0));
    for made in [&first, &last] {
        assert_eq!(status(&scene, made).await, "revoked");
    }
    assert_eq!(status(&scene, &operators).await, "active");
    let export = scene.app.operator().post("/api/v1/export", json!({})).await;
    export.expect(200);
}

/// A passkey, made in this session by this authenticator.
async fn add_passkey(scene: &Scene, session: &str, authenticator: u8) {
    let call = scene.app.call(session);
    let path = "/api/auth/passkey/register";
    let offered = call.post(&format!("{path}/options"), json!({})).await;
    let mut authenticator = Authenticator::new(authenticator);
    let made = authenticator.make(offered.expect(200).at("/data"), &How::default());
    let made = call.post(&format!("{path}/verify"), made).await;
    made.expect(201);
}

/// Codes of an app, turned on in this session: a backup code.
async fn add_app(scene: &Scene, session: &str) -> String {
    let call = scene.app.call(session);
    let begun = call.post("/api/auth/totp/setup", json!({})).await;
    let shown = code(scene, begun.expect(201).text_at("/data/secret"));
    let on = call.post("/api/auth/totp/enable", json!({ "code": shown }));
    on.await
        .expect(200)
        .text_at("/data/backupCodes/0")
        .to_owned()
}

/// The human says that the sign-in was not theirs, so long after it; what is kept of them then.
async fn not_me(scene: &Scene, (user, after): (&str, u64), path: &str) -> Value {
    let link = token_in(&scene.next_notice().await);
    scene.app.advance(after);
    let told = scene.post(NOT_ME, json!({ "token": link })).await;
    told.expect(200);
    let session = scene.app.session(user).await;
    let kept = scene.app.call(&session.token).get(path).await.expect(200);
    kept.at("/data").clone()
}

#[tokio::test]
async fn passkeys_that_were_added_since_a_doubted_sign_in_go_and_those_of_before_stay() {
    // The twin: a day later whoever reads mail takes no way in away.
    for (after, left) in [(0, 1), (DOUBT_SECONDS, 1), (DOUBT_SECONDS + 1, 2)] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let own = scene.ada().await;
        let user = user_of(&scene, &own).await;
        add_passkey(&scene, &own, 1).await;
        scene.app.advance(60);
        let theirs = intruder(&scene).await;
        add_passkey(&scene, &theirs, 2).await;
        let path = "/api/auth/passkey/credentials";
        let kept = not_me(&scene, (&user, after), path).await;
        assert_eq!(kept.as_array().unwrap().len(), left, "{after}: {kept}");
    }
}

#[tokio::test]
async fn codes_that_were_turned_on_since_a_doubted_sign_in_go_and_those_of_before_stay() {
    for (before, after, stays) in [
        (false, 0, false),
        (false, DOUBT_SECONDS, false),
        // The twins: those of before, and a day later.
        (true, 0, true),
        (false, DOUBT_SECONDS + 1, true),
    ] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let own = scene.ada().await;
        let user = user_of(&scene, &own).await;
        let paper = match before {
            true => Some(add_app(&scene, &own).await),
            false => None,
        };
        scene.app.advance(60);
        let begun = scene.sign_in(ADA, PASSWORD).await.expect(200);
        match paper {
            Some(code) => {
                let shown = json!({ "signIn": begun.text_at("/data/signIn"), "code": code });
                let whole = scene.post("/api/auth/totp/verify", shown).await;
                whole.expect(200);
            }
            None => {
                add_app(&scene, &token_of(&begun)).await;
            }
        }
        let kept = not_me(&scene, (&user, after), "/api/auth/totp").await;
        assert_eq!(kept["enabled"], stays, "{before} {after}: {kept}");
        let backup = if stays { 9 + u64::from(!before) } else { 0 };
        assert_eq!(kept["backupCodesLeft"], backup, "{before} {after}: {kept}");
    }
}
