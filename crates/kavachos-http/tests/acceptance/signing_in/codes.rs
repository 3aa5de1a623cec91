//! Codes by mail that sign in.

use kavachos_auth::email_password::Verification;
use kavachos_test::Reply;
use serde_json::{Value, json};

use super::scene::{ADA, Scene};

const SEND: &str = "/api/auth/email-otp/send";
const VERIFY: &str = "/api/auth/email-otp/verify";

/// The challenge, and the code that was mailed.
async fn asked(scene: &Scene) -> (String, String) {
    let reply = scene.post(SEND, json!({ "email": ADA })).await.expect(200);
    assert_eq!(reply.at("/data/next"), "enter_code");
    let text = scene.next_mail().await;
    let code = text
        .split(|c: char| !c.is_ascii_digit())
        .find(|word| word.len() == 6);
    let code = code.expect("a code of six digits").to_owned();
    (reply.text_at("/data/challenge").to_owned(), code)
}

async fn show(scene: &Scene, challenge: &str, code: &str) -> Reply {
    let body = json!({ "challenge": challenge, "code": code });
    scene.post(VERIFY, body).await
}

/// Another code than this.
fn wrong(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}

#[tokio::test]
async fn a_code_signs_in_whoever_asked_for_it_once() {
    let scene = Scene::start().await;
    let (challenge, code) = asked(&scene).await;
    let (_, other) = asked(&scene).await;
    // A code is of its challenge alone.
    if other != code {
        show(&scene, &challenge, &other)
            .await
            .refused(401, "unauthenticated");
    }
    let used = show(&scene, &challenge, &code).await.expect(200);
    assert_eq!(used.at("/data/user/email"), ADA);
    show(&scene, &challenge, &code)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn five_attempts_at_a_code_are_looked_at() {
    let scene = Scene::start().await;
    let (challenge, code) = asked(&scene).await;
    for _ in 0..4 {
        show(&scene, &challenge, &wrong(&code))
            .await
            .refused(401, "unauthenticated");
    }
    // The twin: the fifth is looked at.
    show(&scene, &challenge, &code).await.expect(200);
    let (challenge, code) = asked(&scene).await;
    for _ in 0..5 {
        show(&scene, &challenge, &wrong(&code))
            .await
            .refused(401, "unauthenticated");
    }
    show(&scene, &challenge, &code)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_code_is_over_after_ten_minutes() {
    let scene = Scene::start().await;
    for (seconds, status) in [(10 * 60 - 1, 200), (10 * 60, 401)] {
        let (challenge, code) = asked(&scene).await;
        scene.app.advance(seconds);
        show(&scene, &challenge, &code).await.expect(status);
    }
}

/// A wrong code for this person, from a network of their own.
async fn miss(scene: &Scene, person: u32) -> u16 {
    miss_from(scene, person, &format!("127.1.{person}.1")).await
}

async fn miss_from(scene: &Scene, person: u32, from: &str) -> u16 {
    let caller = || scene.app.anonymous().from(from);
    let email = json!({ "email": format!("p{person}@example.com") });
    let asked = caller().post(SEND, email).await.expect(200);
    let text = scene.next_mail().await;
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    let code = wrong(words.find(|word| word.len() == 6).expect("a code"));
    let body = json!({ "challenge": asked.text_at("/data/challenge"), "code": code });
    caller().post(VERIFY, body).await.status
}

/// people.md, linking and recovery: a few wrong codes at each of many accounts are many wrong codes.
#[tokio::test]
async fn wrong_codes_of_all_accounts_share_a_budget() {
    for (budget, statuses) in [(3, [401, 401, 401, 429]), (4, [401; 4])] {
        let setup = crate::setup().settings(|settings| settings.wrong_codes = budget);
        let scene = Scene::of(setup, Verification::First).await;
        let mut seen = Vec::new();
        for person in 1..=4 {
            seen.push(miss(&scene, person).await);
        }
        assert_eq!(seen, statuses, "{budget}");
    }
}

/// A right code gives back the one guess that it took, and no more; a browser that is known does not wait for strangers.
#[tokio::test]
async fn the_shared_budget_is_given_back_by_ones_and_is_none_of_known_browsers() {
    let setup = crate::setup().settings(|settings| settings.wrong_codes = 3);
    let scene = Scene::of(setup, Verification::First).await;
    let mut ada = scene.browser();
    let body = |(challenge, code): &(String, String)| -> Value {
        json!({ "challenge": challenge, "code": code })
    };
    let right = asked(&scene).await;
    ada.post_for_cookie(VERIFY, body(&right)).await.expect(200);
    assert_eq!(miss(&scene, 1).await, 401);
    assert_eq!(miss(&scene, 2).await, 401);
    // In a browser that is not known: it takes the last guess, and gives that one back.
    let (challenge, code) = asked(&scene).await;
    show(&scene, &challenge, &code).await.expect(200);
    scene.app.advance(61);
    assert_eq!(miss(&scene, 3).await, 401);
    assert_eq!(miss(&scene, 4).await, 429);
    let right = asked(&scene).await;
    show(&scene, &right.0, &right.1)
        .await
        .refused(429, "too_many_requests");
    ada.post_for_cookie(VERIFY, body(&right)).await.expect(200);
}

/// A stranger who misses on purpose uses up the part of their own network, and keeps no others waiting.
#[tokio::test]
async fn one_network_takes_a_tenth_of_the_budget_of_all_codes() {
    for (budget, statuses) in [(20, [401, 401, 429]), (30, [401; 3])] {
        let setup = crate::setup().settings(|settings| settings.wrong_codes = budget);
        let scene = Scene::of(setup, Verification::First).await;
        let mut seen = Vec::new();
        for person in 1..=3 {
            // Addresses of one /24.
            seen.push(miss_from(&scene, person, &format!("127.7.7.{person}")).await);
        }
        assert_eq!(seen, statuses, "{budget}");
        assert_eq!(miss(&scene, 4).await, 401, "another network");
        // Who is right there gets theirs back.
        let (challenge, code) = asked(&scene).await;
        show(&scene, &challenge, &code).await.expect(200);
    }
}
