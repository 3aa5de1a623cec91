//! Guests, and the accounts that they become.

use kavachos_test::{Reply, may};
use serde_json::json;

use super::scene::{ADA, PASSWORD, Scene, token_of};

const COME: &str = "/api/auth/anonymous";
const UPGRADE: &str = "/api/auth/anonymous/upgrade";
const VERIFY: &str = "/api/auth/anonymous/upgrade/verify";

#[tokio::test]
async fn a_guest_becomes_an_account_and_keeps_their_agents() {
    let scene = Scene::start().await;
    let guest = scene.post(COME, json!({})).await.expect(200);
    let (token, user) = (token_of(&guest), guest.text_at("/data/user/id").to_owned());
    let agent = scene.app.agent(&user, may(&["read"], "mcp:*")).await;
    let asked = json!({ "email": ADA, "password": PASSWORD, "name": "Ada" });
    let asked = scene
        .app
        .call(&token)
        .post(UPGRADE, asked)
        .await
        .expect(200);
    assert_eq!(asked.at("/data/next"), "verify_email");
    let link = json!({ "token": scene.mailed_token().await });
    // Whoever finds the link is not the guest.
    let other = token_of(&scene.post(COME, json!({})).await.expect(200));
    scene
        .app
        .call(&other)
        .post(VERIFY, link.clone())
        .await
        .refused(401, "unauthenticated");
    scene
        .post(VERIFY, link.clone())
        .await
        .refused(401, "unauthenticated");
    let upgraded = scene
        .app
        .call(&token)
        .post(VERIFY, link.clone())
        .await
        .expect(200);
    assert_eq!(upgraded.text_at("/data/user/id"), user);
    assert_eq!(upgraded.at("/data/user/emailVerified"), true);
    scene
        .app
        .decide(&agent.id, "read", "mcp:a")
        .await
        .decided("allowed");
    let own = scene.sign_in(ADA, PASSWORD).await.expect(200);
    assert_eq!(own.text_at("/data/user/id"), user);
    // The guest's token is none of the account's.
    scene
        .app
        .call(&token)
        .get("/api/auth/session")
        .await
        .refused(401, "unauthenticated");
    let own = scene.app.call(&token_of(&own));
    let again = own.post(
        UPGRADE,
        json!({ "email": "b@example.com", "password": PASSWORD }),
    );
    again.await.refused(409, "conflict");
}

#[tokio::test]
async fn an_address_that_has_an_account_is_not_taken_over() {
    let scene = Scene::start().await;
    scene.ada().await;
    let guest = token_of(&scene.post(COME, json!({})).await.expect(200));
    let asked = json!({ "email": ADA, "password": "chosen by a guest" });
    let asked = scene
        .app
        .call(&guest)
        .post(UPGRADE, asked)
        .await
        .expect(200);
    assert_eq!(asked.at("/data/next"), "verify_email");
    assert!(!scene.next_mail().await.contains("token="));
    scene
        .sign_in(ADA, "chosen by a guest")
        .await
        .refused(401, "unauthenticated");
    scene.sign_in(ADA, PASSWORD).await.expect(200);
}

/// Whatever they send: also what is refused is counted.
#[tokio::test]
async fn a_guest_who_asks_too_often_makes_no_more_work() {
    let scene = Scene::start().await;
    let guest = token_of(&scene.post(COME, json!({})).await.expect(200));
    for n in 0..10 {
        ask(&scene, &guest, ("127.0.2.1", n), "short")
            .await
            .refused(400, "malformed_request");
    }
    let before = scene.passwords.blocks_filled();
    ask(&scene, &guest, ("127.0.3.1", 10), PASSWORD)
        .await
        .refused(429, "too_many_requests");
    assert_eq!(scene.passwords.blocks_filled(), before);
    // The twin: another guest, from where the first one came from.
    let other = token_of(&scene.post(COME, json!({})).await.expect(200));
    let asked = ask(&scene, &other, ("127.0.2.1", 10), PASSWORD).await;
    asked.expect(200);
    assert!(scene.passwords.blocks_filled() > before);
}

#[tokio::test]
async fn many_guests_of_one_network_ask_as_often_as_people_sign_up_there() {
    let scene = Scene::start().await;
    let mut guests = Vec::new();
    for _ in 0..4 {
        guests.push(token_of(&scene.post(COME, json!({})).await.expect(200)));
    }
    for n in 0..30 {
        ask(&scene, &guests[n / 10], ("127.0.2.1", n), "short")
            .await
            .refused(400, "malformed_request");
    }
    let last = &guests[3];
    ask(&scene, last, ("127.0.2.77", 30), "short")
        .await
        .refused(429, "too_many_requests");
    // The twin: from elsewhere the same guest is heard.
    ask(&scene, last, ("127.0.3.1", 30), "short")
        .await
        .refused(400, "malformed_request");
}

/// A guest asks from this address for the account of somebody with this number.
async fn ask(scene: &Scene, guest: &str, (from, n): (&str, usize), password: &str) -> Reply {
    let body = json!({ "email": format!("{n}@example.com"), "password": password });
    scene.app.call(guest).from(from).post(UPGRADE, body).await
}
