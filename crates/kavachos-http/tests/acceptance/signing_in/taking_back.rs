//! A change of address that was not its owner's: the mail to the old one takes it back, and nobody takes that way away.

use futures_util::future::join_all;
use kavachos_auth::email_password::Verification;
use kavachos_test::{Client, Delivered, Reply, may};
use serde_json::json;

use super::not_me::user_of;
use super::scene::{ADA, OTHER, PASSWORD, Scene, link_in, token_of};
use crate::browser::mark;
use crate::totp;

const RESTORE: &str = "/api/auth/restore-email";
const SESSION: &str = "/api/auth/session";
const EVE: &str = "eve@example.com";
const MALLORY: &str = "mallory@example.com";
const WEEK: u64 = 7 * 24 * 60 * 60;
const DAY: u64 = 24 * 60 * 60;

async fn signed_in(scene: &Scene, email: &str) -> String {
    token_of(&scene.sign_in(email, PASSWORD).await.expect(200))
}

/// Whoever is signed in changes the address: their next session, and the link in the mail to the old one.
async fn change(scene: &Scene, session: &str, (old, new): (&str, &str)) -> (String, String) {
    let before = scene.smtp.mails().len();
    let call = || scene.app.call(session);
    let asked = call()
        .post("/api/auth/change-email", json!({ "newEmail": new }))
        .await;
    asked.expect(200);
    let token = scene.mailed((new, before), link_in).await;
    let confirmed = call()
        .post("/api/auth/change-email/confirm", json!({ "token": token }))
        .await;
    let next = token_of(&confirmed.expect(200));
    let link = scene.mailed((old, before), way_back).await;
    (next, link)
}

fn way_back(text: &str) -> Option<String> {
    text.contains("/restore-email?token=")
        .then(|| link_in(text))
        .flatten()
}

async fn restore(scene: &Scene, link: &str) -> Reply {
    scene.post(RESTORE, json!({ "token": link })).await
}

/// Whoever reads mail at this address sets another password.
async fn reset(scene: &Scene, email: &str) {
    let before = scene.smtp.mails().len();
    let forgot = json!({ "email": email });
    let asked = scene.post("/api/auth/forgot-password", forgot).await;
    asked.expect(200);
    let token = scene.mailed((email, before), link_in).await;
    let set = json!({ "token": token, "newPassword": OTHER });
    let set = scene.post("/api/auth/reset-password", set).await;
    set.expect(200);
}

async fn email_of(scene: &Scene, user: &str) -> String {
    let path = format!("/api/v1/users/{user}");
    let shown = scene.app.operator().get(&path).await.expect(200);
    let email = shown.at("/data/email").as_str();
    email.unwrap_or("none").to_owned()
}

#[tokio::test]
async fn the_old_address_takes_the_account_back_and_ends_what_was_made_in_it() {
    let scene = Scene::start().await;
    let own = scene.ada().await;
    let user = user_of(&scene, &own).await;
    let operators = scene.app.agent(&user, may(&["read"], "mcp:*")).await;
    let theirs = signed_in(&scene, ADA).await;
    let (theirs, link) = change(&scene, &theirs, (ADA, EVE)).await;
    let body = json!({
        "ownerId": user, "name": "mine", "type": "autonomous", "permissions": may(&["read"], "mcp:*"),
    });
    let agent = scene.app.call(&theirs).post("/api/v1/agents", body).await;
    let agent = agent.expect(201).id().to_owned();
    // Mail that waits for whoever has the account now, to sign in and to set a password.
    let mut waiting = Vec::new();
    for path in ["/api/auth/magic-link/send", "/api/auth/forgot-password"] {
        let before = scene.smtp.mails().len();
        scene.post(path, json!({ "email": EVE })).await.expect(200);
        waiting.push(scene.mailed((EVE, before), link_in).await);
    }
    // Machines open links: nothing comes of it.
    let page = format!("/restore-email?token={link}");
    scene.app.anonymous().get(&page).await;
    assert_eq!(email_of(&scene, &user).await, EVE);
    let back = restore(&scene, &link).await.expect(200);
    assert_eq!(back.at("/data/state"), "closed");
    assert_eq!(email_of(&scene, &user).await, ADA);
    for dead in [&own, &theirs] {
        let reply = scene.app.call(dead).get(SESSION).await;
        reply.refused(401, "unauthenticated");
    }
    for (agent, code) in [(&agent, "agent_revoked"), (&operators.id, "allowed")] {
        let decided = scene.app.decide(agent, "read", "mcp:a").await;
        decided.decided(code);
    }
    let opened = json!({ "token": waiting[0], "confirm": true });
    let opened = scene.post("/api/auth/magic-link/verify", opened).await;
    opened.refused(401, "unauthenticated");
    let set = json!({ "token": waiting[1], "newPassword": OTHER });
    let set = scene.post("/api/auth/reset-password", set).await;
    set.refused(401, "unauthenticated");
    scene
        .sign_in(EVE, PASSWORD)
        .await
        .refused(401, "unauthenticated");
    let asked = scene.sign_in(ADA, PASSWORD).await.expect(200);
    assert_eq!(asked.at("/data/next"), "reset_password");
    restore(&scene, &link).await.refused(401, "unauthenticated");
    assert_eq!(scene.app.audit("kind=user.recovered").await.len(), 1);
    // The owner sets a new password by mail, and is in.
    reset(&scene, ADA).await;
    scene.sign_in(ADA, OTHER).await.expect(200);
}

