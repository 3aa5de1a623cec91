//! Another e-mail address: who gets it, what ends with the old one, and what nobody is told.

use futures_util::future::join_all;
use kavachos_test::Reply;
use serde_json::json;

use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};

const ASK: &str = "/api/auth/change-email";
const CONFIRM: &str = "/api/auth/change-email/confirm";
const NEW: &str = "countess@example.com";
const BOB: &str = "bob@example.com";
const HOUR: u64 = 60 * 60;

async fn ask(scene: &Scene, session: &str, email: &str) -> Reply {
    let call = scene.app.call(session);
    call.post(ASK, json!({ "newEmail": email })).await
}

async fn confirm(scene: &Scene, session: &str, token: &str) -> Reply {
    let call = scene.app.call(session);
    call.post(CONFIRM, json!({ "token": token })).await
}

/// Somebody who signed up with this address, verified it and is signed in: their token.
async fn person(scene: &Scene, email: &str) -> String {
    let mut browser = scene.browser();
    let asked = json!({ "email": email, "password": PASSWORD });
    let asked = browser.post("/api/auth/sign-up/email", asked).await;
    asked.expect(200);
    let token = scene.mailed_token().await;
    let verified = browser.post("/api/auth/verify-email", json!({ "token": token }));
    token_of(&verified.await.expect(200))
}

/// A link at this address.
async fn link(scene: &Scene, session: &str, email: &str) -> String {
    let asked = ask(scene, session, email).await.expect(200);
    assert_eq!(asked.at("/data/next"), "open_link");
    scene.mailed_token().await
}

async fn is_signed_in(scene: &Scene, session: &str) -> bool {
    let reply = scene.app.call(session).get("/api/auth/session").await;
    reply.status == 200
}

#[tokio::test]
async fn with_a_new_address_nothing_of_the_old_one_is_good() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    let other = token_of(&scene.sign_in(ADA, PASSWORD).await.expect(200));
    let mailed = async |path: &str, email: &str| {
        let asked = scene.post(path, json!({ "email": email })).await;
        asked.expect(200);
        scene.mailed_token().await
    };
    let (send_link, forgot) = ("/api/auth/magic-link/send", "/api/auth/forgot-password");
    let reset = mailed(forgot, ADA).await;
    let old_link = mailed(send_link, ADA).await;
    // A stranger who wants the new address, and cannot read its mail.
    let early = mailed(send_link, NEW).await;
    let token = link(&scene, &ada, NEW).await;
    let changed = confirm(&scene, &ada, &token).await.expect(200);
    assert_eq!(changed.at("/data/user/email"), NEW);
    assert_eq!(changed.at("/data/user/emailVerified"), true);
    let notice = scene.next_mail().await;
    assert!(notice.contains("was changed"), "{notice}");
    let mails = scene.smtp.mails();
    let told = mails.iter().find(|mail| mail.text() == notice);
    assert_eq!(told.unwrap().to, [ADA]);
    for session in [&ada, &other] {
        assert!(!is_signed_in(&scene, session).await);
    }
    assert!(is_signed_in(&scene, &token_of(&changed)).await);
    let gone = confirm(&scene, &token_of(&changed), &token).await;
    gone.refused(401, "unauthenticated");
    let new_password = "Schlehen nach dem Frost";
    let set = |token: &str| json!({ "token": token, "newPassword": new_password });
    let reply = scene.post("/api/auth/reset-password", set(&reset)).await;
    reply.refused(401, "unauthenticated");
    for link in [&old_link, &early] {
        let opened = json!({ "token": link, "confirm": true });
        let reply = scene.post("/api/auth/magic-link/verify", opened).await;
        reply.refused(401, "unauthenticated");
    }
    let old = scene.sign_in(ADA, PASSWORD).await;
    old.refused(401, "unauthenticated");
    scene.sign_in(NEW, PASSWORD).await.expect(200);
    assert_eq!(scene.app.audit("kind=change_email.asked").await.len(), 1);
    assert_eq!(scene.app.audit("kind=change_email.changed").await.len(), 1);
    assert_eq!(scene.app.audit("kind=user.updated").await.len(), 1);
}

