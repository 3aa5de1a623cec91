//! A second factor that is demanded: with one factor a human gets a session that does nothing but lead to the second one.
//! Each refusal stands beside the same call where the factor is only offered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use kavachos_auth::anonymous::Anonymous;
use kavachos_auth::email_password::Verification;
use kavachos_auth::passkey::Passkey;
use kavachos_auth::password::{Choosing, ConfirmByPassword};
use kavachos_auth::session_freshness::{Confirm, SessionFreshness};
use kavachos_auth::totp::Totp;
use kavachos_engine::SecondFactor;
use kavachos_test::kavachos::Settings;
use kavachos_test::{Reply, Setup, TestApp, TestSession, may};
use serde_json::{Value, json};

use crate::authenticator::How;
use crate::browser::Browser;
use crate::passkey::{ANSWER, asked, offered, registered};
use crate::roles::Human;
use crate::totp::{CONFIRM, DISABLE, Door, ENABLE, SETUP, code, door};

const CODE: &str = "second_factor_required";
const SESSION: &str = "/api/auth/session";
const AGENTS: &str = "/api/v1/agents";
const OFFER: &str = "/api/auth/passkey/register/options";
const PASSKEYS: &str = "/api/auth/passkey/credentials";

/// What whoever owes a second factor may call.
const OPEN: [(&str, &str); 10] = [
    ("get", SESSION),
    ("post", "/api/auth/sign-out"),
    ("get", "/api/auth/totp"),
    ("post", SETUP),
    ("post", ENABLE),
    ("post", CONFIRM),
    ("post", OFFER),
    ("post", "/api/auth/passkey/register/verify"),
    ("get", PASSKEYS),
    ("get", "/api/auth/freshness"),
];
/// The same, which ends with what it is sent.
const CONFIRMS: (&str, &str) = ("post", "/api/auth/re-authenticate");

fn with_methods(setup: Setup) -> Setup {
    setup.with(|builder| {
        let choosing = Arc::new(Choosing::development());
        let ways: [Arc<dyn Confirm>; 1] = [Arc::new(ConfirmByPassword(Arc::clone(&choosing)))];
        builder
            .plugin(Totp::default())
            .plugin(Passkey::default())
            .plugin(SessionFreshness::new(ways))
            .plugin(Anonymous::new(choosing, Verification::Later))
            .plugin(Door)
    })
}

async fn start(demanded: SecondFactor) -> TestApp {
    let setup = crate::setup().settings(|settings| settings.second_factor = demanded);
    with_methods(setup).start().await
}

/// A session by one factor.
async fn one_factor(app: &TestApp, user: &str) -> TestSession {
    let reply = door(app, user).await;
    TestSession {
        token: reply.text_at("/data/token").to_owned(),
        id: String::new(),
    }
}

/// Sets an app up and turns it on: its secret, and the session that comes of it.
async fn with_app(app: &TestApp, session: &TestSession) -> (String, String) {
    let call = app.call(&session.token);
    let begun = call.post(SETUP, json!({})).await.expect(201);
    let secret = begun.text_at("/data/secret").to_owned();
    let shown = json!({ "code": code(app, &secret, 0) });
    let enabled = call.post(ENABLE, shown).await.expect(200);
    (secret, enabled.text_at("/data/token").to_owned())
}

/// Whether the session can do what is its human's.
async fn is_whole(app: &TestApp, token: &str) -> bool {
    let call = app.call(token);
    let own = call.get(SESSION).await.expect(200);
    let owes = own.at("/data/owesSecondFactor").as_bool().expect("a flag");
    let reply = call.get(AGENTS).await;
    match owes {
        true => drop(reply.refused(403, CODE)),
        false => drop(reply.expect(200)),
    }
    !owes
}

#[tokio::test]
async fn with_one_factor_nothing_is_done_until_there_are_two() {
    for (demanded, whole) in [
        (SecondFactor::Offered, true),
        (SecondFactor::Admins, true),
        (SecondFactor::Everyone, false),
    ] {
        let app = start(demanded).await;
        let session = one_factor(&app, &app.user().await).await;
        assert_eq!(is_whole(&app, &session.token).await, whole, "{demanded:?}");
        let (_, token) = with_app(&app, &session).await;
        assert!(is_whole(&app, &token).await, "{demanded:?}");
    }
}

