//! `/api/auth`: what a human may know and end of their own sessions, and nobody else of anybody's.

use kavachos_test::TestApp;
use serde_json::json;

const SESSION: &str = "/api/auth/session";
const SESSIONS: &str = "/api/auth/sessions";
const SIGN_OUT: &str = "/api/auth/sign-out";

#[tokio::test]
async fn a_human_sees_their_sessions_and_ends_one_and_then_their_own() {
    let app = crate::start().await;
    let user = app.user().await;
    let one = app.session(&user).await;
    app.advance(1);
    let two = app.session(&user).await;
    let list = app.call(&two.token).get(SESSIONS).await.expect(200);
    let ids: Vec<_> = list.rows().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [json!(two.id), json!(one.id)]);
    let path = format!("{SESSIONS}/{}", one.id);
    app.call(&two.token).delete(&path).await.expect(200);
    let dead = app.call(&one.token).get(SESSION).await;
    dead.refused(401, "unauthenticated");
    app.call(&two.token).get(SESSION).await.expect(200);
    app.call(&two.token)
        .post(SIGN_OUT, json!({}))
        .await
        .expect(200);
    for path in [SESSION, SESSIONS] {
        let dead = app.call(&two.token).get(path).await;
        dead.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_link_that_was_never_mailed_takes_no_account_back() {
    let app = crate::start().await;
    let session = app.session(&app.user().await).await;
    let links = ["/api/auth/not-me", "/api/auth/restore-email"];
    for (body, status) in [
        (json!({ "token": "A".repeat(43) }), 401),
        (json!({ "token": "" }), 401),
        (json!({}), 400),
        (json!({ "token": 1 }), 400),
    ] {
        for link in links {
            let reply = app.anonymous().post(link, body.clone()).await;
            reply.expect(status);
        }
    }
    app.call(&session.token).get(SESSION).await.expect(200);
}

/// Lessons C 1, 26: an id that somebody knows gives nothing.
#[tokio::test]
async fn anothers_session_is_as_if_it_were_not_there() {
    let app = crate::start().await;
    let ada = app.session(&app.user().await).await;
    let bob = app.session(&app.user().await).await;
    let path = format!("{SESSIONS}/{}", ada.id);
    let missing = app.call(&bob.token).delete(&path).await;
    missing.refused(404, "not_found");
    let unknown = format!("{SESSIONS}/session_00000000000000000000000000");
    let unknown = app.call(&bob.token).delete(&unknown).await;
    unknown.refused(404, "not_found");
    // The twin: Ada ends it herself.
    app.call(&ada.token).delete(&path).await.expect(200);
}

#[tokio::test]
async fn who_has_no_session_has_none_to_see_and_what_is_wrong_is_named() {
    let app = crate::start().await;
    let human = app.session(&app.user().await).await;
    let path = format!("{SESSIONS}/{}", human.id);
    refused_everywhere(&app, &path).await;
    let human = app.call(&human.token);
    for odd in [
        human.get("/api/auth/session?all=1").await,
        human.get("/api/auth/sessions?limit=0").await,
        human.delete("/api/auth/sessions/session_1").await,
        human.post(SIGN_OUT, json!({ "everywhere": true })).await,
    ] {
        odd.refused(400, "malformed_request");
    }
}

async fn refused_everywhere(app: &TestApp, session: &str) {
    let strangers = app.anonymous();
    let operator = app.operator();
    for path in [SESSION, SESSIONS] {
        strangers.get(path).await.refused(401, "unauthenticated");
        operator.get(path).await.refused(403, "forbidden");
    }
    let stranger = strangers.post(SIGN_OUT, json!({})).await;
    stranger.refused(401, "unauthenticated");
    operator
        .post(SIGN_OUT, json!({}))
        .await
        .refused(403, "forbidden");
    strangers
        .delete(session)
        .await
        .refused(401, "unauthenticated");
    operator.delete(session).await.refused(403, "forbidden");
}
