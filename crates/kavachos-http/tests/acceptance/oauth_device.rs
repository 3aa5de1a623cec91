//! Devices without a browser (RFC 8628): a human types the code of one, and says what becomes of it.
//! Lessons C 10 (whose code it is), 71 (forms) and 95 (guesses, and what the page says).

use futures_util::future::join_all;
use kavachos_engine::Registration;
use kavachos_test::Reply;
use serde_json::{Value, json};

use crate::browser::{Browser, hidden, mark};
use crate::exchange::TOKEN;
use crate::oauth_clients::{SCOPE, World, client, error, world, world_of};
use crate::tokens::{TOOLS, judged};

pub(crate) const BEGIN: &str = "/oauth/device_authorization";
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const OVER: &str = "unknown or over";
pub(crate) const MINUTE: u64 = 60;

/// A world whose client is a device.
pub(crate) async fn living_room() -> World {
    living_room_of(world().await).await
}

pub(crate) async fn living_room_of(world: World) -> World {
    let client = device(&world, json!({})).await;
    World { client, ..world }
}

pub(crate) async fn device(world: &World, more: Value) -> String {
    let mut new = json!({ "name": "Television", "grantTypes": [GRANT, "refresh_token"], "authMethod": "none" });
    for (name, value) in more.as_object().unwrap() {
        new[name] = value.clone();
    }
    client(&world.app, new).await.id().to_owned()
}

/// What a device is told.
pub(crate) struct Codes {
    pub(crate) device: String,
    pub(crate) user: String,
}

impl World {
    pub(crate) async fn begin(&self, other: &[(&str, &str)]) -> Reply {
        self.begin_proving(other, None).await
    }

