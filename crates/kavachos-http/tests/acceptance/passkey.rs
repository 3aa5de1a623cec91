//! Passkeys over HTTP, with an authenticator that signs for real.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use kavachos_auth::passkey::Passkey;
use kavachos_test::{Reply, TestApp, TestSession};
use serde_json::{Value, json};

use crate::authenticator::{Authenticator, How, MAY_BE_COPIED, PRESENT, VERIFIED};

const ASK: &str = "/api/auth/passkey/authenticate/options";
pub(crate) const ANSWER: &str = "/api/auth/passkey/authenticate/verify";
const OFFER: &str = "/api/auth/passkey/register/options";
pub(crate) const KEEP: &str = "/api/auth/passkey/register/verify";
const LIST: &str = "/api/auth/passkey/credentials";

async fn started() -> TestApp {
    let setup = crate::setup().with(|builder| builder.plugin(Passkey::default()));
    setup.start().await
}

/// A human in a session.
pub(crate) async fn human(app: &TestApp) -> (String, TestSession) {
    let user = app.user().await;
    let session = app.session(&user).await;
    (user, session)
}

pub(crate) async fn offered(app: &TestApp, session: &TestSession) -> Value {
    let reply = app
        .call(&session.token)
        .post(OFFER, json!({}))
        .await
        .expect(200);
    reply.at("/data").clone()
}

pub(crate) async fn asked(app: &TestApp) -> Value {
    let reply = app.anonymous().post(ASK, json!({})).await.expect(200);
    reply.at("/data").clone()
}

async fn keep(app: &TestApp, session: &TestSession, made: Value) -> Reply {
    app.call(&session.token).post(KEEP, made).await
}

/// An authenticator whose credential is the human's.
pub(crate) async fn registered(app: &TestApp, session: &TestSession, seed: u8) -> Authenticator {
    registered_as(app, session, seed, &How::default()).await
}

async fn registered_as(app: &TestApp, session: &TestSession, seed: u8, how: &How) -> Authenticator {
    let mut authenticator = Authenticator::new(seed);
    let made = authenticator.make(&offered(app, session).await, how);
    keep(app, session, made).await.expect(201);
    authenticator
}

/// What comes of a use that is held so.
async fn used(app: &TestApp, authenticator: &mut Authenticator, how: &How) -> Reply {
    let answered = authenticator.answer(&asked(app).await, how);
    app.anonymous().post(ANSWER, answered).await
}

fn refused(reply: Reply) {
    reply.refused(401, "unauthenticated");
}

async fn accepted(app: &TestApp, authenticator: &mut Authenticator) -> Reply {
    used(app, authenticator, &How::default()).await.expect(200)
}

#[tokio::test]
async fn a_passkey_is_registered_and_signs_in_without_a_name() {
    let app = started().await;
    let (user, session) = human(&app).await;
    let options = offered(&app, &session).await;
    assert_eq!(options["rp"]["id"], "localhost");
    assert_eq!(options["attestation"], "none");
    let selection = &options["authenticatorSelection"];
    assert_eq!(selection["residentKey"], "required");
    assert_eq!(selection["userVerification"], "required");
    let mut authenticator = Authenticator::new(7);
    let mut made = authenticator.make(&options, &How::default());
    made["name"] = "Blue key".into();
    let kept = keep(&app, &session, made).await.expect(201);
    assert_eq!(kept.at("/data/name"), "Blue key");
    assert_eq!(kept.at("/data/synced"), false);
    let signed_in = accepted(&app, &mut authenticator).await;
    let token = signed_in.text_at("/data/token");
    let who = app.call(token).get("/api/auth/session").await.expect(200);
    assert!(who.text.contains(&user), "{who}");
    assert!(who.text.contains("passkey"), "{who}");
    let listed = app.call(token).get(LIST).await.expect(200);
    assert_eq!(listed.rows().len(), 1);
    assert!(!listed.at("/data/0/usedAt").is_null());
    for (kind, count) in [
        ("registered", 1),
        ("used", 1),
        ("asked", 2),
        ("answered", 2),
    ] {
        let records = app.audit(&format!("kind=passkey.{kind}")).await;
        assert_eq!(records.len(), count, "{kind}");
    }
}

