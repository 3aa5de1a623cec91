//! OAuth clients: a human lets one in, it redeems a code, and goes on with refresh tokens.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use kavachos_test::{Reply, TestApp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::browser::{Browser, hidden, mark};
use crate::exchange::TOKEN;
use crate::tokens::{TOOLS, issuer, judged, opened, register};

pub(crate) const CLIENTS: &str = "/api/v1/clients";
pub(crate) const AUTHORIZE: &str = "/oauth/authorize";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:51004/cb";
pub(crate) const SITE: &str = "https://app.example.com/cb";
pub(crate) const AT_SITE: (&str, &str) = ("redirect_uri", SITE);
pub(crate) const SCOPE: &str = "tools:call:search";

/// A server with one tool server, a client that can keep no secret, and a human who is signed in.
pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) client: String,
    pub(crate) user: String,
    pub(crate) session: String,
}

pub(crate) async fn world() -> World {
    world_of(crate::start().await).await
}

/// The same on a server of one's own.
pub(crate) async fn world_of(app: TestApp) -> World {
    register(&app, json!({ "defaultScope": "tools:call:*" })).await;
    beside_tools(app).await
}

/// The same where the tool server is there.
pub(crate) async fn beside_tools(app: TestApp) -> World {
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

pub(crate) async fn client(app: &TestApp, new: Value) -> Reply {
    app.operator().post(CLIENTS, new).await.expect(201)
}

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// The query of a request, of which some parameters may be said otherwise, or left out.
pub(crate) fn query(client: &str, other: &[(&str, &str)]) -> String {
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
pub(crate) fn brought(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

impl World {
    pub(crate) fn browser(&self) -> Browser {
        Browser::of(&self.app, &self.session)
    }

    /// Where the browser is sent by the endpoint.
    pub(crate) async fn asked(&self, other: &[(&str, &str)]) -> Reply {
        let path = format!("{AUTHORIZE}?{}", query(&self.client, other));
        self.browser().open(&path).await
    }

    /// Where the browser is sent when the human says yes.
    pub(crate) async fn allowed(&self, other: &[(&str, &str)]) -> String {
        let page = self.asked(other).await.expect(303);
        self.decided(page.header("location"), "allow").await
    }

    pub(crate) async fn decided(&self, page: &str, decision: &str) -> String {
        let browser = self.browser();
        let shown = browser.open(page).await.expect(200);
        let sent = self.sent(&shown, decision).await;
        sent.expect(303).header("location").to_owned()
    }

    /// What comes of a form of a page that was shown.
    pub(crate) async fn sent(&self, shown: &Reply, decision: &str) -> Reply {
        let all = ["request", "since", "shown"].map(|name| (name, hidden(shown, name)));
        let mut fields: Vec<(&str, &str)> = all
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        fields.push(("decision", decision));
        let browser = self.browser();
        browser.send_with(&mark(shown), "/consent", &fields).await
    }

    pub(crate) async fn code(&self) -> String {
        let location = self.allowed(&[]).await;
        brought(&location, "code").expect("there is a code")
    }

    pub(crate) async fn redeem(&self, code: &str, other: &[(&str, &str)]) -> Reply {
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

    pub(crate) async fn refresh(&self, token: &str) -> Reply {
        let all = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client.as_str()),
            ("refresh_token", token),
        ];
        self.app.anonymous().post_form(TOKEN, &all).await
    }

    /// Tokens of a human who said yes.
    pub(crate) async fn let_in(&self) -> Reply {
        let code = self.code().await;
        self.redeem(&code, &[]).await.expect(200)
    }
}

pub(crate) fn error(reply: &Reply, status: u16, code: &str) {
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
        policy.contains("form-action 'self' http://127.0.0.1:51004 https:;"),
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
        (("redirect_uri", "x"), "invalid_grant"),
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
    // Clients of OAuth 2.1 alone do not say again where the code was sent: the verifier says who asked.
    let code = world.code().await;
    let bare = ("redirect_uri", "");
    let stolen = [bare, ("code_verifier", long.as_str())];
    error(&world.redeem(&code, &stolen).await, 400, "invalid_grant");
    world.redeem(&code, &[bare]).await.expect(200);
}

/// Lessons A F22, C 6: nothing of these sends a browser anywhere.
#[tokio::test]
async fn a_browser_is_sent_to_no_address_that_was_not_registered() {
    let world = world().await;
    for redirect in [
        "",
        "https://app.example.com/cb/",
        "https://app.example.com/cb?x=y",
        "https://app.example.com/c",
        "https://app.example.com:443/cb",
        "https://app.example.com/%63b",
        "https://APP.example.com/cb",
        "https://app.example.com./cb",
        "https://app.example.com@evil.example/cb",
        "https://app.example.com/cb#x",
        "https://evil.example/cb",
        "http://127.0.0.1:51004/other",
        "http://localhost:51004/cb",
        "http://127.0.0.1.evil.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/cb",
    ] {
        let told = world.asked(&[("redirect_uri", redirect)]).await;
        assert_eq!(told.status, 400, "{redirect}: {told}");
        assert!(told.header("location").is_empty(), "{redirect}");
        assert!(
            told.header("content-type").starts_with("text/html"),
            "{told}"
        );
    }
    for client in ["", "client_01h455vb4pex5vsknk084sn02q", "x"] {
        let told = world.asked(&[("client_id", client)]).await;
        assert_eq!(told.status, 400, "{client}: {told}");
        assert!(told.header("location").is_empty(), "{client}");
    }
    let path = format!("{AUTHORIZE}?{}&client_id=x", query(&world.client, &[]));
    assert_eq!(world.browser().open(&path).await.status, 400);
}

/// Clients of older revisions of MCP name no tool server: where there is one alone it is that one, else nobody guesses.
#[tokio::test]
async fn a_tool_server_that_is_alone_need_not_be_named() {
    let world = world().await;
    let location = world.allowed(&[("resource", "")]).await;
    let code = brought(&location, "code").expect(&location);
    let tokens = world.redeem(&code, &[]).await.expect(200);
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    let second = json!({ "audience": "https://second.example.com/mcp", "name": "second", "scopes": [{ "name": "second:*", "description": "second" }] });
    let operator = world.app.operator();
    let second = operator.post("/api/v1/resources", second).await.expect(201);
    let sent = world.asked(&[("resource", "")]).await.expect(303);
    let location = sent.header("location");
    assert_eq!(brought(location, "error").unwrap(), "invalid_target");
    let path = format!("/api/v1/resources/{}", second.id());
    world.app.operator().delete(&path).await.expect(200);
    world.allowed(&[("resource", "")]).await;
}

/// Lesson C 7: what is wrong besides goes back to the client, with its state and our name.
#[tokio::test]
async fn what_is_wrong_besides_is_told_to_the_client() {
    let world = world().await;
    let long = "a".repeat(44);
    for (wrong, expected) in [
        (("response_type", ""), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "code token"), "unsupported_response_type"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", long.as_str()), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("scope", "mail:read"), "invalid_scope"),
        (
            ("resource", "https://other.example.com/mcp"),
            "invalid_target",
        ),
        (("resource", "x"), "invalid_target"),
        (("prompt", "none login"), "invalid_request"),
        (("request", "x"), "request_not_supported"),
        (
            ("request_uri", "https://evil.example/"),
            "request_uri_not_supported",
        ),
        (("dpop_jkt", "x"), "invalid_request"),
        (
            ("authorization_details", "[]"),
            "invalid_authorization_details",
        ),
    ] {
        let sent = world.asked(&[wrong]).await.expect(303);
        let location = sent.header("location");
        assert!(location.starts_with(REDIRECT), "{wrong:?}: {location}");
        assert_eq!(brought(location, "error").unwrap(), expected, "{wrong:?}");
        assert_eq!(brought(location, "state").unwrap(), "af0ifjsldkj");
        assert_eq!(
            brought(location, "iss").unwrap(),
            issuer(&world.app).to_string()
        );
    }
}

/// Nobody lets anybody in but with a form of ours, in a session that is fresh, and by their own word.
#[tokio::test]
async fn a_yes_is_a_fresh_humans_own_on_a_form_of_ours() {
    let world = world().await;
    let asks = world.asked(&[]).await.expect(303);
    let page = asks.header("location").to_owned();
    let shown = world.browser().open(&page).await.expect(200);
    let all = ["request", "shown"].map(|name| hidden(&shown, name));
    let fields = [
        ("request", all[0].as_str()),
        ("shown", all[1].as_str()),
        ("decision", "allow"),
    ];
    for foreign in [
        world.browser().send_with("none", "/consent", &fields).await,
        world
            .browser()
            .send_from(
                ("sec-fetch-site", "cross-site"),
                &mark(&shown),
                ("/consent", &fields),
            )
            .await,
    ] {
        assert_eq!(foreign.status, 403, "{foreign}");
    }
    let framed = shown.header("content-security-policy").to_owned();
    assert!(framed.contains("frame-ancestors 'none'"), "{framed}");
    // Another human's page is no page of this one's.
    let other = world.app.user().await;
    let other = world.app.session(&other).await.token;
    let theirs = Browser::of(&world.app, &other);
    let crossed = theirs.send_with(&mark(&shown), "/consent", &fields).await;
    assert_eq!(crossed.status, 403, "{crossed}");
    for odd in [("request", "%%%"), ("decision", "maybe")] {
        let mut fields = fields.to_vec();
        fields.retain(|(name, _)| *name != odd.0);
        fields.push(odd);
        let odd = world
            .browser()
            .send_with(&mark(&shown), "/consent", &fields)
            .await;
        assert_eq!(odd.status, 400, "{odd}");
    }
    world.app.advance(600);
    let stale = world
        .browser()
        .send_with(&mark(&shown), "/consent", &fields)
        .await;
    assert!(
        stale
            .expect(303)
            .header("location")
            .starts_with("/re-authenticate")
    );
    let stale = world.browser().open(&page).await.expect(303);
    assert!(stale.header("location").starts_with("/re-authenticate"));
    let agents = world.app.operator().get("/api/v1/agents").await.expect(200);
    assert!(agents.rows().is_empty());
}

/// A site is asked about once, until it asks for more or says something else of itself; what any program could be, each time.
#[tokio::test]
async fn a_yes_is_remembered_for_sites_alone() {
    let world = world().await;
    let asked_again = async |other: &[(&str, &str)]| {
        let asks = world.asked(other).await.expect(303);
        let page = world.browser().open(asks.header("location")).await;
        page.expect(303).header("location").to_owned()
    };
    for redirect in [SITE, REDIRECT] {
        world.allowed(&[("redirect_uri", redirect)]).await;
    }
    // Also long after: nothing new is given.
    world.app.advance(3_600);
    let again = asked_again(&[("redirect_uri", SITE)]).await;
    assert!(again.starts_with(&format!("{SITE}?code=")), "{again}");
    for other in [
        &[("redirect_uri", REDIRECT)][..],
        &[("redirect_uri", SITE), ("scope", "tools:call:write")],
        &[("redirect_uri", SITE), ("prompt", "consent")],
        &[("redirect_uri", SITE), ("prompt", "login")],
    ] {
        let asked = asked_again(other).await;
        assert!(asked.starts_with("/re-authenticate"), "{other:?}: {asked}");
    }
    // One agent, whatever is asked of it.
    let agents = world.app.operator().get("/api/v1/agents").await.expect(200);
    assert_eq!(agents.rows().len(), 1);
}

/// With a secret, a client shows it; without one it shows none, and nobody else's.
#[tokio::test]
async fn a_client_shows_what_it_registered_to_show() {
    let world = world().await;
    let new = json!({ "name": "Site", "redirectUris": [SITE, "http://127.0.0.1/cb"] });
    let made = client(&world.app, new).await;
    let (id, secret) = (made.id().to_owned(), made.text_at("/data/token").to_owned());
    assert!(secret.starts_with("kv_client_"));
    let world = World {
        client: id.clone(),
        ..world
    };
    let code = world.code().await;
    error(&world.redeem(&code, &[]).await, 401, "invalid_client");
    let another = json!({ "name": "Another", "redirectUris": [SITE] });
    let another = client(&world.app, another).await;
    // One that is none, and one that is another's.
    for wrong in ["kv_client_x", another.text_at("/data/token")] {
        let told = world.redeem(&code, &[("client_secret", wrong)]).await;
        error(&told, 401, "invalid_client");
    }
    let tokens = world
        .redeem(&code, &[("client_secret", &secret)])
        .await
        .expect(200);
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{id}:{secret}"));
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.text_at("/refresh_token")),
    ];
    let call = world
        .app
        .anonymous()
        .header("authorization", &format!("Basic {basic}"));
    call.post_form(TOKEN, &refresh).await.expect(200);
}