/// The first address goes before those that came later, in whichever order their links are used.
#[tokio::test]
async fn of_two_changes_the_first_address_wins_and_ends_the_way_of_the_second() {
    for second_first in [false, true] {
        let scene = Scene::start().await;
        let session = scene.ada().await;
        let user = user_of(&scene, &session).await;
        let (session, first) = change(&scene, &session, (ADA, EVE)).await;
        let (_, second) = change(&scene, &session, (EVE, MALLORY)).await;
        if second_first {
            restore(&scene, &second).await.expect(200);
            assert_eq!(email_of(&scene, &user).await, EVE);
        }
        restore(&scene, &first).await.expect(200);
        assert_eq!(email_of(&scene, &user).await, ADA);
        for dead in [&first, &second] {
            restore(&scene, dead).await.refused(401, "unauthenticated");
        }
        assert_eq!(email_of(&scene, &user).await, ADA);
    }
}

#[tokio::test]
async fn both_links_at_once_leave_the_first_address() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let user = user_of(&scene, &session).await;
    let (session, first) = change(&scene, &session, (ADA, EVE)).await;
    let (_, second) = change(&scene, &session, (EVE, MALLORY)).await;
    let links = [&first, &second];
    let uses = (0..64).map(|at| links[at % 2]);
    let uses = uses.map(|link| async { restore(&scene, link).await.status });
    let statuses = join_all(uses).await;
    let known = |status: &u16| [200, 401, 409, 503].contains(status);
    assert!(statuses.iter().all(known), "{statuses:?}");
    let won = |link: usize| {
        let of = statuses.iter().skip(link).step_by(2);
        of.filter(|status| **status == 200).count()
    };
    assert_eq!(won(0), 1, "{statuses:?}");
    assert!(won(1) <= 1, "{statuses:?}");
    assert_eq!(email_of(&scene, &user).await, ADA);
}

#[tokio::test]
async fn of_64_uses_of_a_way_back_at_once_one_wins() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let (_, link) = change(&scene, &session, (ADA, EVE)).await;
    let uses = (0..64).map(|_| async { restore(&scene, &link).await.status });
    let statuses = join_all(uses).await;
    let won = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(won, 1, "{statuses:?}");
    assert_eq!(scene.app.audit("kind=user.recovered").await.len(), 1);
}

/// Whoever has the account takes the way back away by nothing that they can do in it, nor by mail to their address.
#[tokio::test]
async fn a_way_back_outlives_what_is_done_by_whoever_has_the_account() {
    for done in [
        "reset",
        "changed_password",
        "changed_back_and_forth",
        "squat",
    ] {
        let scene = Scene::of(crate::setup(), Verification::First).await;
        let session = scene.ada().await;
        let user = user_of(&scene, &session).await;
        let (session, link) = change(&scene, &session, (ADA, EVE)).await;
        match done {
            "reset" => reset(&scene, EVE).await,
            "changed_password" => {
                let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
                let call = scene.app.call(&session);
                call.post("/api/auth/change-password", body)
                    .await
                    .expect(200);
            }
            "changed_back_and_forth" => {
                let (session, _) = change(&scene, &session, (EVE, MALLORY)).await;
                change(&scene, &session, (MALLORY, EVE)).await;
            }
            // Somebody signs up with the address that is free now, and cannot verify it.
            _ => {
                let body = json!({ "email": ADA, "password": OTHER });
                let squat = scene.post("/api/auth/sign-up/email", body).await;
                squat.expect(200);
            }
        }
        restore(&scene, &link).await.expect(200);
        assert_eq!(email_of(&scene, &user).await, ADA, "{done}");
    }
}

