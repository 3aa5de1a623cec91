//! The keys that sign: published apart by purpose, rotated by command and by age, retired at once, stored nowhere.

use std::time::Duration;

use kavachos_core::token::KeySet;
use kavachos_test::TestApp;
use serde_json::{Value, json};

const KEYS: &str = "/api/v1/signing-keys";
const PUBLIC: [&str; 4] = [
    "jwks",
    "kavach-feed-keys",
    "kavach-checkpoint-keys",
    "kavach-assertion-keys",
];

async fn set(app: &TestApp, name: &str) -> Value {
    let reply = app
        .anonymous()
        .get(&format!("/.well-known/{name}.json"))
        .await;
    reply.expect(200).body
}

/// The names of the published keys for tokens.
async fn kids(app: &TestApp) -> Vec<String> {
    let set = set(app, "jwks").await;
    let read = KeySet::from_jwks(set.to_string().as_bytes()).unwrap();
    read.names().map(|name| name.to_string()).collect()
}

async fn in_state(app: &TestApp, purpose: &str, algorithm: &str, state: &str) -> Vec<String> {
    let reply = app.operator().get(KEYS).await.expect(200);
    let keys = reply.at("/data").as_array().unwrap().clone();
    let fits = |key: &&Value| {
        key["purpose"] == purpose && key["algorithm"] == algorithm && key["state"] == state
    };
    let fitting = keys.iter().filter(fits);
    fitting
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn one(app: &TestApp, algorithm: &str, state: &str) -> String {
    let found = in_state(app, "token", algorithm, state).await;
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

async fn rotate(app: &TestApp) {
    let body = json!({ "purpose": "token" });
    app.operator()
        .post(&format!("{KEYS}/rotate"), body)
        .await
        .expect(200);
}

#[tokio::test]
async fn each_purpose_has_keys_of_its_own_and_the_next_is_published_before_it_signs() {
    let app = crate::start().await;
    let mut seen: Vec<String> = Vec::new();
    for (name, keys) in [
        ("jwks", 4),
        ("kavach-feed-keys", 2),
        ("kavach-checkpoint-keys", 2),
        ("kavach-assertion-keys", 4),
    ] {
        let set = set(&app, name).await;
        let read = KeySet::from_jwks(set.to_string().as_bytes()).unwrap();
        assert_eq!(read.names().count(), keys, "{name}");
        assert!(
            !set.to_string().contains("\"d\""),
            "a private key is published"
        );
        seen.extend(read.names().map(|name| name.to_string()));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 12, "a key has two purposes");
    assert_eq!(app.audit("kind=signing_key.created").await.len(), 6);
}

#[tokio::test]
async fn a_rotated_key_is_published_until_what_it_signed_is_over() {
    let app = crate::start().await;
    let (old, next) = (
        one(&app, "EdDSA", "current").await,
        one(&app, "EdDSA", "next").await,
    );
    rotate(&app).await;
    assert_eq!(one(&app, "EdDSA", "current").await, next);
    assert!(kids(&app).await.contains(&old));
    app.clock().advance(Duration::from_secs(20 * 60 - 1));
    assert!(kids(&app).await.contains(&old));
    app.clock().advance(Duration::from_secs(1));
    assert!(!kids(&app).await.contains(&old));
    assert_eq!(app.audit("kind=signing_key.rotated").await.len(), 2);
}

#[tokio::test]
async fn a_retired_key_is_gone_at_once_and_the_next_signs() {
    let app = crate::start().await;
    let retire = async |kid: &str| {
        let body = json!({ "kid": kid });
        app.operator().post(&format!("{KEYS}/retire"), body).await
    };
    let (old, next) = (
        one(&app, "ES256", "current").await,
        one(&app, "ES256", "next").await,
    );
    retire(&old).await.expect(200);
    assert!(!kids(&app).await.contains(&old));
    assert_eq!(one(&app, "ES256", "current").await, next);
    // Also one that signs nothing yet, and one that was rotated out; but none twice, and none that there is not.
    let waiting = one(&app, "ES256", "next").await;
    retire(&waiting).await.expect(200);
    assert_ne!(one(&app, "ES256", "next").await, waiting);
    rotate(&app).await;
    retire(&next).await.expect(200);
    assert!(!kids(&app).await.contains(&next));
    for gone in [&old, &next, &"A".repeat(43)] {
        assert_eq!(retire(gone).await.code(), "not_found");
    }
    assert_eq!(retire("one").await.field(), "kid");
}

#[tokio::test]
async fn keys_are_rotated_by_age() {
    let app = crate::start().await;
    let old = one(&app, "EdDSA", "current").await;
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    app.clock().advance(month - Duration::from_secs(1));
    app.kavach().engine().upkeep_of_keys().await.unwrap();
    assert_eq!(one(&app, "EdDSA", "current").await, old);
    app.clock().advance(Duration::from_secs(1));
    app.kavach().engine().upkeep_of_keys().await.unwrap();
    assert_ne!(one(&app, "EdDSA", "current").await, old);
}

#[tokio::test]
async fn without_a_master_key_there_are_no_keys_and_the_answer_says_how_to_get_one() {
    let app = crate::setup().without_master_key().start().await;
    for path in PUBLIC.map(|name| format!("/.well-known/{name}.json")) {
        let reply = app.anonymous().get(&path).await;
        assert_eq!((reply.status, reply.code()), (409, "conflict"));
        assert!(reply.text.contains("kavach init"), "{reply}");
    }
    let operator = app.operator();
    assert_eq!(operator.get(KEYS).await.code(), "conflict");
    for (act, body) in [
        ("rotate", json!({ "purpose": "token" })),
        ("retire", json!({ "kid": "A".repeat(43) })),
    ] {
        let reply = operator.post(&format!("{KEYS}/{act}"), body).await;
        assert_eq!(reply.code(), "conflict", "{act}");
    }
}

#[tokio::test]
async fn nothing_is_asked_of_public_keys() {
    let app = crate::start().await;
    for path in PUBLIC.map(|name| format!("/.well-known/{name}.json?a=b")) {
        assert_eq!(app.anonymous().get(&path).await.field(), "a");
    }
    let metadata = "/.well-known/oauth-authorization-server?a=b";
    assert_eq!(app.anonymous().get(metadata).await.field(), "a");
}

#[tokio::test]
async fn another_request_under_the_same_key_is_told() {
    let app = crate::start().await;
    let once = app.operator().header("Idempotency-Key", "k");
    let kid = one(&app, "EdDSA", "next").await;
    let other = one(&app, "ES256", "next").await;
    for (act, first, second) in [
        (
            "rotate",
            json!({ "purpose": "token" }),
            json!({ "purpose": "feed" }),
        ),
        ("retire", json!({ "kid": kid }), json!({ "kid": other })),
    ] {
        let path = format!("{KEYS}/{act}");
        once.post(&path, first).await.expect(200);
        assert_eq!(
            once.post(&path, second).await.code(),
            "idempotency_mismatch"
        );
    }
}

#[tokio::test]
async fn many_who_ask_first_at_the_same_time_get_the_same_keys() {
    let app = crate::start().await;
    let asked = futures_util::future::join_all((0..32).map(|_| kids(&app))).await;
    assert!(asked.iter().all(|kids| *kids == asked[0]), "{asked:?}");
    assert_eq!(app.audit("kind=signing_key.created").await.len(), 6);
}