#[tokio::test]
async fn it_is_demanded_of_admins_and_owners_alone_where_the_setting_says_so() {
    let app = start(SecondFactor::Admins).await;
    for (role, whole) in [("member", true), ("admin", false), ("owner", false)] {
        let id = Human::with_role(&app, role).await.id;
        let session = one_factor(&app, &id).await;
        assert_eq!(is_whole(&app, &session.token).await, whole, "{role}");
    }
    // Whoever becomes one owes it from then on.
    let member = Human::with_role(&app, "member").await.id;
    let role = format!("/api/v1/users/{member}/role");
    let body = json!({ "role": "admin" });
    app.operator().post(&role, body).await.expect(200);
    let session = one_factor(&app, &member).await;
    assert!(!is_whole(&app, &session.token).await);
}

/// A path of the document with an id in the place of each name.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => "x",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Every operation that takes a session, or says that it takes any credential; those of proxies take none of ours.
fn operations(document: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let security = operation["security"].as_array();
            let of_proxies = |one: &Value| one.get("proxyKey").is_some();
            let known = security.is_some_and(|all| !all.is_empty() && !all.iter().any(of_proxies));
            if known {
                all.push((method.clone(), path.clone()));
            }
        }
    }
    all
}

async fn called(app: &TestApp, token: &str, (method, path): &(String, String)) -> Reply {
    let method: Method = method.to_ascii_uppercase().parse().expect("a method");
    let body = (method != Method::GET).then(|| b"{}".to_vec());
    app.call(token).send(method, &filled(path), body).await
}

fn says_so(reply: &Reply) -> bool {
    // AuthZEN has no codes.
    reply.status == 403
        && (reply.text.contains(CODE) || reply.text.starts_with("a second factor is demanded"))
}

#[tokio::test]
async fn every_route_is_closed_but_those_that_lead_to_a_second_factor() {
    for demanded in [SecondFactor::Everyone, SecondFactor::Offered] {
        let app = start(demanded).await;
        let document = app.anonymous().get("/openapi.json").await.expect(200);
        let document: Value = serde_json::from_str(&document.text).expect("JSON");
        let mut open = BTreeSet::new();
        let operations = operations(&document);
        assert!(operations.len() > 80, "{}", operations.len());
        for operation in operations {
            // One of the calls deletes who makes it.
            let session = one_factor(&app, &app.user().await).await;
            let reply = called(&app, &session.token, &operation).await;
            if !says_so(&reply) {
                open.insert(operation.clone());
            }
            let (method, path) = (operation.0.as_str(), operation.1.as_str());
            let leads = OPEN.contains(&(method, path)) || CONFIRMS == (method, path);
            let closed = demanded == SecondFactor::Everyone && !leads;
            assert_eq!(says_so(&reply), closed, "{operation:?}: {reply}");
        }
        assert!(open.len() > OPEN.len(), "each of them was called");
    }
}

#[tokio::test]
async fn a_passkey_is_used_once_before_the_session_is_whole() {
    let app = start(SecondFactor::Everyone).await;
    let user = app.user().await;
    let session = one_factor(&app, &user).await;
    let mut authenticator = registered(&app, &session, 7).await;
    assert!(!is_whole(&app, &session.token).await);
    let answered = authenticator.answer(&asked(&app).await, &How::default());
    let used = app.call(&session.token).post(ANSWER, answered).await;
    let used = used.expect(200);
    assert!(is_whole(&app, used.text_at("/data/token")).await);
    // The session of before ended with it.
    let ended = app.call(&session.token).get(SESSION).await;
    ended.refused(401, "unauthenticated");
    // One factor adds no other to it.
    let session = one_factor(&app, &user).await;
    let call = app.call(&session.token);
    for path in [SETUP, OFFER] {
        call.post(path, json!({})).await.refused(403, CODE);
    }
    // The twin: somebody who has none.
    let other = one_factor(&app, &app.user().await).await;
    offered(&app, &other).await;
}

