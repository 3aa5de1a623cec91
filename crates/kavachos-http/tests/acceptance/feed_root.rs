//! The keys of the feed under a root that is kept offline: asked for, signed elsewhere, installed with a new epoch. What
//! a verifier makes of it is shown in its own crate.

use std::time::Duration;

use kavachos::FeedRoot;
use kavachos::core::revocation::FeedHead;
use kavachos::core::token::{Algorithm, Code, FeedKeys, FeedKeysRequest, KeySet, SigningKey};
use kavachos_test::kavachos;
use kavachos_test::{Reply, Setup, TestApp, may};
use serde_json::{Value, json};

use crate::tokens::{ask, issuer, judged, now, own, register};

const KEYS: &str = "/api/v1/signing-keys";
const REQUEST: &str = "/api/v1/signing-keys/feed/request";
const INSTALL: &str = "/api/v1/signing-keys/feed/install";
const DOCUMENT: &str = "/.well-known/kavach-feed-keys.jwt";

fn root(byte: u8) -> SigningKey {
    SigningKey::from_seed(Algorithm::Ed25519, &[byte; 32]).unwrap()
}

fn public(byte: u8) -> FeedRoot {
    root(byte).public().clone().try_into().unwrap()
}

pub(crate) fn rooted() -> Setup {
    crate::setup().settings(|settings| settings.feed_root = Some(public(9)))
}

async fn request(app: &TestApp) -> FeedKeysRequest {
    let reply = app.operator().post(REQUEST, json!({})).await.expect(200);
    FeedKeysRequest::parse(reply.at("/data").to_string().as_bytes()).unwrap()
}

async fn install(app: &TestApp, document: &str) -> Reply {
    let body = json!({ "document": document });
    app.operator().post(INSTALL, body).await
}

fn sign(app: &TestApp, asked: &FeedKeysRequest) -> String {
    asked.sign(&root(9), now(app)).unwrap()
}

/// Asks, signs and installs; gives the document.
pub(crate) async fn replace(app: &TestApp) -> String {
    let document = sign(app, &request(app).await);
    install(app, &document).await.expect(200);
    document
}

async fn published(app: &TestApp) -> KeySet {
    let path = "/.well-known/kavach-feed-keys.json";
    let reply = app.anonymous().get(path).await.expect(200);
    KeySet::from_jwks(reply.text.as_bytes()).unwrap()
}

async fn head(app: &TestApp, keys: &KeySet) -> Result<FeedHead, Code> {
    let poll =
        json!({ "nonce": "n", "instance": "i", "epoch": 0, "rseq": 0, "rhash": "A".repeat(43) });
    let reply = app.operator().post("/api/v1/revocations/head", poll).await;
    let head = reply.expect(200).text_at("/data/head").to_owned();
    FeedHead::open(&head, &issuer(app), keys).map_err(|failure| failure.code)
}

