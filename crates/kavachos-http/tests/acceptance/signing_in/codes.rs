//! Codes by mail that sign in.

use futures_util::future::join_all;
use kavachos_test::Reply;
use serde_json::json;

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

/// Lessons A F29, C 45: a thousand at once are no more.
#[tokio::test]
async fn of_a_thousand_guesses_at_once_five_are_looked_at() {
    let scene = Scene::start().await;
    let (challenge, code) = asked(&scene).await;
    // Its human has an account, so that each guess that is looked at is on record.
    show(&scene, &challenge, &code).await.expect(200);
    let (challenge, code) = asked(&scene).await;
    let guesses = (0..1_000).map(|number: u32| {
        let (scene, challenge, code) = (&scene, &challenge, wrong(&code));
        async move {
            let address = format!("127.0.{}.{}", 1 + number / 50, 1 + number % 50);
            let body = json!({ "challenge": challenge, "code": code });
            scene
                .app
                .anonymous()
                .from(&address)
                .post(VERIFY, body)
                .await
                .status
        }
    });
    let mut statuses = Vec::new();
    let mut guesses = guesses.collect::<Vec<_>>();
    while !guesses.is_empty() {
        let some = guesses.split_off(guesses.len().saturating_sub(100));
        statuses.extend(join_all(some).await);
    }
    assert!(
        statuses.iter().all(|status| [401, 429].contains(status)),
        "{statuses:?}"
    );
    let looked_at = scene.app.audit("kind=email_otp.used&outcome=denied").await;
    assert_eq!(looked_at.len(), 5);
    show(&scene, &challenge, &code)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn of_many_uses_of_a_code_at_once_one_wins() {
    let scene = Scene::start().await;
    let (challenge, code) = asked(&scene).await;
    let uses = (0..64).map(|_| async { show(&scene, &challenge, &code).await.status });
    let statuses = join_all(uses).await;
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(scene.app.audit("kind=session.opened").await.len(), 1);
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
