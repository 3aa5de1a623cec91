//! OAuth clients: a human lets one in, it redeems a code, and goes on with refresh tokens.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use kavachos_test::{Reply, TestApp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::browser::{Browser, mark};
use crate::exchange::TOKEN;
use crate::tokens::{TOOLS, issuer, judged, opened, register};

const CLIENTS: &str = "/api/v1/clients";
const AUTHORIZE: &str = "/oauth/authorize";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const REDIRECT: &str = "http://127.0.0.1:51004/cb";
const SITE: &str = "https://app.example.com/cb";
const SCOPE: &str = "tools:call:search";

/// A server with one tool server, a client that can keep no secret, and a human who is signed in.
struct World {
    app: TestApp,
    client: String,
    user: String,
    session: String,
}

async fn world() -> World {
    let app = crate::start().await;
    register(&app, json!({ "defaultScope": "tools:call:*" })).await;
    let new = json!({ "name": "Editor", "redirectUris": ["http://127.0.0.1/cb", SITE], "authMethod": "none" });
    let client = client(&app, new).await.id().to_owned();
    let user = app.user().await;
    let session = app.session(&user).await.token;
    World {
        app,
        client,
        user,
        session,
    }
}

async fn client(app: &TestApp, new: Value) -> Reply {
    app.operator().post(CLIENTS, new).await.expect(201)
}

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// The query of a request, of which some parameters may be said otherwise, or left out.
fn query(client: &str, other: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let mut all = vec![
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "af0ifjsldkj"),
        ("scope", SCOPE),
        ("resource", TOOLS),
    ];
    for (name, value) in other {
        all.retain(|(known, _)| known != name);
        all.push((name, value));
    }
    all.retain(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(all)
        .finish()
}

/// What a browser brings back.
fn brought(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

impl World {
    fn browser(&self) -> Browser {
        Browser::of(&self.app, &self.session)
    }

    /// Where the browser is sent by the endpoint.
    async fn asked(&self, other: &[(&str, &str)]) -> Reply {
        let path = format!("{AUTHORIZE}?{}", query(&self.client, other));
        self.browser().open(&path).await
    }

    /// Where the browser is sent when the human says yes.
    async fn allowed(&self, other: &[(&str, &str)]) -> String {
        let page = self.asked(other).await.expect(303);
        self.decided(page.header("location"), "allow").await
    }

    async fn decided(&self, page: &str, decision: &str) -> String {
        let browser = self.browser();
        let shown = browser.open(page).await.expect(200);
        let request = page.split_once("request=").unwrap().1;
        let fields = [("request", request), ("decision", decision)];
        let sent = browser.send_with(&mark(&shown), "/consent", &fields).await;
        sent.expect(303).header("location").to_owned()
    }

    async fn code(&self) -> String {
        let location = self.allowed(&[]).await;
        brought(&location, "code").expect("there is a code")
    }

    async fn redeem(&self, code: &str, other: &[(&str, &str)]) -> Reply {
        let mut all = vec![
            ("grant_type", "authorization_code"),
            ("client_id", &self.client),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in other {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        all.retain(|(_, value)| !value.is_empty());
        self.app.anonymous().post_form(TOKEN, &all).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        let all = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client.as_str()),
            ("refresh_token", token),
        ];
        self.app.anonymous().post_form(TOKEN, &all).await
    }

    /// Tokens of a human who said yes.
    async fn let_in(&self) -> Reply {
        let code = self.code().await;
        self.redeem(&code, &[]).await.expect(200)
    }
}

fn error(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply}");
    assert_eq!(reply.at("/error"), code, "{reply}");
}

#[tokio::test]
async fn a_human_lets_a_client_in_and_it_calls_tools() {
    let world = world().await;
    let asks = world.asked(&[]).await.expect(303);
    let page = world
        .browser()
        .open(asks.header("location"))
        .await
        .expect(200);
    for told in [
        "Editor",
        "call tools",
        "127.0.0.1:51004",
        "Any program on your computer",
        TOOLS,
    ] {
        assert!(page.text.contains(told), "{told}: {page}");
    }
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' http://127.0.0.1:51004;"),
        "{policy}"
    );
    let location = world.decided(asks.header("location"), "allow").await;
    assert!(
        location.starts_with(&format!("{REDIRECT}?code=kv_code_")),
        "{location}"
    );
    assert_eq!(brought(&location, "state").unwrap(), "af0ifjsldkj");
    assert_eq!(
        brought(&location, "iss").unwrap(),
        issuer(&world.app).to_string()
    );
    let code = brought(&location, "code").unwrap();
    let tokens = world.redeem(&code, &[]).await.expect(200);
    assert_eq!(tokens.at("/token_type"), "Bearer");
    assert_eq!(tokens.at("/scope"), SCOPE);
    assert!(tokens.at("/issued_token_type").is_null());
    assert!(tokens.text_at("/refresh_token").starts_with("kv_rt_"));
    assert!(tokens.header("cache-control").contains("no-store"));
    let access = tokens.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    let leaf = opened(&world.app, access).await;
    assert_eq!(leaf.authority.subject.to_string(), world.user);
    // It is an agent of the human's, and stops as one.
    let agents = world
        .app
        .call(&world.session)
        .get("/api/v1/agents")
        .await
        .expect(200);
    let agent = agents.rows()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(agents.rows()[0]["name"], "Editor");
    let path = format!("/api/v1/agents/{agent}");
    world
        .app
        .call(&world.session)
        .delete(&path)
        .await
        .expect(200);
    assert!(judged(&world.app, access).await.is_err());
    let dead = world.refresh(tokens.text_at("/refresh_token")).await;
    assert!(dead.status >= 400, "{dead}");
}