    pub(crate) async fn begin_proving(&self, other: &[(&str, &str)], proof: Option<&str>) -> Reply {
        let mut all = vec![
            ("client_id", self.client.as_str()),
            ("scope", SCOPE),
            ("resource", TOOLS),
        ];
        for (name, value) in other {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        all.retain(|(_, value)| !value.is_empty());
        let call = self.app.anonymous();
        match proof {
            Some(proof) => call.header("dpop", proof).post_form(BEGIN, &all).await,
            None => call.post_form(BEGIN, &all).await,
        }
    }

    pub(crate) async fn codes(&self) -> Codes {
        Codes::of(&self.begin(&[]).await.expect(200))
    }

    pub(crate) async fn poll(&self, code: &str) -> Reply {
        self.poll_as((&self.client, code), None).await
    }

    pub(crate) async fn poll_as(&self, (client, code): (&str, &str), proof: Option<&str>) -> Reply {
        let all = [
            ("grant_type", GRANT),
            ("client_id", client),
            ("device_code", code),
        ];
        let call = self.app.anonymous();
        match proof {
            Some(proof) => call.header("dpop", proof).post_form(TOKEN, &all).await,
            None => call.post_form(TOKEN, &all).await,
        }
    }

    /// What comes of a code that this human types.
    async fn typed(&self, code: &str) -> Reply {
        typed(&self.browser(), code).await
    }

    /// The page on which this human is asked.
    pub(crate) async fn page(&self, code: &str) -> Reply {
        let sent = self.typed(code).await.expect(303);
        self.browser().open(sent.header("location")).await
    }

    pub(crate) async fn answered(&self, page: &Reply, decision: &str) -> Reply {
        answered(&self.browser(), page, decision).await
    }

    /// This human types a code, and says something.
    pub(crate) async fn says(&self, code: &str, decision: &str) {
        let page = self.page(code).await.expect(200);
        let sent = self.answered(&page, decision).await.expect(303);
        assert!(sent.header("location").starts_with("/device?done="));
    }

    /// The tokens of a device that was let in.
    async fn device_in(&self) -> Reply {
        let codes = self.codes().await;
        self.says(&codes.user, "allow").await;
        self.poll(&codes.device).await.expect(200)
    }

    /// Has the tool server be something else.
    pub(crate) async fn tools_are(&self, policy: Value) {
        let operator = self.app.operator();
        let servers = operator.get("/api/v1/resources").await.expect(200);
        let path = format!(
            "/api/v1/resources/{}",
            servers.rows()[0]["id"].as_str().unwrap()
        );
        operator.patch(&path, policy).await.expect(200);
    }
}

impl Codes {
    pub(crate) fn of(reply: &Reply) -> Self {
        Self {
            device: reply.text_at("/device_code").to_owned(),
            user: reply.text_at("/user_code").to_owned(),
        }
    }
}

pub(crate) async fn typed(browser: &Browser, code: &str) -> Reply {
    browser
        .send("/device", "/device", &[("user_code", code)])
        .await
}

async fn answered(browser: &Browser, page: &Reply, decision: &str) -> Reply {
    let all = ["request", "shown"].map(|name| hidden(page, name));
    let fields = [
        ("request", all[0].as_str()),
        ("shown", all[1].as_str()),
        ("decision", decision),
    ];
    browser
        .send_with(&mark(page), "/device/consent", &fields)
        .await
}

#[tokio::test]
async fn a_human_types_the_code_of_a_device_and_it_calls_tools() {
    let world = living_room().await;
    let known = world
        .app
        .anonymous()
        .get("/.well-known/oauth-authorization-server")
        .await;
    let endpoint = known.text_at("/device_authorization_endpoint");
    assert!(endpoint.ends_with(BEGIN), "{known}");
    assert!(
        known
            .at("/grant_types_supported")
            .as_array()
            .unwrap()
            .contains(&json!(GRANT))
    );
    let begun = world.begin(&[]).await.expect(200);
    assert_eq!(begun.at("/expires_in"), &json!(600));
    assert_eq!(begun.at("/interval"), &json!(5));
    assert!(begun.header("cache-control").contains("no-store"));
    let page = begun.text_at("/verification_uri");
    assert!(page.ends_with("/device"), "{begun}");
    let codes = Codes::of(&begun);
    let complete = format!("{page}?user_code={}", codes.user);
    assert_eq!(begun.text_at("/verification_uri_complete"), complete);
    assert!(codes.device.starts_with("kv_dc_"));
    error(
        &world.poll(&codes.device).await,
        400,
        "authorization_pending",
    );
    // It is typed as people type.
    let typed = codes.user.to_lowercase().replace('-', " ");
    world.says(&typed, "allow").await;
    world.app.advance(5);
    let tokens = world.poll(&codes.device).await.expect(200);
    assert_eq!(tokens.at("/token_type"), "Bearer");
    assert_eq!(tokens.at("/scope"), SCOPE);
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    let next = world
        .refresh(tokens.text_at("/refresh_token"))
        .await
        .expect(200);
    judged(&world.app, next.text_at("/access_token"))
        .await
        .unwrap();
    let agents = world
        .app
        .call(&world.session)
        .get("/api/v1/agents")
        .await
        .expect(200);
    assert_eq!(agents.rows()[0]["name"], "Television");
    let yes = world.app.audit("kind=connection.consented").await;
    assert_eq!(yes.len(), 1, "{yes:?}");
    assert_eq!(yes[0]["details"]["client"], world.client.as_str());
    // Whoever shows it again has a copy.
    world.app.advance(30);
    error(&world.poll(&codes.device).await, 400, "invalid_grant");
    assert!(
        judged(&world.app, next.text_at("/access_token"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn only_clients_that_an_operator_lets_begin_on_a_device() {
    let mut setup = crate::setup();
    setup = setup.settings(|settings| settings.registration = Registration::Open);
    let mut world = world_of(setup.start().await).await;
    error(&world.begin(&[]).await, 400, "unauthorized_client");
    error(&world.poll("kv_dc_x").await, 400, "unauthorized_client");
    let said = json!({
        "client_name": "Itself", "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", GRANT],
    });
    let itself = world
        .app
        .anonymous()
        .post("/oauth/register", said)
        .await
        .expect(201);
    assert_eq!(itself.at("/grant_types"), &json!(["authorization_code"]));
    world.client = itself.text_at("/client_id").to_owned();
    error(&world.begin(&[]).await, 400, "unauthorized_client");
    // The twin, who must show who it is, if it can.
    world.client = device(&world, json!({})).await;
    world.begin(&[]).await.expect(200);
    world.client = device(&world, json!({ "authMethod": "client_secret_post" })).await;
    error(&world.begin(&[]).await, 401, "invalid_client");
    error(&world.poll("kv_dc_x").await, 401, "invalid_client");
    // What a client may no more, it may not go on with.
    world.client = device(&world, json!({})).await;
    let (typed, polled) = (world.codes().await, world.codes().await);
    let page = world.page(&typed.user).await.expect(200);
    world.says(&polled.user, "allow").await;
    let path = format!("/api/v1/clients/{}", world.client);
    let less =
        json!({ "grantTypes": ["authorization_code"], "redirectUris": ["http://127.0.0.1/cb"] });
    world.app.operator().patch(&path, less).await.expect(200);
    let late = world.answered(&page, "allow").await;
    assert_eq!(late.status, 409, "{late}");
    error(
        &world.poll(&polled.device).await,
        400,
        "unauthorized_client",
    );
}

#[tokio::test]
async fn a_device_asks_for_what_there_is() {
    let world = living_room().await;
    let far = "https://other.example.com/mcp";
    for (wrong, code) in [
        (("resource", far), "invalid_target"),
        (("resource", "x"), "invalid_target"),
        (("scope", "mail:read"), "invalid_scope"),
        (("client_id", ""), "invalid_client"),
        (("client_id", "nobody"), "invalid_client"),
        (
            ("authorization_details", "[]"),
            "invalid_authorization_details",
        ),
    ] {
        let refused = world.begin(&[wrong]).await;
        assert_eq!(refused.at("/error"), code, "{wrong:?}: {refused}");
    }
    // The twin, with what the tool server gives by default.
    world.begin(&[("scope", "")]).await.expect(200);
    for wrong in ["", "x", "kv_dc_x"] {
        let refused = world.poll(wrong).await;
        assert_eq!(refused.status, 400, "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn no_device_reaches_what_is_critical() {
    let world = living_room().await;
    let (seen, let_in) = (world.codes().await, world.codes().await);
    let page = world.page(&seen.user).await.expect(200);
    world.says(&let_in.user, "allow").await;
    let before = world.device_in().await;
    world.tools_are(json!({ "critical": true })).await;
    error(&world.begin(&[]).await, 400, "invalid_target");
    let late = world.answered(&page, "allow").await;
    assert_eq!(late.status, 409, "{late}");
    assert!(late.text.contains("critical"), "{late}");
    error(&world.poll(&let_in.device).await, 400, "invalid_target");
    let refreshed = world.refresh(before.text_at("/refresh_token")).await;
    error(&refreshed, 400, "invalid_target");
    // The twin.
    world.tools_are(json!({ "critical": false })).await;
    world.begin(&[]).await.expect(200);
    world.answered(&page, "allow").await.expect(303);
    world.app.advance(5);
    world.poll(&let_in.device).await.expect(200);
    world
        .refresh(before.text_at("/refresh_token"))
        .await
        .expect(200);
}

/// Lesson C 10: whoever types a code first has it; to all others there is none.
#[tokio::test]
async fn a_code_is_the_first_humans_who_types_it() {
    let world = living_room().await;
    let other = world.app.session(&world.app.user().await).await.token;
    let other = Browser::of(&world.app, &other);
    let codes = world.codes().await;
    let first = world.typed(&codes.user).await.expect(303);
    let path = first.header("location").to_owned();
    let page = world.browser().open(&path).await.expect(200);
    let unknown = typed(&other, "BBBB-BBBB").await;
    for theirs in [&typed(&other, &codes.user).await, &other.open(&path).await] {
        assert_eq!(theirs.status, 409, "{theirs}");
        assert!(theirs.text.contains(OVER), "{theirs}");
    }
    assert_eq!(unknown.status, 409, "{unknown}");
    assert!(unknown.text.contains(OVER), "{unknown}");
    let form = other.open("/device").await.expect(200);
    let request = hidden(&page, "request");
    for decision in ["allow", "deny"] {
        let shown = hidden(&page, "shown");
        let fields = [
            ("request", request.as_str()),
            ("shown", shown.as_str()),
            ("decision", decision),
        ];
        let crossed = other
            .send_with(&mark(&form), "/device/consent", &fields)
            .await;
        assert_eq!(crossed.status, 409, "{crossed}");
    }
    error(
        &world.poll(&codes.device).await,
        400,
        "authorization_pending",
    );
    // The first types it as often as they like.
    world.says(&codes.user, "allow").await;
    world.app.advance(5);
    world.poll(&codes.device).await.expect(200);
    // The twin: what the other types first is theirs.
    let codes = world.codes().await;
    typed(&other, &codes.user).await.expect(303);
    assert_eq!(world.typed(&codes.user).await.status, 409);
    // Of many at once, one has it.
    let codes = world.codes().await;
    let mut humans = Vec::new();
    for _ in 0..4 {
        let session = world.app.session(&world.app.user().await).await.token;
        humans.push(Browser::of(&world.app, &session));
    }
    let all = join_all(humans.iter().map(|human| typed(human, &codes.user))).await;
    let had: Vec<u16> = all.iter().map(|reply| reply.status).collect();
    assert_eq!(
        had.iter().filter(|status| **status == 303).count(),
        1,
        "{had:?}"
    );
    assert_eq!(
        had.iter().filter(|status| **status == 409).count(),
        3,
        "{had:?}"
    );
}

/// Lesson C 95: a code that somebody sent is typed by whoever reads what the page says, or by nobody.
#[tokio::test]
async fn a_code_is_typed_by_a_fresh_human_who_is_warned() {
    let world = living_room().await;
    let begun = world.begin(&[]).await.expect(200);
    let codes = Codes::of(&begun);
    let complete = format!("/device?user_code={}", codes.user);
    let stranger = Browser::stranger(&world.app);
    let sent = stranger.open(&complete).await.expect(303);
    let sign_in = sent.header("location");
    assert!(
        sign_in.starts_with("/sign-in?return_to=%2Fdevice%3Fuser_code%3D"),
        "{sign_in}"
    );
    // The link fills nothing in.
    let form = world.browser().open(&complete).await.expect(200);
    assert!(!form.text.contains(&codes.user), "{form}");
    assert!(form.text.contains("Nobody who helps you"), "{form}");
    let page = world.page(&codes.user).await.expect(200);
    for told in [
        "Television",
        "call tools",
        TOOLS,
        "127.0.0.1",
        "just now",
        "Did somebody send you the code",
    ] {
        assert!(page.text.contains(told), "{told}: {page}");
    }
    for page in [&form, &page] {
        let policy = page.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(policy.contains("form-action 'self';"), "{policy}");
    }
    for odd in ["", "WDJB", "AAAA-AAAA", "<b>"] {
        let odd = world.typed(odd).await;
        assert_eq!(odd.status, 400, "{odd}");
    }
    for odd in ["", "x", "%%%"] {
        let odd = world
            .browser()
            .open(&format!("/device/consent?request={odd}"))
            .await;
        assert_eq!(odd.status, 400, "{odd}");
    }
    assert_eq!(world.answered(&page, "maybe").await.status, 400);
    world.app.advance(10 * MINUTE - 1);
    let other = world.codes().await;
    world.app.advance(1);
    for stale in [
        world.browser().open("/device").await,
        world
            .browser()
            .send_with(&mark(&form), "/device", &[("user_code", &other.user)])
            .await,
    ] {
        let location = stale.expect(303).header("location").to_owned();
        assert_eq!(location, "/re-authenticate?return_to=%2Fdevice");
    }
    error(
        &world.poll(&other.device).await,
        400,
        "authorization_pending",
    );
}

/// Lesson C 71: forms of another place, of another human, and of none.
#[tokio::test]
async fn a_device_is_let_in_on_a_form_of_ours() {
    let world = living_room().await;
    let codes = world.codes().await;
    let code = [("user_code", codes.user.as_str())];
    let form = world.browser().open("/device").await.expect(200);
    let page = world.page(&codes.user).await.expect(200);
    let all = ["request", "shown"].map(|name| hidden(&page, name));
    let yes = [
        ("request", all[0].as_str()),
        ("shown", all[1].as_str()),
        ("decision", "allow"),
    ];
    let other = world.app.session(&world.app.user().await).await.token;
    let other = Browser::of(&world.app, &other);
    for (mark, path, fields) in [
        (mark(&form), "/device", &code[..]),
        (mark(&page), "/device/consent", &yes[..]),
    ] {
        let far = ("sec-fetch-site", "cross-site");
        for foreign in [
            world.browser().send_with("none", path, fields).await,
            world.browser().send_from(far, &mark, (path, fields)).await,
            other.send_with(&mark, path, fields).await,
        ] {
            assert_eq!(foreign.status, 403, "{foreign}");
        }
    }
    // What changed since it was shown is shown anew.
    let scopes = json!([{ "name": "tools:call:*", "description": "do everything" }]);
    world.tools_are(json!({ "scopes": scopes })).await;
    let changed = world.answered(&page, "allow").await.expect(200);
    assert!(changed.text.contains("do everything"), "{changed}");
    error(
        &world.poll(&codes.device).await,
        400,
        "authorization_pending",
    );
    // A session that is not fresh any more says no, and no yes.
    world.app.advance(10 * MINUTE - 1);
    let codes = world.codes().await;
    let page = world.page(&codes.user).await.expect(200);
    world.app.advance(1);
    let stale = world.answered(&page, "allow").await.expect(303);
    let location = stale.header("location");
    assert!(
        location.starts_with("/re-authenticate?return_to=%2Fdevice%2Fconsent"),
        "{location}"
    );
    error(
        &world.poll(&codes.device).await,
        400,
        "authorization_pending",
    );
    world.answered(&page, "deny").await.expect(303);
}

/// Lesson C 95: guesses are counted, of a human and of a network, and whoever has right ones gets no more wrong ones for them.
#[tokio::test]
async fn codes_are_not_guessed() {
    let world = living_room().await;
    let consonants: Vec<char> = "BCDFGHJKLMNPQRSTVWXZ".chars().collect();
    let wrong = |n: usize| format!("BBBB-BBB{}", consonants[n % 20]);
    for n in 0..18 {
        assert_eq!(world.typed(&wrong(n)).await.status, 409, "{n}");
        let codes = world.codes().await;
        world.typed(&codes.user).await.expect(303);
        // What is no code is no guess.
        assert_eq!(world.typed("x").await.status, 400);
        world.app.advance(2);
    }
    let codes = world.codes().await;
    for n in 18..20 {
        assert_eq!(world.typed(&wrong(n)).await.status, 409, "{n}");
    }
    for late in [wrong(20), codes.user.clone()] {
        let late = world.typed(&late).await;
        assert_eq!(late.status, 429, "{late}");
    }
    // Another human comes from the same network.
    let other = world.app.session(&world.app.user().await).await.token;
    let other = Browser::of(&world.app, &other);
    assert_eq!(typed(&other, &codes.user).await.status, 429);
    // After an hour without guesses all is as before.
    world.app.advance(60 * MINUTE);
    let session = world.app.session(&world.user).await.token;
    let world = World { session, ..world };
    let codes = world.codes().await;
    world.says(&codes.user, "allow").await;
    world.poll(&codes.device).await.expect(200);
    let refused = world
        .app
        .audit("kind=device.code_typed&outcome=denied")
        .await;
    assert_eq!(refused.len(), 20, "{refused:?}");
}

/// Who let a device in, and who looked at it, is on record with what it said of itself, which goes with the human.
#[tokio::test]
async fn where_a_device_asked_from_is_on_record() {
    let world = living_room().await;
    let begin = async || {
        let fields = [("client_id", world.client.as_str()), ("resource", TOOLS)];
        let call = world.app.anonymous().from("127.9.8.7");
        let call = call.header("user-agent", "Phisher/1.0");
        Codes::of(&call.post_form(BEGIN, &fields).await.expect(200))
    };
    let allowed = begin().await;
    // Looked at twice, on record once.
    world.page(&allowed.user).await.expect(200);
    world.says(&allowed.user, "allow").await;
    let denied = begin().await;
    world.says(&denied.user, "deny").await;
    for (kind, count) in [
        ("device.code_typed", 2),
        ("connection.consented", 1),
        ("connection.denied", 1),
    ] {
        let records = world.app.audit(&format!("kind={kind}")).await;
        assert_eq!(records.len(), count, "{kind}: {records:?}");
        for record in records {
            let device = &record["metadata"]["device"];
            assert_eq!(device["ip"], "127.9.8.7", "{record}");
            assert_eq!(device["userAgent"], "Phisher/1.0", "{record}");
            assert!(device["askedAt"].is_string(), "{record}");
            assert_eq!(record["details"]["client"], world.client.as_str());
        }
    }
}