#[tokio::test]
async fn an_assertion_is_worth_one_try() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let mut authenticator = registered(&app, &session, 7).await;
    let options = asked(&app).await;
    let answered = authenticator.answer(&options, &How::default());
    let first = app.anonymous().post(ANSWER, answered.clone()).await;
    first.expect(200);
    refused(app.anonymous().post(ANSWER, answered).await);
    // Another signature over the same challenge is no better.
    let again = authenticator.answer(&options, &How::default());
    refused(app.anonymous().post(ANSWER, again).await);
    // A try that proves nothing uses the challenge up as well.
    let options = asked(&app).await;
    let touched = How {
        flags: PRESENT,
        ..How::default()
    };
    let without = authenticator.answer(&options, &touched);
    refused(app.anonymous().post(ANSWER, without).await);
    let right = authenticator.answer(&options, &How::default());
    refused(app.anonymous().post(ANSWER, right).await);
    // The twin: a challenge of its own.
    accepted(&app, &mut authenticator).await;
}

#[tokio::test]
async fn a_challenge_is_for_one_ceremony_one_human_one_session_and_five_minutes() {
    let app = started().await;
    let (user, session) = human(&app).await;
    let (_, other) = human(&app).await;
    let second = app.session(&user).await;
    for wrong in [&other, &second] {
        let options = offered(&app, &session).await;
        let made = Authenticator::new(9).make(&options, &How::default());
        keep(&app, wrong, made.clone())
            .await
            .refused(409, "conflict");
        // And it is gone.
        keep(&app, &session, made).await.refused(409, "conflict");
    }
    let mut authenticator = registered(&app, &session, 7).await;
    // One of a registration signs nobody in, and the other way round.
    let options = offered(&app, &session).await;
    let crossed = authenticator.answer(&options, &How::default());
    refused(app.anonymous().post(ANSWER, crossed).await);
    let mut options = offered(&app, &session).await;
    options["challenge"] = asked(&app).await["challenge"].clone();
    let crossed = Authenticator::new(9).make(&options, &How::default());
    keep(&app, &session, crossed).await.refused(409, "conflict");
    // One that was asked for in a session is answered in it, by its human.
    let mine = app
        .call(&session.token)
        .post(ASK, json!({}))
        .await
        .expect(200);
    assert_eq!(mine.at("/data/allowCredentials/0/type"), "public-key");
    let answered = authenticator.answer(mine.at("/data"), &How::default());
    refused(app.anonymous().post(ANSWER, answered).await);
    let mine = app
        .call(&session.token)
        .post(ASK, json!({}))
        .await
        .expect(200);
    let answered = authenticator.answer(mine.at("/data"), &How::default());
    let stepped_up = app
        .call(&session.token)
        .post(ANSWER, answered)
        .await
        .expect(200);
    // A new token for a new proof: the old one is dead.
    app.call(&session.token)
        .get(LIST)
        .await
        .refused(401, "unauthenticated");
    app.call(stepped_up.text_at("/data/token"))
        .get(LIST)
        .await
        .expect(200);
    let options = asked(&app).await;
    app.advance(299);
    let answered = authenticator.answer(&options, &How::default());
    app.anonymous().post(ANSWER, answered).await.expect(200);
    let options = asked(&app).await;
    app.advance(300);
    let answered = authenticator.answer(&options, &How::default());
    refused(app.anonymous().post(ANSWER, answered).await);
}