#[tokio::test]
async fn sessions_of_before_are_judged_too_and_a_code_settles_them() {
    let on = Arc::new(AtomicBool::new(false));
    let demands = Arc::clone(&on);
    let setup = with_methods(crate::setup().lasting()).with(move |builder| {
        let mut settings = Settings::default();
        if demands.load(Ordering::Relaxed) {
            settings.second_factor = SecondFactor::Everyone;
        }
        builder.settings(settings)
    });
    let mut app = setup.start().await;
    let user = app.user().await;
    let first = one_factor(&app, &user).await;
    let human = app.user().await;
    let (secret, armed) = with_app(&app, &one_factor(&app, &human).await).await;
    // Nobody proved anything in it but an operator.
    let opened = app.session(&human).await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    for token in [&first.token, &armed, &opened.token] {
        assert!(is_whole(&app, token).await);
    }
    on.store(true, Ordering::Relaxed);
    app.restart().await;
    assert!(!is_whole(&app, &first.token).await);
    assert!(!is_whole(&app, &opened.token).await);
    assert!(is_whole(&app, &armed).await);
    let shown = json!({ "code": code(&app, &secret, 1) });
    let settled = app.call(&opened.token).post(CONFIRM, shown).await;
    let settled = settled.expect(200);
    assert!(is_whole(&app, settled.text_at("/data/token")).await);
    // What a human made before goes on: it is bound by its grants.
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
}

#[tokio::test]
async fn the_last_factor_stays_where_one_is_demanded() {
    for (demanded, stays) in [
        (SecondFactor::Everyone, true),
        (SecondFactor::Offered, false),
    ] {
        let app = start(demanded).await;
        let session = one_factor(&app, &app.user().await).await;
        let (secret, token) = with_app(&app, &session).await;
        let shown = json!({ "code": code(&app, &secret, 1) });
        let reply = app.call(&token).post(DISABLE, shown.clone()).await;
        match stays {
            true => drop(reply.refused(409, "conflict")),
            false => drop(reply.expect(204)),
        }
        if !stays {
            continue;
        }
        // With another one it goes, and then that one stays.
        let session = TestSession {
            token: token.clone(),
            id: String::new(),
        };
        registered(&app, &session, 7).await;
        app.call(&token).post(DISABLE, shown).await.expect(204);
        let kept = app.call(&token).get(PASSKEYS).await.expect(200);
        let one = format!("{PASSKEYS}/{}", kept.text_at("/data/0/id"));
        let removed = app.call(&token).delete(&one).await;
        removed.refused(409, "conflict");
        assert!(is_whole(&app, &token).await);
    }
}

#[tokio::test]
async fn who_acts_in_anothers_name_owes_what_is_demanded_of_themselves() {
    let app = start(SecondFactor::Admins).await;
    let ada = app.user().await;
    let path = format!("/api/v1/users/{ada}/impersonate");
    let body = json!({ "reason": "a ticket" });
    let admin = Human::with_role(&app, "admin").await.id;
    let session = one_factor(&app, &admin).await;
    let refused = app.call(&session.token).post(&path, body.clone()).await;
    refused.refused(403, CODE);
    let (_, token) = with_app(&app, &session).await;
    let opened = app.call(&token).post(&path, body.clone()).await.expect(201);
    assert!(is_whole(&app, opened.text_at("/data/token")).await);
    // A key is no human.
    let opened = app.operator().post(&path, body).await.expect(201);
    assert!(is_whole(&app, opened.text_at("/data/token")).await);
}

#[tokio::test]
async fn guests_are_not_let_in_where_everyone_has_two_factors() {
    for (demanded, refused) in [
        (SecondFactor::Everyone, true),
        (SecondFactor::Admins, false),
    ] {
        let app = start(demanded).await;
        let came = app.anonymous().post("/api/auth/anonymous", json!({})).await;
        match refused {
            true => drop(came.refused(403, CODE)),
            false => assert!(is_whole(&app, came.expect(200).text_at("/data/token")).await),
        }
    }
}

#[tokio::test]
async fn a_session_that_owes_a_factor_gets_no_token() {
    for (demanded, refused) in [
        (SecondFactor::Everyone, true),
        (SecondFactor::Offered, false),
    ] {
        let app = start(demanded).await;
        crate::tokens::register(&app, json!({})).await;
        let session = one_factor(&app, &app.user().await).await;
        let ask = crate::exchange::Ask::of(crate::exchange::SESSION, &session.token);
        let reply = ask.send(&app).await;
        let says = reply.text.contains("a second factor is demanded of you");
        assert_eq!(says, refused, "{reply}");
    }
}

