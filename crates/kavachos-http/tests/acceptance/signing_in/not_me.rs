//! A sign-in from where its human never signed in is told to them, and undone by whoever reads their mail.

use futures_util::future::join_all;
use kavachos_auth::email_password::Verification;
use kavachos_auth::passkey::Passkey;
use kavachos_test::{Client, Reply, TestSession, may};
use serde_json::json;

use super::scene::{ADA, Browser, OTHER, PASSWORD, Scene, token_of};
use crate::authenticator::How;
use crate::browser::{hidden, mark};
use crate::exchange::TOKEN;
use crate::oauth_clients::{AUTHORIZE, REDIRECT, brought, client, query};
use crate::passkey;
use crate::tokens::{judged, register};

pub(super) const NOT_ME: &str = "/api/auth/not-me";
const SESSION: &str = "/api/auth/session";
/// What the challenge of a request was made of.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const AGENTS: &str = "/api/v1/agents";

/// An agent that whoever has this session makes for its human.
pub(super) async fn agent(scene: &Scene, session: &str, user: &str) -> (String, String) {
    let body = json!({
        "ownerId": user, "name": "mine", "type": "autonomous", "permissions": may(&["read"], "mcp:*"),
    });
    let made = scene.app.call(session).post(AGENTS, body).await;
    let made = made.expect(201);
    (made.id().to_owned(), made.text_at("/data/token").to_owned())
}

pub(super) async fn user_of(scene: &Scene, session: &str) -> String {
    let own = scene.app.call(session).get(SESSION).await.expect(200);
    own.text_at("/data/user/id").to_owned()
}

pub(super) async fn status(scene: &Scene, agent: &str) -> String {
    let path = format!("{AGENTS}/{agent}");
    let shown = scene.app.operator().get(&path).await.expect(200);
    shown.text_at("/data/status").to_owned()
}

/// Somebody who knows the password signs in, in a browser of their own.
pub(super) async fn intruder(scene: &Scene) -> String {
    let body = json!({ "email": ADA, "password": PASSWORD });
    let mut browser = scene.browser();
    let reply = browser.post("/api/auth/sign-in/email", body).await;
    token_of(&reply.expect(200))
}

async fn sign_in_keeping(browser: &mut Browser<'_>) {
    let body = json!({ "email": ADA, "password": PASSWORD });
    let reply = browser.post_for_cookie("/api/auth/sign-in/email", body);
    reply.await.expect(200);
}

#[tokio::test]
async fn a_sign_in_elsewhere_is_told_with_when_where_and_with_what_and_no_token() {
    let scene = Scene::start().await;
    scene.ada().await;
    assert_eq!(scene.notices(), 0, "a sign-up is no news");
    let stranger = scene.app.anonymous().header("user-agent", "Curl/8.5 (X11)");
    let body = json!({ "email": ADA, "password": PASSWORD });
    let opened = stranger.post("/api/auth/sign-in/email", body).await;
    let token = token_of(&opened.expect(200));
    let told = scene.next_notice().await;
    for part in ["Curl/8.5 (X11)", "127.0.0.1", "UTC", "/not-me?token="] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(
        !told.contains(&token) && !told.contains("kv_sess_"),
        "{told}"
    );
    // Whoever failed is nobody to be told of.
    let wrong = scene.sign_in(ADA, OTHER).await;
    wrong.refused(401, "unauthenticated");
    assert_eq!(scene.notices(), 1);
}

#[tokio::test]
async fn a_browser_that_is_known_is_no_news_and_neither_is_a_session_that_goes_on() {
    let scene = Scene::start().await;
    let mut token = scene.ada().await;
    let mut browser = scene.browser();
    sign_in_keeping(&mut browser).await;
    scene.next_notice().await;
    for _ in 0..3 {
        sign_in_keeping(&mut browser).await;
    }
    for _ in 0..3 {
        let again = json!({ "method": "password", "password": PASSWORD });
        let caller = scene.app.call(&token);
        let again = caller.post("/api/auth/re-authenticate", again).await;
        token = token_of(&again.expect(200));
    }
    // The twin, which comes last: another browser.
    scene.sign_in(ADA, PASSWORD).await.expect(200);
    scene.next_notice().await;
    assert_eq!(scene.notices(), 2);
}