#[tokio::test]
async fn ceremonies_elsewhere_in_frames_and_without_verification_prove_nothing() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let mut authenticator = registered(&app, &session, 7).await;
    let on = |origin| How {
        origin,
        ..How::default()
    };
    let said = |said: Value| How {
        said,
        ..How::default()
    };
    let wrong = [
        on("https://localhost:3000"),
        on("http://localhost"),
        on("http://localhost:3001"),
        on("http://127.0.0.1:3000"),
        on("http://evil.localhost:3000"),
        on("http://localhost:3000.evil.example"),
        on("https://evil.example"),
        on("null"),
        said(json!({ "crossOrigin": true })),
        said(json!({ "topOrigin": "https://evil.example" })),
        said(json!({ "type": "webauthn.create" })),
        How {
            site: "evil.example",
            ..How::default()
        },
        How {
            flags: PRESENT,
            ..How::default()
        },
        How {
            flags: VERIFIED,
            ..How::default()
        },
    ];
    for how in &wrong {
        refused(used(&app, &mut authenticator, how).await);
    }
    assert_eq!(app.audit("kind=passkey.refused").await.len(), wrong.len());
    // The twin, after all of them.
    accepted(&app, &mut authenticator).await;
    // The same of a credential that is made.
    for how in wrong.iter().filter(|how| how.said["type"].is_null()) {
        let made = Authenticator::new(9).make(&offered(&app, &session).await, how);
        keep(&app, &session, made).await.refused(403, "forbidden");
    }
    let denied = app.audit("kind=passkey.registered&outcome=denied").await;
    assert_eq!(denied.len(), wrong.len() - 1);
    registered(&app, &session, 9).await;
}

/// Web Authentication, 7.2, step 6.
#[tokio::test]
async fn where_nobody_was_named_the_authenticator_names_its_human() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let (other, _) = human(&app).await;
    let mut authenticator = registered(&app, &session, 7).await;
    let mut answer = |options: &Value, name: Value| {
        let mut answered = authenticator.answer(options, &How::default());
        answered["credential"]["response"]["userHandle"] = name;
        answered
    };
    for name in [Value::Null, URL_SAFE_NO_PAD.encode(other).into()] {
        let answered = answer(&asked(&app).await, name);
        refused(app.anonymous().post(ANSWER, answered).await);
    }
    // The twin: in a session it is known whose passkeys were offered.
    let call = app.call(&session.token);
    let mine = call.post(ASK, json!({})).await.expect(200);
    let answered = answer(mine.at("/data"), Value::Null);
    call.post(ANSWER, answered).await.expect(200);
    accepted(&app, &mut authenticator).await;
}

#[tokio::test]
async fn a_copied_device_is_refused_on_record_unless_its_keys_may_be_copied() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let mut device = registered(&app, &session, 7).await;
    let mut copy = device.clone();
    accepted(&app, &mut device).await;
    accepted(&app, &mut device).await;
    // It counts on from where it was copied.
    refused(used(&app, &mut copy, &How::default()).await);
    let records = app.audit("kind=passkey.copied").await;
    assert_eq!(
        (records.len(), &records[0]["outcome"]),
        (1, &json!("denied"))
    );
    accepted(&app, &mut device).await;
    // The twin: a key that lives on several devices.
    let synced = How {
        flags: PRESENT | VERIFIED | MAY_BE_COPIED,
        ..How::default()
    };
    let mut device = registered_as(&app, &session, 8, &synced).await;
    let mut copy = device.clone();
    for _ in 0..2 {
        used(&app, &mut device, &synced).await.expect(200);
    }
    used(&app, &mut copy, &synced).await.expect(200);
    assert_eq!(app.audit("kind=passkey.copied").await.len(), 1);
    // Whether it may be copied never changes.
    refused(used(&app, &mut device, &How::default()).await);
}

#[tokio::test]
async fn unknown_and_removed_passkeys_and_stopped_humans_are_refused() {
    let app = started().await;
    let (user, session) = human(&app).await;
    let mut unknown = Authenticator::new(11);
    let unknown_text = used(&app, &mut unknown, &How::default()).await;
    let mut removed = registered(&app, &session, 7).await;
    app.advance(1);
    let mut kept = registered(&app, &session, 8).await;
    let call = app.call(&session.token);
    let listed = call.get(LIST).await.expect(200);
    assert_eq!(listed.rows().len(), 2);
    let first = format!("{LIST}/{}", listed.text_at("/data/0/id"));
    let left = call.delete(&first).await.expect(200);
    assert_eq!(left.at("/data/left"), 1);
    call.delete(&first).await.refused(404, "not_found");
    let removed_text = used(&app, &mut removed, &How::default()).await;
    // Known, unknown, or wrong: one text for all.
    assert_eq!(unknown_text.message(), removed_text.message());
    refused(unknown_text);
    refused(removed_text);
    accepted(&app, &mut kept).await;
    let user = format!("/api/v1/users/{user}");
    app.operator()
        .post(&format!("{user}/ban"), json!({}))
        .await
        .expect(200);
    used(&app, &mut kept, &How::default())
        .await
        .refused(403, "forbidden");
    app.operator()
        .post(&format!("{user}/unban"), json!({}))
        .await
        .expect(200);
    accepted(&app, &mut kept).await;
    app.operator().delete(&user).await.expect(200);
    let deleted = used(&app, &mut kept, &How::default()).await;
    assert!([401, 403].contains(&deleted.status), "{deleted}");
}