async fn current(app: &TestApp) -> String {
    let reply = app.operator().get(KEYS).await.expect(200);
    let keys = reply.at("/data").as_array().unwrap().clone();
    let is = |key: &&Value| key["purpose"] == "feed" && key["state"] == "current";
    let found: Vec<&Value> = keys.iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{keys:?}");
    found[0]["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_document_brings_its_key_into_use_takes_the_others_away_and_begins_an_epoch() {
    let app = rooted().start().await;
    let (old, before) = (published(&app).await, app.head().epoch);
    let asked = request(&app).await;
    // Until it is installed nothing is other than before, but that the key is published.
    assert_eq!(head(&app, &old).await.unwrap().epoch, before);
    assert!(asked.epoch > before);
    let document = sign(&app, &asked);
    let told = install(&app, &document).await.expect(200);
    assert_eq!(told.at("/data/epoch"), asked.epoch);
    assert_eq!(told.at("/data/keys").as_array().unwrap().len(), 1);
    assert!(told.at("/data/effectiveBy").is_string());
    assert_eq!(app.head().epoch, asked.epoch);
    assert_eq!(published(&app).await, asked.keys);
    let signed = head(&app, &asked.keys).await.unwrap();
    assert_eq!(signed.epoch, asked.epoch);
    assert_eq!(head(&app, &old).await, Err(Code::UnknownKey));
    // Whoever pins the root reads the same there.
    let shown = app.anonymous().get(DOCUMENT).await.expect(200);
    assert_eq!(
        (shown.text.as_str(), shown.header("content-type")),
        (document.as_str(), "application/jwt")
    );
    let read = FeedKeys::open(&shown.text, &issuer(&app), &[public(9)]).unwrap();
    assert_eq!(read.request, asked);
    let records = app.audit("kind=signing_key.installed").await;
    assert_eq!(records.len(), 1);
    let details = &records[0]["details"];
    assert_eq!(details["epoch"], asked.epoch);
    assert_eq!(details["root"], root(9).thumbprint().to_string());
    // And once more, with the same root.
    let second = replace(&app).await;
    assert!(app.head().epoch > asked.epoch);
    assert_eq!(app.anonymous().get(DOCUMENT).await.text, second);
}

#[tokio::test]
async fn tokens_of_before_are_dead_and_all_else_lives() {
    let app = rooted().start().await;
    let server = register(&app, json!({})).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let session = app.session(&user).await;
    let token = async || {
        let made = ask(&app, &agent.key, own(&agent)).await.expect(200);
        made.text_at("/data/token").to_owned()
    };
    let old = token().await;
    judged(&app, &old).await.unwrap();
    replace(&app).await;
    assert_eq!(judged(&app, &old).await.unwrap_err().code, Code::Revoked);
    // Their keys are what they were, and get them others.
    judged(&app, &token().await).await.unwrap();
    let own = app.call(&session.token).get("/api/v1/agents").await;
    own.expect(200);
    let feed = app.call(&server).get("/api/v1/revocations?since=0").await;
    feed.expect(200);
    let may = app.decide(&agent.id, "call", "tools:call:search").await;
    may.decided("allowed");
}

#[tokio::test]
async fn a_document_outlives_a_restart_and_the_log_goes_on() {
    let mut app = rooted().lasting().start().await;
    let document = replace(&app).await;
    let (epoch, size) = (app.head().epoch, app.head().size);
    app.restart().await;
    assert_eq!((app.head().epoch, app.head().size), (epoch, size));
    assert_eq!(app.anonymous().get(DOCUMENT).await.text, document);
    let user = app.user().await;
    let path = format!("/api/v1/users/{user}/ban");
    app.operator().post(&path, json!({})).await.expect(200);
    let keys = published(&app).await;
    let head = head(&app, &keys).await.unwrap();
    assert_eq!((head.epoch, head.head.rseq), (epoch, 1));
}

/// Each with its twin: what the root signed for what was asked last.
#[tokio::test]
async fn what_the_root_did_not_sign_is_refused_and_changes_nothing() {
    let app = rooted().start().await;
    let before = (current(&app).await, app.head().epoch);
    let asked = request(&app).await;
    let forged = asked.sign(&root(8), now(&app)).unwrap();
    let good = sign(&app, &asked);
    let (start, end) = good.rsplit_once('.').unwrap();
    let other_end = forged.rsplit_once('.').unwrap().1;
    assert_ne!(end, other_end);
    for forged in [forged.clone(), format!("{start}.{other_end}")] {
        install(&app, &forged).await.refused(403, "forbidden");
    }
    let elsewhere = FeedKeysRequest {
        issuer: "https://other.example.com".parse().unwrap(),
        ..asked.clone()
    };
    for malformed in ["", "a.b.c", &sign(&app, &elsewhere), &"a".repeat(9_000)] {
        assert_eq!(install(&app, malformed).await.field(), "document");
    }
    assert_eq!((current(&app).await, app.head().epoch), before);
    let refused = app.audit("kind=signing_key.installed&outcome=denied").await;
    assert_eq!(refused.len(), 2);
    install(&app, &good).await.expect(200);
    assert_ne!(current(&app).await, before.0);
}

#[tokio::test]
async fn a_document_for_another_key_or_an_epoch_that_is_over_is_refused() {
    let app = rooted().start().await;
    let first = request(&app).await;
    let last = request(&app).await;
    install(&app, &sign(&app, &first))
        .await
        .refused(409, "conflict");
    let mut more: Vec<_> = last.keys.keys().cloned().collect();
    more.push(root(3).public().clone());
    let stranger = FeedKeysRequest {
        keys: KeySet::new(more).unwrap(),
        ..last.clone()
    };
    install(&app, &sign(&app, &stranger))
        .await
        .refused(409, "conflict");
    let over = FeedKeysRequest {
        epoch: app.head().epoch,
        ..last.clone()
    };
    install(&app, &sign(&app, &over))
        .await
        .refused(409, "conflict");
    let document = sign(&app, &last);
    install(&app, &document).await.expect(200);
    // What was installed stays what it is; what was installed before it does not come back.
    let again = install(&app, &document).await.expect(200);
    assert_eq!(again.at("/data/replayed"), true);
    replace(&app).await;
    install(&app, &document).await.refused(409, "conflict");
}

#[tokio::test]
async fn with_a_root_keys_of_the_feed_rotate_in_no_other_way() {
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    for (setup, is_rooted) in [(rooted(), true), (crate::setup(), false)] {
        let app = setup.start().await;
        let (operator, old) = (app.operator(), current(&app).await);
        let status = if is_rooted { 409 } else { 200 };
        app.clock().advance(year);
        app.kavach().engine().upkeep_of_keys().await.unwrap();
        assert_eq!(current(&app).await == old, is_rooted, "by age");
        let old = current(&app).await;
        let rotate = json!({ "purpose": "feed" });
        let reply = operator.post(&format!("{KEYS}/rotate"), rotate).await;
        reply.expect(status);
        assert_eq!(current(&app).await == old, is_rooted, "by command");
        let old = current(&app).await;
        let retire = json!({ "kid": old });
        let reply = operator.post(&format!("{KEYS}/retire"), retire).await;
        reply.expect(status);
        assert_eq!(current(&app).await == old, is_rooted, "at once");
        // Those of tokens are nothing of the root's.
        let rotate = json!({ "purpose": "token" });
        let reply = operator.post(&format!("{KEYS}/rotate"), rotate).await;
        reply.expect(200);
    }
}

#[tokio::test]
async fn without_a_root_there_is_nothing_to_ask_install_or_read() {
    let app = crate::start().await;
    let operator = app.operator();
    let reply = operator.post(REQUEST, json!({})).await;
    reply.refused(409, "conflict");
    let twin = rooted().start().await;
    let document = replace(&twin).await;
    install(&app, &document).await.refused(409, "conflict");
    let none = app.anonymous().get(DOCUMENT).await;
    none.refused(404, "not_found");
    let keyless = rooted().without_master_key().start().await;
    let reply = keyless.operator().post(REQUEST, json!({})).await;
    reply.refused(409, "conflict");
    let none = keyless.anonymous().get(DOCUMENT).await;
    none.refused(409, "conflict");
    let odd = app.anonymous().get(&format!("{DOCUMENT}?a=b")).await;
    assert_eq!(odd.field(), "a");
}

#[tokio::test]
async fn only_an_operator_with_the_scope_asks_and_installs() {
    let app = rooted().start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let session = app.session(&user).await;
    let weak = json!({ "name": "weak", "scopes": ["audit:read", "agents:write"] });
    let weak = app.key(weak).await;
    let asked = request(&app).await;
    let body = json!({ "document": sign(&app, &asked) });
    for (path, body) in [(REQUEST, json!({})), (INSTALL, body.clone())] {
        let nobody = app.anonymous().post(path, body.clone()).await;
        nobody.refused(401, "unauthenticated");
        for credential in [&agent.key, &session.token, &weak] {
            let reply = app.call(credential).post(path, body.clone()).await;
            reply.refused(403, "forbidden");
        }
        let mut extra = body;
        extra["extra"] = json!(1);
        assert_eq!(app.operator().post(path, extra).await.field(), "extra");
    }
    let keeper = json!({ "name": "keeper", "scopes": ["config:write"] });
    let keeper = app.call(&app.key(keeper).await);
    keeper.post(INSTALL, body).await.expect(200);
    keeper.post(REQUEST, json!({})).await.expect(200);
}

#[tokio::test]
async fn a_call_that_is_repeated_under_its_key_is_answered_again_and_does_nothing() {
    let app = rooted().start().await;
    let once = app.operator().header("Idempotency-Key", "k");
    let first = once.post(REQUEST, json!({})).await.expect(200);
    let again = once.post(REQUEST, json!({})).await.expect(200);
    assert_eq!(again.at("/data/replayed"), true);
    assert_eq!(again.at("/data/keys"), first.at("/data/keys"));
    let mut asked = first.at("/data").clone();
    asked.as_object_mut().unwrap().remove("replayed");
    let asked = FeedKeysRequest::parse(asked.to_string().as_bytes()).unwrap();
    let document = sign(&app, &asked);
    let installed = once.post(INSTALL, json!({ "document": document })).await;
    let epoch = installed.expect(200).at("/data/epoch").clone();
    let size = app.head().size;
    let again = once.post(INSTALL, json!({ "document": document })).await;
    let again = again.expect(200);
    assert_eq!(again.at("/data/replayed"), true);
    assert_eq!((again.at("/data/epoch"), app.head().size), (&epoch, size));
    let other = once.post(INSTALL, json!({ "document": "other" })).await;
    other.refused(409, "idempotency_mismatch");
}