/// The twin of the case above: without a change all of it is good.
#[tokio::test]
async fn what_was_mailed_is_good_while_the_address_stays() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    let sent = json!({ "email": ADA });
    scene
        .post("/api/auth/magic-link/send", sent.clone())
        .await
        .expect(200);
    let opened = json!({ "token": scene.mailed_token().await, "confirm": true });
    link(&scene, &ada, NEW).await;
    scene
        .post("/api/auth/magic-link/verify", opened)
        .await
        .expect(200);
    scene
        .post("/api/auth/forgot-password", sent)
        .await
        .expect(200);
    let token = scene.mailed_token().await;
    assert!(is_signed_in(&scene, &ada).await);
    let set = json!({ "token": token, "newPassword": "Schlehen nach dem Frost" });
    scene
        .post("/api/auth/reset-password", set)
        .await
        .expect(200);
}

#[tokio::test]
async fn whether_somebody_has_an_address_is_not_told() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    person(&scene, BOB).await;
    let taken = ask(&scene, &ada, BOB).await.expect(200);
    let free = ask(&scene, &ada, NEW).await.expect(200);
    assert_eq!(taken.at("/data"), free.at("/data"));
    let mail = scene.smtp.expect(3).await.pop().unwrap();
    assert_eq!(mail.to, [NEW], "nobody was told of the one that is taken");
    let record = |index: usize, all: &[serde_json::Value]| all[index]["code"].clone();
    let all = scene.app.audit("kind=change_email.asked").await;
    assert_eq!((all.len(), record(0, &all)), (2, record(1, &all)));
    let own = ask(&scene, &ada, ADA)
        .await
        .refused(400, "malformed_request");
    assert_eq!(own.field(), "newEmail");
    let none = ask(&scene, &ada, "countess")
        .await
        .refused(400, "malformed_request");
    assert_eq!(none.field(), "newEmail");
}

#[tokio::test]
async fn a_link_is_for_who_asked_and_proved_who_they_are_lately() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    let bob = person(&scene, BOB).await;
    let token = link(&scene, &ada, NEW).await;
    confirm(&scene, &bob, &token)
        .await
        .refused(401, "unauthenticated");
    let nobody = scene.post(CONFIRM, json!({ "token": token })).await;
    nobody.refused(401, "unauthenticated");
    confirm(&scene, &ada, "abc")
        .await
        .refused(401, "unauthenticated");
    // A session that somebody left open asks for nothing and confirms nothing.
    scene.app.advance(11 * 60);
    ask(&scene, &ada, NEW).await.refused(403, "forbidden");
    confirm(&scene, &ada, &token)
        .await
        .refused(403, "forbidden");
    // The twin: the same human in a new session.
    let fresh = token_of(&scene.sign_in(ADA, PASSWORD).await.expect(200));
    confirm(&scene, &fresh, &token).await.expect(200);
    let guest = scene.post("/api/auth/anonymous", json!({})).await;
    let guest = token_of(&guest.expect(200));
    ask(&scene, &guest, NEW).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_link_is_over_after_an_hour_and_with_the_next_one() {
    let scene = Scene::start().await;
    let mut session = scene.ada().await;
    for (address, seconds, status) in [(NEW, HOUR, 401), (NEW, HOUR - 1, 200)] {
        let token = link(&scene, &session, address).await;
        scene.app.advance(seconds);
        session = token_of(&scene.sign_in(ADA, PASSWORD).await.expect(200));
        confirm(&scene, &session, &token).await.expect(status);
    }
    scene.next_mail().await;
    let session = token_of(&scene.sign_in(NEW, PASSWORD).await.expect(200));
    let first = link(&scene, &session, BOB).await;
    let second = link(&scene, &session, "third@example.com").await;
    confirm(&scene, &session, &first)
        .await
        .refused(401, "unauthenticated");
    confirm(&scene, &session, &second).await.expect(200);
}