#[tokio::test]
async fn nobody_is_told_at_an_address_that_is_not_known_to_be_theirs() {
    let scene = Scene::of(crate::setup(), Verification::Later).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    scene
        .post("/api/auth/sign-up/email", body)
        .await
        .expect(200);
    scene.sign_in(ADA, PASSWORD).await.expect(200);
    // Whatever comes after shows that nothing came before.
    let asked = json!({ "email": ADA });
    scene
        .post("/api/auth/magic-link/send", asked)
        .await
        .expect(200);
    scene.next_mail().await;
    assert_eq!(scene.notices(), 0);
}

#[tokio::test]
async fn an_hour_has_five_such_mails_and_a_sign_in_works_without_one() {
    let scene = Scene::start().await;
    scene.ada().await;
    // Others that somebody asks for take none of these.
    for _ in 0..4 {
        let asked = json!({ "email": ADA });
        scene
            .post("/api/auth/magic-link/send", asked)
            .await
            .expect(200);
    }
    for _ in 0..7 {
        scene.sign_in(ADA, PASSWORD).await.expect(200);
    }
    for _ in 0..5 {
        scene.next_notice().await;
    }
    scene.app.advance(3_601);
    scene.sign_in(ADA, PASSWORD).await.expect(200);
    scene.next_notice().await;
    assert_eq!(scene.notices(), 6);
}

#[tokio::test]
async fn not_me_ends_what_was_open_and_made_and_asks_for_a_new_password() {
    let scene = Scene::start().await;
    let own = scene.ada().await;
    let user = user_of(&scene, &own).await;
    let operators = scene.app.agent(&user, may(&["read"], "mcp:*")).await;
    let theirs = intruder(&scene).await;
    let link = token_in(&scene.next_notice().await);
    let (agent, key) = agent(&scene, &theirs, &user).await;
    let permitted = scene.app.decide(&agent, "read", "mcp:a").await;
    permitted.decided("allowed");
    let path = format!("/not-me?token={link}");
    // Machines open links: nothing comes of it.
    for _ in 0..2 {
        scene.app.anonymous().get(&path).await;
        scene.app.call(&theirs).get(SESSION).await.expect(200);
    }
    let reply = scene.post(NOT_ME, json!({ "token": link })).await;
    assert_eq!(reply.expect(200).at("/data/state"), "closed");
    for dead in [&own, &theirs] {
        let reply = scene.app.call(dead).get(SESSION).await;
        reply.refused(401, "unauthenticated");
    }
    assert_eq!(status(&scene, &agent).await, "revoked");
    scene
        .app
        .decide(&agent, "read", "mcp:a")
        .await
        .decided("agent_revoked");
    let dead = scene.app.call(&key).get(AGENTS).await;
    dead.refused(401, "unauthenticated");
    // The twin: what an operator made stays, and waits for a key.
    assert_eq!(status(&scene, &operators.id).await, "active");
    let dead = scene.app.call(&operators.key).get(AGENTS).await;
    dead.refused(401, "unauthenticated");
    let asked = scene.sign_in(ADA, PASSWORD).await.expect(200);
    assert_eq!(asked.at("/data/next"), "reset_password");
    let again = scene.post(NOT_ME, json!({ "token": link })).await;
    again.refused(401, "unauthenticated");
    assert_eq!(scene.app.audit("kind=user.recovered").await.len(), 1);
    let why = &scene.app.audit("kind=agent.revoked").await[0];
    assert_eq!(why["agent"], agent, "{why}");
}