#[tokio::test]
async fn an_address_that_is_somebody_elses_by_now_is_not_taken_from_them() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let user = user_of(&scene, &session).await;
    let (_, link) = change(&scene, &session, (ADA, EVE)).await;
    let before = scene.smtp.mails().len();
    let body = json!({ "email": ADA, "password": OTHER });
    let mut browser = scene.browser();
    browser
        .post("/api/auth/sign-up/email", body)
        .await
        .expect(200);
    let token = scene.mailed((ADA, before), link_in).await;
    let body = json!({ "token": token });
    let verified = browser.post("/api/auth/verify-email", body).await;
    let other = user_of(&scene, &token_of(&verified.expect(200))).await;
    let refused = restore(&scene, &link).await.refused(409, "conflict");
    assert!(refused.text.contains("another account"), "{refused}");
    assert_eq!(email_of(&scene, &user).await, EVE);
    // Once it is free, the same link works.
    let path = format!("/api/v1/users/{other}");
    scene.app.operator().delete(&path).await.expect(200);
    restore(&scene, &link).await.expect(200);
    assert_eq!(email_of(&scene, &user).await, ADA);
}

/// Whoever changed the address keeps it from its owner by no account of that address which they cannot verify.
#[tokio::test]
async fn an_account_that_never_verified_the_address_loses_it() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let user = user_of(&scene, &session).await;
    let (_, link) = change(&scene, &session, (ADA, EVE)).await;
    let body = json!({ "email": ADA, "name": "Squatter" });
    let other = scene.app.operator().post("/api/v1/users", body).await;
    let other = other.expect(201).id().to_owned();
    assert_eq!(email_of(&scene, &other).await, ADA);
    restore(&scene, &link).await.expect(200);
    assert_eq!(email_of(&scene, &user).await, ADA);
    assert_eq!(email_of(&scene, &other).await, "none");
    let records = scene.app.audit("kind=user.updated").await;
    // The change of the address, and the loss of it.
    assert_eq!(records.len(), 2, "{records:?}");
}

#[tokio::test]
async fn a_way_back_is_good_for_a_week() {
    for (seconds, status) in [(WEEK - 1, 200), (WEEK, 401)] {
        let scene = Scene::start().await;
        let session = scene.ada().await;
        let (_, link) = change(&scene, &session, (ADA, EVE)).await;
        scene.app.advance(seconds);
        restore(&scene, &link).await.expect(status);
    }
}

#[tokio::test]
async fn whoever_is_stopped_takes_nothing_back() {
    for turn in ["ban", "delete"] {
        let scene = Scene::start().await;
        let session = scene.ada().await;
        let user = user_of(&scene, &session).await;
        let (_, link) = change(&scene, &session, (ADA, EVE)).await;
        let path = format!("/api/v1/users/{user}");
        let operator = scene.app.operator();
        if turn == "delete" {
            operator.delete(&path).await.expect(200);
            restore(&scene, &link).await.refused(401, "unauthenticated");
            continue;
        }
        let ban = format!("{path}/ban");
        operator.post(&ban, json!({})).await.expect(200);
        restore(&scene, &link).await.refused(409, "conflict");
        assert_eq!(email_of(&scene, &user).await, EVE);
        // The twin: it was the ban, and the link is good after it.
        let unban = format!("{path}/unban");
        operator.post(&unban, json!({})).await.expect(200);
        restore(&scene, &link).await.expect(200);
    }
}

#[tokio::test]
async fn an_operators_change_is_final_and_ends_the_ways_back() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let user = user_of(&scene, &session).await;
    let (_, link) = change(&scene, &session, (ADA, EVE)).await;
    let path = format!("/api/v1/users/{user}");
    let before = scene.smtp.mails().len();
    let change = json!({ "email": MALLORY });
    scene.app.operator().patch(&path, change).await.expect(200);
    let told = scene
        .mailed((EVE, before), |text| Some(text.to_owned()))
        .await;
    assert!(
        told.contains("was changed") && !told.contains("token="),
        "{told}"
    );
    restore(&scene, &link).await.refused(401, "unauthenticated");
    assert_eq!(email_of(&scene, &user).await, MALLORY);
}

/// Whoever finds the session of an owner changes the owner's address as operators do, and is taken back as others are.
#[tokio::test]
async fn an_owner_who_changes_their_own_address_gets_a_way_back() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let user = user_of(&scene, &session).await;
    let path = format!("/api/v1/users/{user}");
    let role = json!({ "role": "owner" });
    let operator = scene.app.operator();
    operator
        .post(&format!("{path}/role"), role)
        .await
        .expect(200);
    let owner = signed_in(&scene, ADA).await;
    let before = scene.smtp.mails().len();
    let body = json!({ "email": EVE });
    scene.app.call(&owner).patch(&path, body).await.expect(200);
    let link = scene.mailed((ADA, before), way_back).await;
    restore(&scene, &link).await.expect(200);
    assert_eq!(email_of(&scene, &user).await, ADA);
}

