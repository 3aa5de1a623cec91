//! Requests that clients push (RFC 9126): a browser carries their name alone, and each comes to one code.

use futures_util::future::join_all;
use kavachos_test::{Call, Reply};
use serde_json::json;

use crate::browser::Browser;
use crate::oauth_clients::{
    AT_SITE, AUTHORIZE, SCOPE, SITE, World, brought, client, error, query, world,
};
use crate::oauth_dpop::proof_for;
use crate::tokens::judged;

const PAR: &str = "/oauth/par";

impl World {
    async fn pushed(&self, other: &[(&str, &str)]) -> Reply {
        self.pushed_by(self.app.anonymous(), other).await
    }

    async fn pushed_by(&self, call: Call, other: &[(&str, &str)]) -> Reply {
        let all = query(&self.client, other);
        let all: Vec<(String, String)> = form_urlencoded::parse(all.as_bytes())
            .into_owned()
            .collect();
        let all: Vec<(&str, &str)> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        call.post_form(PAR, &all).await
    }

    async fn pushed_name(&self) -> String {
        let pushed = self.pushed(&[]).await.expect(201);
        pushed.text_at("/request_uri").to_owned()
    }

    fn named(&self, name: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", &self.client);
        query.append_pair("request_uri", name);
        format!("{AUTHORIZE}?{}", query.finish())
    }

    async fn begun(&self, name: &str) -> String {
        let asks = self.browser().open(&self.named(name)).await.expect(303);
        asks.header("location").to_owned()
    }
}

#[tokio::test]
async fn what_is_pushed_is_asked_and_answered_once() {
    let world = world().await;
    let pushed = world.pushed(&[]).await.expect(201);
    assert_eq!(pushed.at("/expires_in"), &json!(90));
    assert!(pushed.header("cache-control").contains("no-store"));
    let name = pushed.text_at("/request_uri");
    assert!(name.starts_with("urn:ietf:params:oauth:request_uri:kv_req_"));
    let page = world.begun(name).await;
    // A human who was asked in time may think.
    world.app.advance(300);
    let shown = world.browser().open(&page).await.expect(200);
    assert!(shown.text.contains(SCOPE), "{shown}");
    let location = world.sent(&shown, "allow").await.expect(303);
    let location = location.header("location").to_owned();
    assert_eq!(brought(&location, "state").unwrap(), "af0ifjsldkj");
    let code = brought(&location, "code").expect(&location);
    let tokens = world.redeem(&code, &[]).await.expect(200);
    judged(&world.app, tokens.text_at("/access_token"))
        .await
        .unwrap();
    // It was answered.
    for again in [
        world.sent(&shown, "allow").await,
        world.browser().open(&world.named(name)).await,
    ] {
        assert_eq!(again.status, 400, "{again}");
        assert!(again.header("location").is_empty(), "{again}");
    }
    let denied = world.pushed_name().await;
    let page = world.begun(&denied).await;
    let shown = world.browser().open(&page).await.expect(200);
    world.sent(&shown, "deny").await.expect(303);
    assert_eq!(world.sent(&shown, "allow").await.status, 400);
    // Of many answers at once, one counts.
    let name = world.pushed_name().await;
    let page = world.begun(&name).await;
    let shown = world.browser().open(&page).await.expect(200);
    let all = join_all((0..8).map(|_| world.sent(&shown, "allow"))).await;
    let counted = all.iter().filter(|reply| reply.status == 303).count();
    assert_eq!(counted, 1, "{all:?}");
    // So where the human said yes before, and nobody asks.
    world.allowed(&[AT_SITE]).await;
    let pushed = world.pushed(&[AT_SITE]).await.expect(201);
    let page = world.begun(pushed.text_at("/request_uri")).await;
    let browser = world.browser();
    let all = join_all((0..8).map(|_| browser.open(&page))).await;
    let counted = all.iter().filter(|reply| reply.status == 303).count();
    assert_eq!(counted, 1, "{all:?}");
}

#[tokio::test]
async fn a_name_is_good_for_its_client_and_for_a_while() {
    let world = world().await;
    let name = world.pushed_name().await;
    let other = json!({ "name": "Other", "redirectUris": [SITE], "authMethod": "none" });
    let other = client(&world.app, other).await.id().to_owned();
    let own = world.named(&name);
    let browser = Browser::of(&world.app, &world.session);
    for path in [
        own.replace(&world.client, &other),
        own.replace("kv_req_", "kv_code_"),
        format!("{own}x"),
        // What stands beside the name is not looked at.
    ] {
        let told = browser.open(&path).await;
        assert_eq!(told.status, 400, "{path}: {told}");
    }
    let beside = format!("{own}&scope=tools%3Acall%3A*&redirect_uri=https%3A%2F%2Fevil.example");
    let asks = browser.open(&beside).await.expect(303);
    let page = browser.open(asks.header("location")).await.expect(200);
    assert!(!page.text.contains("tools:call:*"), "{page}");
    assert!(!page.text.contains("evil.example"), "{page}");
    let late = world.pushed_name().await;
    world.app.advance(90);
    assert_eq!(browser.open(&world.named(&late)).await.status, 400);
    // Who came in time has half an hour.
    browser.open(asks.header("location")).await.expect(200);
    world.app.advance(1_800);
    let over = browser.open(asks.header("location")).await;
    assert_eq!(over.status, 400, "{over}");
}