#[tokio::test]
async fn of_64_uses_of_a_link_at_once_one_wins_and_no_other_link_works() {
    let scene = Scene::start().await;
    scene.ada().await;
    for _ in 0..2 {
        intruder(&scene).await;
    }
    let links = [scene.next_notice().await, scene.next_notice().await];
    let [one, other] = links.map(|text| token_in(&text));
    let uses = (0..64).map(|_| async { scene.post(NOT_ME, json!({ "token": one })).await.status });
    let statuses = join_all(uses).await;
    let won = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(won, 1, "{statuses:?}");
    let cut: String = other.chars().skip(1).collect();
    for dead in [other.as_str(), &one, &cut, ""] {
        let reply = scene.post(NOT_ME, json!({ "token": dead })).await;
        reply.refused(401, "unauthenticated");
    }
}

/// Nobody who was signed in takes the way back away, nor does whoever resets the password first; whoever used it has.
#[tokio::test]
async fn a_link_outlives_what_is_done_by_whoever_is_signed_in() {
    for (done, status) in [("changed", 200), ("reset", 200), ("used", 401)] {
        let scene = Scene::start().await;
        scene.ada().await;
        intruder(&scene).await;
        let session = intruder(&scene).await;
        let first = token_in(&scene.next_notice().await);
        let second = token_in(&scene.next_notice().await);
        match done {
            "changed" => {
                let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
                let caller = scene.app.call(&session);
                let changed = caller.post("/api/auth/change-password", body).await;
                changed.expect(200);
            }
            "reset" => reset(&scene).await,
            _ => {
                let used = scene.post(NOT_ME, json!({ "token": second })).await;
                used.expect(200);
            }
        }
        let back = scene.post(NOT_ME, json!({ "token": first })).await;
        assert_eq!(back.status, status, "{done}: {back}");
    }
}

/// Whoever reads mail proves one factor: they take another way in away for a day, and not for longer.
#[tokio::test]
async fn a_passkey_that_was_added_since_goes_within_a_day_and_no_later() {
    const DAY: u64 = 24 * 60 * 60;
    for (seconds, status) in [(DAY, 401), (DAY + 1, 200)] {
        let setup = crate::setup().with(|builder| builder.plugin(Passkey::default()));
        let scene = Scene::of(setup, Verification::First).await;
        scene.ada().await;
        let session = TestSession {
            id: String::new(),
            token: intruder(&scene).await,
        };
        let link = token_in(&scene.next_notice().await);
        let mut authenticator = passkey::registered(&scene.app, &session, 7).await;
        scene.app.advance(seconds);
        let used = scene.post(NOT_ME, json!({ "token": link })).await;
        used.expect(200);
        let asked = passkey::asked(&scene.app).await;
        let answered = authenticator.answer(&asked, &How::default());
        let opened = scene.app.anonymous().post(passkey::ANSWER, answered).await;
        assert_eq!(opened.status, status, "{seconds}: {opened}");
    }
}

#[tokio::test]
async fn a_link_is_good_for_a_week() {
    for (seconds, status) in [(604_799, 200), (604_800, 401)] {
        let scene = Scene::start().await;
        scene.ada().await;
        intruder(&scene).await;
        let link = token_in(&scene.next_notice().await);
        scene.app.advance(seconds);
        let reply = scene.post(NOT_ME, json!({ "token": link })).await;
        reply.expect(status);
    }
}

#[tokio::test]
async fn what_the_body_says_besides_is_refused() {
    let scene = Scene::start().await;
    for body in [
        json!({}),
        json!({ "token": 1 }),
        json!({ "token": "a", "user": "b" }),
    ] {
        scene
            .post(NOT_ME, body)
            .await
            .refused(400, "malformed_request");
    }
    let kept = scene.app.anonymous().header("idempotency-key", "k");
    let kept = kept.post(NOT_ME, json!({ "token": "a" })).await;
    kept.refused(400, "malformed_request");
}