#[tokio::test]
async fn passkeys_are_changed_by_their_human_in_a_fresh_session_alone() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let (_, stranger) = human(&app).await;
    registered(&app, &session, 7).await;
    let call = app.call(&session.token);
    let id = call
        .get(LIST)
        .await
        .expect(200)
        .text_at("/data/0/id")
        .to_owned();
    let path = format!("{LIST}/{id}");
    let other = app.call(&stranger.token);
    assert!(other.get(LIST).await.expect(200).rows().is_empty());
    other.delete(&path).await.refused(404, "not_found");
    let name = json!({ "name": "Mine" });
    other
        .patch(&path, name.clone())
        .await
        .refused(404, "not_found");
    assert_eq!(
        call.patch(&path, name).await.expect(200).at("/data/name"),
        "Mine"
    );
    call.patch(&path, json!({ "name": "a\nb" }))
        .await
        .refused(400, "malformed_request");
    // An old session finds them, and neither adds nor removes one.
    app.advance(600);
    call.get(LIST).await.expect(200);
    call.post(OFFER, json!({})).await.refused(403, "forbidden");
    call.delete(&path).await.refused(403, "forbidden");
    // Nobody without a session does.
    app.anonymous()
        .post(OFFER, json!({}))
        .await
        .refused(401, "unauthenticated");
    app.operator()
        .post(OFFER, json!({}))
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn a_passkey_is_registered_once_and_twenty_are_enough() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let (_, other) = human(&app).await;
    let mut first = registered(&app, &session, 1).await;
    for whose in [&session, &other] {
        let options = offered(&app, whose).await;
        let excluded = options["excludeCredentials"].as_array().unwrap().len();
        assert_eq!(excluded, usize::from(whose.id == session.id));
        let mut again = first.clone();
        let made = again.make(&options, &How::default());
        keep(&app, whose, made).await.refused(409, "conflict");
    }
    for seed in 2..=20 {
        registered(&app, &session, seed).await;
    }
    let options = offered(&app, &session).await;
    let made = Authenticator::new(21).make(&options, &How::default());
    keep(&app, &session, made).await.refused(409, "conflict");
    accepted(&app, &mut first).await;
    registered(&app, &other, 21).await;
}

/// What no authenticator writes.
const UNREADABLE: [&str; 9] = [
    "",
    "AA",
    "oA",
    "//",
    "é",
    "o2NmbXRkbm9uZQ",
    "e30",
    "_____w",
    "gYGBgYGBgQ",
];