#[tokio::test]
async fn who_says_no_lets_nobody_in() {
    let world = world().await;
    let asks = world.asked(&[]).await.expect(303);
    let location = world.decided(asks.header("location"), "deny").await;
    assert_eq!(brought(&location, "error").unwrap(), "access_denied");
    assert_eq!(brought(&location, "state").unwrap(), "af0ifjsldkj");
    assert!(brought(&location, "code").is_none());
    let agents = world
        .app
        .call(&world.session)
        .get("/api/v1/agents")
        .await
        .expect(200);
    assert!(agents.rows().is_empty());
}

#[tokio::test]
async fn whoever_is_not_signed_in_signs_in_first_and_comes_back() {
    let world = world().await;
    let asks = world.asked(&[]).await.expect(303);
    let stranger = Browser::stranger(&world.app);
    let sent = stranger.open(asks.header("location")).await.expect(303);
    let sign_in = sent.header("location");
    assert!(
        sign_in.starts_with("/sign-in?return_to=%2Fconsent%3Frequest%3D"),
        "{sign_in}"
    );
    let none = world.asked(&[("prompt", "none")]).await.expect(303);
    let location = world
        .browser()
        .open(none.header("location"))
        .await
        .expect(303);
    assert_eq!(
        brought(location.header("location"), "error").unwrap(),
        "consent_required"
    );
    let path = format!(
        "{AUTHORIZE}?{}",
        query(&world.client, &[("prompt", "none")])
    );
    let none = stranger.open(&path).await.expect(303);
    assert_eq!(
        brought(none.header("location"), "error").unwrap(),
        "login_required"
    );
}

/// Lessons C 4: of many at once, one goes on; whoever lost the answer gets it again; a copy ends all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_refreshes_at_once_one_line_goes_on() {
    for count in [8, 64] {
        let world = world().await;
        let tokens = world.let_in().await;
        let first = tokens.text_at("/refresh_token").to_owned();
        let all = join_all((0..count).map(|_| world.refresh(&first))).await;
        let good: Vec<&Reply> = all.iter().filter(|reply| reply.status == 200).collect();
        assert!((1..=3).contains(&good.len()), "{}", good.len());
        for reply in &all {
            assert!([200, 400].contains(&reply.status), "{reply}");
        }
        let mut next: Vec<&str> = good
            .iter()
            .map(|reply| reply.text_at("/refresh_token"))
            .collect();
        next.dedup();
        assert_eq!(next.len(), 1, "one successor");
        assert_ne!(next[0], first);
        // Nobody was harmed by that.
        let third = world.refresh(next[0]).await.expect(200);
        judged(&world.app, third.text_at("/access_token"))
            .await
            .unwrap();
        // What was replaced twice over is a copy.
        let copy = world.refresh(&first).await;
        error(&copy, 400, "invalid_grant");
        assert!(
            judged(&world.app, third.text_at("/access_token"))
                .await
                .is_err()
        );
        let dead = world.refresh(third.text_at("/refresh_token")).await;
        assert!([400, 401].contains(&dead.status), "{dead}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_given_again_twice_for_ten_seconds() {
    let world = world().await;
    let tokens = world.let_in().await;
    let first = tokens.text_at("/refresh_token").to_owned();
    let next = world.refresh(&first).await.expect(200);
    let next = next.text_at("/refresh_token").to_owned();
    for _ in 0..2 {
        let again = world.refresh(&first).await.expect(200);
        assert_eq!(again.text_at("/refresh_token"), next);
    }
    error(&world.refresh(&first).await, 400, "invalid_grant");
    let third = world.refresh(&next).await.expect(200);
    let third = third.text_at("/refresh_token").to_owned();
    world.app.advance(10);
    error(&world.refresh(&next).await, 400, "invalid_grant");
    world.app.advance(19);
    error(&world.refresh(&next).await, 400, "invalid_grant");
    // Without harm so far, and then it is a copy.
    let fourth = world.refresh(&third).await.expect(200);
    world.app.advance(30);
    error(&world.refresh(&third).await, 400, "invalid_grant");
    let dead = world.refresh(fourth.text_at("/refresh_token")).await;
    assert!(dead.status >= 400, "{dead}");
    assert_eq!(world.app.audit("kind=connection.line_ended").await.len(), 1);
}

/// Lessons C 7 and 50: what does not belong to the code gets nothing for it, and the code stays good for whom it is.
#[tokio::test]
async fn a_code_is_redeemed_once_by_whoever_asked_for_it() {
    let world = world().await;
    let code = world.code().await;
    let other =
        json!({ "name": "Other", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none" });
    let other = client(&world.app, other).await.id().to_owned();
    let long = "a".repeat(43);
    for (wrong, expected) in [
        (("code_verifier", ""), "invalid_request"),
        (("code_verifier", long.as_str()), "invalid_grant"),
        (
            ("code_verifier", VERIFIER.get(..42).unwrap()),
            "invalid_grant",
        ),
        (("redirect_uri", ""), "invalid_request"),
        (("redirect_uri", SITE), "invalid_grant"),
        (
            ("redirect_uri", "http://127.0.0.1:51005/cb"),
            "invalid_grant",
        ),
        (("client_id", other.as_str()), "invalid_grant"),
        (
            ("resource", "https://other.example.com/mcp"),
            "invalid_target",
        ),
    ] {
        error(&world.redeem(&code, &[wrong]).await, 400, expected);
    }
    let tokens = world.redeem(&code, &[]).await.expect(200);
    let access = tokens.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    // A second time it is a copy, and everything that was made of it is dead.
    error(&world.redeem(&code, &[]).await, 400, "invalid_grant");
    assert!(judged(&world.app, access).await.is_err());
    let code = world.code().await;
    world.app.advance(60);
    error(&world.redeem(&code, &[]).await, 400, "invalid_grant");
}