#[tokio::test]
async fn pages_lead_to_the_one_where_a_factor_is_set_up() {
    const HOME: &str = "/account/security";
    let app = start(SecondFactor::Everyone).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let session = one_factor(&app, &user).await;
    let browser = Browser::of(&app, &session.token);
    let own = format!("/account/agents/{}", agent.id);
    for path in [
        "/account",
        "/account/agents",
        &own,
        "/account/connections",
        "/account/approvals",
        "/account/activity",
        "/account/sessions",
    ] {
        let led = browser.open(path).await.expect(303);
        assert_eq!(led.header("location"), HOME, "{path}");
    }
    let page = browser.open(HOME).await.expect(200);
    assert!(
        page.text.contains("your account needs a second factor"),
        "{page}"
    );
    assert!(!page.text.contains("/account/agents"), "{page}");
    let mark = crate::browser::mark(&page);
    // Nor is anything done there but that.
    for path in [
        &format!("{own}/stop"),
        "/account/sessions/others",
        "/account/security/password",
    ] {
        let led = browser.send_with(&mark, path, &[]).await.expect(303);
        assert_eq!(led.header("location"), HOME, "{path}");
    }
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    let begun = browser.send(HOME, "/account/security/totp", &[]).await;
    let begun = begun.expect(200);
    let (_, secret) = begun.text.split_once("secret=").expect("a secret");
    let secret: String = secret
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let code = code(&app, &secret, 0);
    let enable = "/account/security/totp/enable";
    let fields = [("code", code.as_str()), ("secret", &secret)];
    let done = browser.send(HOME, enable, &fields).await.expect(200);
    let cookie = done.header("set-cookie").to_owned();
    let (_, token) = cookie
        .split_once("__Host-kavach_session=")
        .expect("a session");
    let token = token.split(';').next().expect("a token");
    let browser = Browser::of(&app, token);
    browser.open("/account").await.expect(200);
    let page = browser.open(HOME).await.expect(200);
    assert!(!page.text.contains("needs a second factor"), "{page}");
}

#[tokio::test]
async fn a_page_asks_for_the_factor_that_is_there_and_lets_everyone_leave() {
    let app = start(SecondFactor::Everyone).await;
    let user = app.user().await;
    let (secret, _) = with_app(&app, &one_factor(&app, &user).await).await;
    let opened = app.session(&user).await;
    let browser = Browser::of(&app, &opened.token);
    let page = browser.open("/account/security").await.expect(200);
    assert!(page.text.contains("/re-authenticate?with=totp"), "{page}");
    assert!(
        !page.text.contains("action=\"/account/security/totp\""),
        "{page}"
    );
    let again = "/re-authenticate?with=totp&return_to=/account";
    let fields = [
        ("code", &*code(&app, &secret, 1)),
        ("with", "totp"),
        ("return_to", "/account"),
    ];
    let shown = browser.send(again, "/re-authenticate", &fields).await;
    assert_eq!(shown.expect(303).header("location"), "/account");
    // From there a browser may go on to another site, to which the policy of this form says nothing.
    app.advance(60);
    let opened = app.session(&user).await;
    let browser = Browser::of(&app, &opened.token);
    let fields = [
        ("code", &*code(&app, &secret, 1)),
        ("with", "totp"),
        ("return_to", "/consent?request=x"),
    ];
    let onward = browser.send(again, "/re-authenticate", &fields).await;
    let onward = onward.expect(200);
    assert_eq!(onward.header("refresh"), "0; url=/consent?request=x");
    assert!(
        onward.text.contains("href=\"/consent?request=x\""),
        "{onward}"
    );
    let opened = app.session(&user).await;
    let browser = Browser::of(&app, &opened.token);
    let left = browser
        .send("/account/security", "/account/sign-out", &[])
        .await;
    assert!(left.expect(303).header("location").starts_with("/sign-in"));
    app.call(&opened.token)
        .get(SESSION)
        .await
        .refused(401, "unauthenticated");
}