/// Whoever reads mail at an address that was never verified never had the account.
#[tokio::test]
async fn an_address_that_nobody_verified_gets_no_way_back() {
    let scene = Scene::of(crate::setup(), Verification::Later).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let made = scene.post("/api/auth/sign-up/email", body).await;
    let session = token_of(&made.expect(200));
    let call = || scene.app.call(&session);
    let before = scene.smtp.mails().len();
    let asked = json!({ "newEmail": EVE });
    call()
        .post("/api/auth/change-email", asked)
        .await
        .expect(200);
    let token = scene.mailed((EVE, before), link_in).await;
    let body = json!({ "token": token });
    let confirmed = call().post("/api/auth/change-email/confirm", body).await;
    confirmed.expect(200);
    let is_told = |text: &str| text.contains("was changed").then(|| text.to_owned());
    let told = scene.mailed((ADA, before), is_told).await;
    assert!(!told.contains("token="), "{told}");
}

/// What was added by whoever changed the address goes with it for a day; later, mail alone takes no factor away.
#[tokio::test]
async fn factors_that_were_added_before_the_change_go_for_a_day() {
    for (wait, asks) in [(60, false), (DAY + 60, true)] {
        let scene = Scene::of_all(crate::setup(), None).await;
        let session = scene.ada().await;
        let call = |token: &str| scene.app.call(token);
        let made = call(&session).post(totp::SETUP, json!({})).await;
        let code = totp::code(&scene.app, made.expect(201).text_at("/data/secret"), 0);
        let body = json!({ "code": code });
        let armed = call(&session).post(totp::ENABLE, body).await;
        let session = token_of(&armed.expect(200));
        let (_, link) = change(&scene, &session, (ADA, EVE)).await;
        scene.app.advance(wait);
        restore(&scene, &link).await.expect(200);
        let before = scene.smtp.mails().len();
        let forgot = json!({ "email": ADA });
        scene
            .post("/api/auth/forgot-password", forgot)
            .await
            .expect(200);
        let token = scene.mailed((ADA, before), link_in).await;
        let set = json!({ "token": token, "newPassword": OTHER });
        scene
            .post("/api/auth/reset-password", set)
            .await
            .expect(200);
        let entered = scene.sign_in(ADA, OTHER).await.expect(200);
        assert_eq!(entered.text.contains("second_factor"), asks, "{entered}");
    }
}

/// What is kept of the former address is its owner's to see, and no token is.
#[tokio::test]
async fn a_former_address_is_told_to_its_human_and_the_token_to_nobody() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let (session, link) = change(&scene, &session, (ADA, EVE)).await;
    let own = scene.app.call(&session).get("/api/auth/export").await;
    let own = own.expect(200);
    assert!(own.text.contains("former_address"), "{own}");
    assert!(own.text.contains(ADA) && !own.text.contains(&link), "{own}");
}

#[tokio::test]
async fn the_page_of_a_way_back_asks_before_anything_is_done() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    let user = user_of(&scene, &session).await;
    let (_, link) = change(&scene, &session, (ADA, EVE)).await;
    let client = Client::new(scene.app.client().address());
    let html = || client.anonymous().header("accept", "text/html");
    let path = format!("/restore-email?token={link}");
    let opened = html().header("sec-fetch-site", "cross-site");
    let page = opened.get(&path).await.expect(200);
    assert!(page.text.contains("Take it back"), "{page}");
    let cookie = page.header("set-cookie").split(';').next();
    let cookie = cookie.unwrap_or_default();
    let call = html()
        .header("cookie", cookie)
        .header("sec-fetch-site", "same-origin");
    let bare = [("token", link.as_str())];
    let unmarked = call.clone().post_form("/restore-email", &bare).await;
    assert_eq!(unmarked.status, 403, "{unmarked}");
    assert_eq!(email_of(&scene, &user).await, EVE);
    let mark = mark(&page);
    let fields = [("csrf", mark.as_str()), ("token", &link)];
    let done = call.clone().post_form("/restore-email", &fields).await;
    let done = done.expect(200);
    assert!(done.text.contains("/forgot-password"), "{done}");
    assert_eq!(email_of(&scene, &user).await, ADA);
    let again = call.post_form("/restore-email", &fields).await;
    assert_eq!(again.status, 401, "{again}");
}

/// The mail to the old address has its subject and is to it alone.
#[tokio::test]
async fn the_new_address_gets_no_way_back() {
    let scene = Scene::start().await;
    let session = scene.ada().await;
    change(&scene, &session, (ADA, EVE)).await;
    let to = |mail: &Delivered| (mail.to.clone(), mail.text().contains("/restore-email"));
    let mails = scene.smtp.mails();
    let with_it: Vec<_> = mails.iter().map(to).filter(|(_, has)| *has).collect();
    assert_eq!(with_it, [(vec![ADA.to_owned()], true)]);
}