#[tokio::test]
async fn of_two_humans_at_once_one_gets_the_address() {
    let scene = Scene::start().await;
    let people = [scene.ada().await, person(&scene, BOB).await];
    let mut links = Vec::new();
    for session in &people {
        links.push((session, link(&scene, session, NEW).await));
    }
    let tries = links.iter().cycle().take(64);
    let tries =
        tries.map(|(session, token)| async { confirm(&scene, session, token).await.status });
    let statuses = join_all(tries).await;
    let won = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(won, 1, "{statuses:?}");
    assert!(
        statuses
            .iter()
            .all(|status| [200, 401, 409].contains(status)),
        "{statuses:?}"
    );
    let have = async |email: &str| {
        let path = format!("/api/v1/users?email={email}");
        let found = scene.app.operator().get(&path).await.expect(200);
        found.rows().len()
    };
    assert_eq!(have(NEW).await, 1);
    assert_eq!(
        have(ADA).await + have(BOB).await,
        1,
        "the other keeps theirs"
    );
    assert_eq!(
        scene
            .app
            .audit("kind=change_email.changed&outcome=allowed")
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn mails_to_strangers_are_limited() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    let bob = person(&scene, BOB).await;
    let to = |person: &str| format!("{person}@example.org");
    for person in ["eve", "mallory"] {
        for _ in 0..5 {
            ask(&scene, &ada, &to(person)).await.expect(200);
        }
    }
    // One human asks for ten in an hour; one address gets five, whoever asks.
    ask(&scene, &ada, &to("trent"))
        .await
        .refused(429, "too_many_requests");
    ask(&scene, &bob, &to("eve"))
        .await
        .refused(429, "too_many_requests");
    ask(&scene, &bob, &to("trent")).await.expect(200);
}

#[tokio::test]
async fn an_operators_change_is_told_too_and_ends_what_was_mailed() {
    let scene = Scene::start().await;
    let ada = scene.ada().await;
    let session = scene
        .app
        .call(&ada)
        .get("/api/auth/session")
        .await
        .expect(200);
    let path = format!("/api/v1/users/{}", session.text_at("/data/user/id"));
    let sent = json!({ "email": ADA });
    scene
        .post("/api/auth/forgot-password", sent)
        .await
        .expect(200);
    let reset = scene.mailed_token().await;
    let operator = scene.app.operator();
    // The twin: another change tells nobody, so the next mail is of the one after it.
    operator
        .patch(&path, json!({ "name": "Countess" }))
        .await
        .expect(200);
    operator
        .patch(&path, json!({ "email": NEW }))
        .await
        .expect(200);
    let notice = scene.smtp.expect(3).await.pop().unwrap();
    assert_eq!(notice.to, [ADA]);
    assert!(notice.text().contains("was changed"), "{}", notice.text());
    let set = json!({ "token": reset, "newPassword": "Schlehen nach dem Frost" });
    let reply = scene.post("/api/auth/reset-password", set).await;
    reply.refused(401, "unauthenticated");
}

/// What somebody else asked for is over with the rest once the account is its human's again.
#[tokio::test]
async fn a_change_that_waits_is_over_once_the_account_was_recovered() {
    for recovered in [true, false] {
        let scene = Scene::start().await;
        let ada = scene.ada().await;
        let token = link(&scene, &ada, NEW).await;
        let mut password = PASSWORD;
        if recovered {
            let asked = json!({ "email": ADA });
            let asked = scene.post("/api/auth/forgot-password", asked).await;
            asked.expect(200);
            let link = scene.mailed_token().await;
            password = OTHER;
            let body = json!({ "token": link, "newPassword": password });
            let reset = scene.post("/api/auth/reset-password", body).await;
            reset.expect(200);
        }
        let session = token_of(&scene.sign_in(ADA, password).await.expect(200));
        let done = confirm(&scene, &session, &token).await.status;
        assert_eq!(done, if recovered { 401 } else { 200 });
    }
}