/// The token of the link in a mail.
pub(super) fn token_in(text: &str) -> String {
    let (_, link) = text.split_once("token=").expect("a mail with a link");
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_';
    link.split(end).next().unwrap_or_default().to_owned()
}

/// What somebody makes in a session is theirs, whatever became of the session before the password was reset.
#[tokio::test]
async fn a_reset_ends_the_agents_that_were_made_by_signing_in_and_a_sign_out_none() {
    for resets in [true, false] {
        let scene = Scene::start().await;
        let own = scene.ada().await;
        let user = user_of(&scene, &own).await;
        let operators = scene.app.agent(&user, may(&["read"], "mcp:*")).await;
        let given = json!({
            "from": user, "to": operators.id, "permissions": may(&["read"], "mcp:b"), "reason": "more",
            "ttlSeconds": 86_400,
        });
        let theirs = intruder(&scene).await;
        let (early, key) = agent(&scene, &theirs, &user).await;
        let below = json!({
            "ownerId": early, "name": "below", "type": "autonomous", "permissions": may(&["read"], "mcp:a"),
        });
        let below = scene.app.call(&key).post(AGENTS, below).await.expect(201);
        scene
            .app
            .call(&theirs)
            .post("/api/auth/sign-out", json!({}))
            .await
            .expect(200);
        let (late, _) = agent(&scene, &own, &user).await;
        let given = scene
            .app
            .operator()
            .post("/api/v1/delegations", given)
            .await;
        let given = given.expect(201);
        if resets {
            reset(&scene).await;
        }
        let (fate, decided) = match resets {
            true => ("revoked", "agent_revoked"),
            false => ("active", "allowed"),
        };
        for made in [&early, &late] {
            assert_eq!(status(&scene, made).await, fate);
            scene
                .app
                .decide(made, "read", "mcp:a")
                .await
                .decided(decided);
        }
        let decision = scene.app.decide(below.id(), "read", "mcp:a").await;
        assert_eq!(decision.at("/data/allowed"), !resets, "{decision}");
        assert_eq!(status(&scene, &operators.id).await, "active");
        let path = format!("/api/v1/delegations/{}", given.id());
        let kept = scene.app.operator().get(&path).await.expect(200);
        assert_eq!(kept.at("/data/status"), "active");
        let shown = scene
            .app
            .operator()
            .get(&format!("/api/v1/users/{user}"))
            .await;
        // What lies below one that was stopped is counted until the count is full.
        let count = if resets { 2 } else { 4 };
        assert_eq!(shown.expect(200).at("/data/agents"), count);
    }
}

async fn reset(scene: &Scene) {
    let asked = json!({ "email": ADA });
    scene
        .post("/api/auth/forgot-password", asked)
        .await
        .expect(200);
    let token = scene.mailed_token().await;
    let body = json!({ "token": token, "newPassword": OTHER });
    scene
        .post("/api/auth/reset-password", body)
        .await
        .expect(200);
}

/// A change of the password ends sessions and keys, and stops nothing: whoever changes it has shown the old one.
#[tokio::test]
async fn a_changed_password_stops_no_agent_and_leaves_no_session_but_its_own() {
    let scene = Scene::start().await;
    let own = scene.ada().await;
    let user = user_of(&scene, &own).await;
    let other = token_of(&scene.sign_in(ADA, PASSWORD).await.expect(200));
    let (agent, key) = agent(&scene, &own, &user).await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
    let changed = scene
        .app
        .call(&own)
        .post("/api/auth/change-password", body)
        .await;
    let next = token_of(&changed.expect(200));
    assert_ne!(next, own);
    for dead in [&own, &other, &key] {
        let reply = scene.app.call(dead).get(AGENTS).await;
        reply.refused(401, "unauthenticated");
    }
    assert_eq!(status(&scene, &agent).await, "active");
    let all = scene
        .app
        .call(&next)
        .get("/api/auth/sessions")
        .await
        .expect(200);
    // They were all opened in one moment of the test's clock.
    let mut statuses: Vec<&str> = all
        .rows()
        .iter()
        .filter_map(|row| row["status"].as_str())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["active", "revoked", "revoked"]);
}