/// What would be told to a human later is told to the client at once.
#[tokio::test]
async fn what_is_wrong_is_told_when_it_is_pushed() {
    let world = world().await;
    for (wrong, status, code) in [
        (("client_id", ""), 401, "invalid_client"),
        (
            ("client_id", "client_01h455vb4pex5vsknk084sn02q"),
            401,
            "invalid_client",
        ),
        (
            ("redirect_uri", "https://evil.example/cb"),
            400,
            "invalid_request",
        ),
        (("redirect_uri", ""), 400, "invalid_request"),
        (("scope", "mail:read"), 400, "invalid_scope"),
        (
            ("resource", "https://other.example.com/mcp"),
            400,
            "invalid_target",
        ),
        (("response_type", "token"), 400, "unsupported_response_type"),
        (("code_challenge_method", "plain"), 400, "invalid_request"),
        (
            ("request_uri", "urn:ietf:params:oauth:request_uri:kv_req_x"),
            400,
            "invalid_request",
        ),
        (("request", "x"), 400, "request_not_supported"),
        (
            ("authorization_details", "[]"),
            400,
            "invalid_authorization_details",
        ),
    ] {
        error(&world.pushed(&[wrong]).await, status, code);
    }
    let long = "x".repeat(1_025);
    error(
        &world.pushed(&[("state", &long)]).await,
        400,
        "invalid_request",
    );
    let long = format!("{SCOPE} {}", "x".repeat(8 * 1_024));
    let refused = world.pushed(&[("scope", &long)]).await;
    error(&refused, 400, "invalid_scope");
    let long = "consent ".repeat(2 * 1_024);
    let refused = world.pushed(&[("prompt", &long)]).await;
    error(&refused, 400, "invalid_request");
    // What nobody knows means nothing, however long it is, and is not kept.
    world.pushed(&[("other", &long)]).await.expect(201);
}

/// Anybody may push in the name of a client that keeps no secret: where there is no room, they give way of whom there are most.
#[tokio::test]
async fn a_flood_in_a_clients_name_ends_no_others_request() {
    let world = world().await;
    let honest = world.pushed_name().await;
    world.app.advance(1);
    let mut flood = Vec::new();
    for network in 1..=17 {
        let address = format!("127.1.{network}.1");
        for _ in 0..60 {
            let call = world.app.anonymous().from(&address);
            let pushed = world.pushed_by(call, &[]).await.expect(201);
            flood.push(pushed.text_at("/request_uri").to_owned());
        }
    }
    let browser = world.browser();
    let mut gone = 0;
    for name in &flood {
        let told = browser.open(&world.named(name)).await;
        gone += usize::from(told.status == 400);
    }
    assert_eq!(gone, 1 + flood.len() - 1_000);
    browser.open(&world.named(&honest)).await.expect(303);
}

#[tokio::test]
async fn who_registered_to_push_does() {
    let world = world().await;
    let new = json!({
        "name": "Careful", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none",
        "requirePushedRequests": true,
    });
    let id = client(&world.app, new).await.id().to_owned();
    let world = World {
        client: id,
        ..world
    };
    let plain = world.asked(&[]).await.expect(303);
    let location = plain.header("location");
    assert_eq!(brought(location, "error").unwrap(), "invalid_request");
    let name = world.pushed_name().await;
    let page = world.begun(&name).await;
    let location = world.decided(&page, "allow").await;
    assert!(brought(&location, "code").is_some(), "{location}");
}

/// RFC 9449, section 10.1: the proof that comes with it is the key of whoever redeems.
#[tokio::test]
async fn a_proof_binds_what_is_pushed() {
    let world = world().await;
    let push = async |proof: &str, other: &[(&str, &str)]| {
        let call = world.app.anonymous().header("dpop", proof);
        world.pushed_by(call, other).await
    };
    let bare = push(&proof_for(&world.app, PAR, (7, None)), &[]).await;
    error(&bare, 400, "use_dpop_nonce");
    let nonce = bare.header("dpop-nonce");
    let proof = || proof_for(&world.app, PAR, (7, Some(nonce)));
    let first = proof();
    let pushed = push(&first, &[]).await.expect(201);
    error(&push(&first, &[]).await, 400, "invalid_dpop_proof");
    let other = [("dpop_jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")];
    let crossed = push(&proof(), &other).await;
    error(&crossed, 400, "invalid_request");
    let page = world.begun(pushed.text_at("/request_uri")).await;
    let location = world.decided(&page, "allow").await;
    let code = brought(&location, "code").unwrap();
    assert_eq!(world.redeem(&code, &[]).await.status, 400);
    // A nonce that is over soon is replaced with the answer.
    world.app.advance(120);
    let told = push(&proof(), &[]).await.expect(201);
    let next = told.header("dpop-nonce");
    assert!(!next.is_empty() && next != nonce, "{told}");
}

/// Strangers' refusals fill no disk, also where what they show is read before.
#[tokio::test]
async fn a_proof_that_is_pushed_again_and_again_leaves_few_records() {
    let world = world().await;
    let bare = world.app.anonymous();
    let bare = bare.header("dpop", &proof_for(&world.app, PAR, (1, None)));
    let told = world.pushed_by(bare, &[]).await;
    let nonce = told.header("dpop-nonce");
    let proof = proof_for(&world.app, PAR, (1, Some(nonce)));
    let push = || world.pushed_by(world.app.anonymous().header("dpop", &proof), &[]);
    push().await.expect(201);
    for _ in 0..30 {
        assert_eq!(push().await.status, 400);
    }
    // A refusal does not wait for its record; what is done after it does.
    world.app.user().await;
    let records = world.app.audit("kind=refusal").await;
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|record| record["actor"] == "stranger"));
    let pushed = world.app.audit("kind=authorization.pushed").await;
    assert!(pushed.is_empty(), "{pushed:?}");
}