#[tokio::test]
async fn what_cannot_be_read_does_not_tell_which_passkeys_there_are() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let mut known = registered(&app, &session, 7).await;
    let mut unknown = Authenticator::new(11);
    for member in [
        "clientDataJSON",
        "authenticatorData",
        "signature",
        "userHandle",
    ] {
        for text in UNREADABLE {
            let mut told = Vec::new();
            for device in [&mut known, &mut unknown] {
                let mut answered = device.answer(&asked(&app).await, &How::default());
                answered["credential"]["response"][member] = text.into();
                let reply = app.anonymous().post(ANSWER, answered).await;
                assert!(
                    [400, 401].contains(&reply.status),
                    "{member} {text}: {reply}"
                );
                told.push((reply.status, reply.message().to_owned()));
            }
            assert_eq!(told[0], told[1], "{member} {text}");
        }
    }
    accepted(&app, &mut known).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_the_clients_to_mend() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let mut authenticator = registered(&app, &session, 7).await;
    for member in ["clientDataJSON", "attestationObject"] {
        for text in UNREADABLE {
            let mut made =
                Authenticator::new(9).make(&offered(&app, &session).await, &How::default());
            made["credential"]["response"][member] = text.into();
            let reply = keep(&app, &session, made).await;
            reply.refused(400, "malformed_request");
        }
    }
    for body in [
        json!({}),
        json!({ "credential": null }),
        json!({ "credential": {} }),
        json!({ "credential": { "rawId": "AA", "type": "public-key", "response": [] } }),
        json!({ "credential": { "rawId": "AA", "type": "password", "response": {} }, "user": "user_x" }),
    ] {
        app.anonymous()
            .post(ANSWER, body.clone())
            .await
            .refused(400, "malformed_request");
        keep(&app, &session, body)
            .await
            .refused(400, "malformed_request");
    }
    let deep = "[".repeat(10_000).into_bytes();
    let reply = app.anonymous().send(Method::POST, ANSWER, Some(deep)).await;
    assert_eq!(reply.status, 400, "{reply}");
    // Over-posted members are refused, not passed over.
    let mut answered = authenticator.answer(&asked(&app).await, &How::default());
    answered["userId"] = "user_01h455vb4pex5vsknk084sn02q".into();
    app.anonymous()
        .post(ANSWER, answered)
        .await
        .refused(400, "malformed_request");
    accepted(&app, &mut authenticator).await;
}

#[tokio::test]
async fn a_repeated_request_is_no_second_try() {
    let app = started().await;
    let (_, session) = human(&app).await;
    let mut authenticator = registered(&app, &session, 7).await;
    let call = app.call(&session.token).header("idempotency-key", "once");
    let options = call.post(OFFER, json!({})).await.expect(200);
    // Its challenge was shown then.
    call.post(OFFER, json!({})).await.refused(409, "conflict");
    let made = Authenticator::new(9).make(options.at("/data"), &How::default());
    let answered = authenticator.answer(&asked(&app).await, &How::default());
    for (path, body) in [(KEEP, made.clone()), (ANSWER, answered.clone())] {
        let reply = call.post(path, body).await;
        let reply = reply.refused(400, "malformed_request");
        assert_eq!(reply.field(), "Idempotency-Key");
    }
    // Refused before the challenge was looked at. The twin: without the header.
    keep(&app, &session, made).await.expect(201);
    app.anonymous().post(ANSWER, answered).await.expect(200);
}

#[tokio::test]
async fn options_tell_a_stranger_nothing_of_accounts() {
    let app = started().await;
    let before = asked(&app).await;
    let (_, session) = human(&app).await;
    registered(&app, &session, 7).await;
    let after = asked(&app).await;
    for options in [&before, &after] {
        assert_eq!(options["allowCredentials"], json!([]));
    }
    let members = |options: &Value| {
        options
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(members(&before), members(&after));
    assert_ne!(before["challenge"], after["challenge"]);
    // Nobody can be named.
    let named = json!({ "email": "ada@example.com" });
    app.anonymous()
        .post(ASK, named)
        .await
        .refused(400, "malformed_request");
}

#[tokio::test]
async fn a_server_that_is_known_by_a_number_has_no_passkeys() {
    let setup = crate::setup().with(|builder| {
        let builder = builder.public_url("http://127.0.0.1:3000");
        builder.plugin(Passkey::default())
    });
    let app = setup.start().await;
    let reply = app.anonymous().post(ASK, json!({})).await;
    let reply = reply.refused(409, "conflict");
    assert!(reply.message().contains("localhost"), "{reply}");
}

/// Whoever acts in a human's name is told what a stranger is, and so is whoever has a token of their provider.
#[tokio::test]
async fn an_impersonator_is_not_told_of_the_passkeys() {
    let app = started().await;
    let (user, session) = human(&app).await;
    registered(&app, &session, 7).await;
    let path = format!("/api/v1/users/{user}/impersonate");
    let reason = json!({ "reason": "support" });
    let opened = app.operator().post(&path, reason).await.expect(201);
    let impersonator = opened.text_at("/data/token");
    for (token, known) in [(impersonator, 0), (session.token.as_str(), 1)] {
        let options = app.call(token).post(ASK, json!({})).await.expect(200);
        let told = options.at("/data/allowCredentials").as_array().unwrap();
        assert_eq!(told.len(), known);
    }
}