/// The link in a mail leads to a page; its button does it, and only the page's own.
#[tokio::test]
async fn the_page_asks_before_anything_is_done() {
    let scene = Scene::start().await;
    scene.ada().await;
    let theirs = intruder(&scene).await;
    let link = token_in(&scene.next_notice().await);
    let client = Client::new(scene.app.client().address());
    let html = || client.anonymous().header("accept", "text/html");
    let path = format!("/not-me?token={link}");
    let page = html()
        .header("sec-fetch-site", "cross-site")
        .get(&path)
        .await;
    let page = page.expect(200);
    assert!(page.text.contains("This was not me"), "{page}");
    let cookie = page
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default();
    let call = html()
        .header("cookie", cookie)
        .header("sec-fetch-site", "same-origin");
    let unmarked = call.clone().post_form("/not-me", &[("token", &link)]).await;
    assert_eq!(unmarked.status, 403, "{unmarked}");
    scene.app.call(&theirs).get(SESSION).await.expect(200);
    let mark = mark(&page);
    let fields = [("csrf", mark.as_str()), ("token", &link)];
    let done = call.clone().post_form("/not-me", &fields).await.expect(200);
    assert!(done.text.contains("/forgot-password"), "{done}");
    let dead = scene.app.call(&theirs).get(SESSION).await;
    dead.refused(401, "unauthenticated");
    let again = call.post_form("/not-me", &fields).await;
    assert_eq!(again.status, 401, "{again}");
}

/// Tokens of a client that whoever has this session lets in.
async fn let_in(scene: &Scene, session: &str, client: &str) -> Reply {
    let browser = crate::browser::Browser::of(&scene.app, session);
    let path = format!("{AUTHORIZE}?{}", query(client, &[]));
    let asks = browser.open(&path).await.expect(303);
    let page = browser.open(asks.header("location")).await.expect(200);
    let [request, since, shown] = ["request", "since", "shown"].map(|name| hidden(&page, name));
    let fields = [
        ("request", request.as_str()),
        ("since", &since),
        ("shown", &shown),
        ("decision", "allow"),
    ];
    let sent = browser.send_with(&mark(&page), "/consent", &fields).await;
    let code = brought(sent.expect(303).header("location"), "code").unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let tokens = scene.app.anonymous().post_form(TOKEN, &fields).await;
    tokens.expect(200)
}

/// RFC 9700, section 4.14.2: an application that an intruder let in is out with them.
#[tokio::test]
async fn what_an_intruder_let_in_ends_with_not_me_and_with_a_reset() {
    for way in ["nothing", "not me", "a reset"] {
        let scene = Scene::start().await;
        register(&scene.app, json!({})).await;
        let new = json!({ "name": "Editor", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none" });
        let client = client(&scene.app, new).await.id().to_owned();
        scene.ada().await;
        let theirs = intruder(&scene).await;
        let link = token_in(&scene.next_notice().await);
        let tokens = let_in(&scene, &theirs, &client).await;
        let is_good = way == "nothing";
        match way {
            "not me" => drop(
                scene
                    .post(NOT_ME, json!({ "token": link }))
                    .await
                    .expect(200),
            ),
            "a reset" => reset(&scene).await,
            _ => {}
        }
        let access = tokens.text_at("/access_token");
        assert_eq!(judged(&scene.app, access).await.is_ok(), is_good, "{way}");
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &client),
            ("refresh_token", tokens.text_at("/refresh_token")),
        ];
        let next = scene.app.anonymous().post_form(TOKEN, &fields).await;
        assert_eq!(next.status == 200, is_good, "{way}: {next}");
        let agents = scene.app.operator().get(AGENTS).await.expect(200);
        let fate = if is_good { "active" } else { "revoked" };
        assert_eq!(agents.rows()[0]["status"], fate, "{way}");
    }
}