#[tokio::test]
async fn a_client_gives_back_what_it_needs_no_more() {
    let world = world().await;
    let tokens = world.let_in().await;
    let (access, refresh) = (
        tokens.text_at("/access_token"),
        tokens.text_at("/refresh_token"),
    );
    let give = async |client: &str, token: &str| {
        let fields = [("client_id", client), ("token", token)];
        world
            .app
            .anonymous()
            .post_form("/oauth/revoke", &fields)
            .await
    };
    // Another client's, or nobody's, is let be.
    let other =
        json!({ "name": "Other", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none" });
    let other = client(&world.app, other).await.id().to_owned();
    for (client, token) in [
        (other.as_str(), access),
        (other.as_str(), refresh),
        (&world.client, "x"),
    ] {
        give(client, token).await.expect(200);
    }
    judged(&world.app, access).await.unwrap();
    give(&world.client, access).await.expect(200);
    assert!(judged(&world.app, access).await.is_err());
    let next = world.refresh(refresh).await.expect(200);
    let access = next.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    give(&world.client, next.text_at("/refresh_token"))
        .await
        .expect(200);
    assert!(judged(&world.app, access).await.is_err());
    assert!(world.refresh(next.text_at("/refresh_token")).await.status >= 400);
    assert_eq!(
        give("client_01h455vb4pex5vsknk084sn02q", access)
            .await
            .status,
        401
    );
}

/// Whoever gives a token back while they refresh keeps the line: a good refresh token is never told to be none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_beside_a_revocation_goes_on() {
    let world = world().await;
    let mut tokens = world.let_in().await;
    for _ in 0..60 {
        let fields = [
            ("client_id", world.client.as_str()),
            ("token", tokens.text_at("/access_token")),
        ];
        let call = world.app.anonymous();
        let given = call.post_form("/oauth/revoke", &fields);
        let next = world.refresh(tokens.text_at("/refresh_token"));
        let (given, next) = tokio::join!(given, next);
        given.expect(200);
        let next = next.expect(200);
        // What is given back with the next round is good, so that each of them has something to end.
        tokens = world
            .refresh(next.text_at("/refresh_token"))
            .await
            .expect(200);
    }
}
