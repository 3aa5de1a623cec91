//! OAuth: how much one request, one network and one human may ask for, and what is told apart where a human is asked.

use kavachos_test::kavachos::engine::Rehearsal;
use kavachos_test::{ProviderSigner, Reply, may};
use serde_json::{Value, json};

use crate::browser::{hidden, mark};
use crate::exchange::TOKEN;
use crate::oauth_client_auth::{keys, signing};
use crate::oauth_clients::{AT_SITE, World, brought, client, error, query, world, world_of};
use crate::oauth_device::{GRANT, living_room};
use crate::restore::{log_of, restore};

const PAR: &str = "/oauth/par";

/// What comes of a request that is pushed, with further parameters behind those that it has.
async fn pushed(world: &World, other: &[(&str, &str)], more: &[(&str, &str)]) -> Reply {
    let all = query(&world.client, other);
    let all = form_urlencoded::parse(all.as_bytes()).into_owned();
    let all: Vec<(String, String)> = all.collect();
    let all = all
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> = all.chain(more.iter().copied()).collect();
    world.app.anonymous().post_form(PAR, &all).await
}

#[tokio::test]
async fn one_request_asks_for_so_much_and_no_more() {
    let world = world().await;
    let names = |count: usize| -> String {
        let names = (0..count).map(|n| format!("tools:call:t{n}"));
        names.collect::<Vec<_>>().join(" ")
    };
    let long = format!("tools:call:search {}", "a".repeat(8 * 1024));
    for (scope, why) in [
        (names(101), "at most 100 scopes"),
        (names(65), "at most 64 scopes"),
        (long, "longer than 8192 bytes"),
    ] {
        let told = pushed(&world, &[("scope", &scope)], &[]).await;
        error(&told, 400, "invalid_scope");
        assert!(told.text.contains(why), "{told}");
    }
    let servers = |count: usize| {
        let servers = (0..count).map(|n| format!("https://t{n}.example.com/mcp"));
        servers.collect::<Vec<_>>()
    };
    for (count, is_many) in [(9, false), (10, true)] {
        let more = servers(count);
        let more: Vec<(&str, &str)> = more.iter().map(|one| ("resource", one.as_str())).collect();
        let told = pushed(&world, &[], &more).await;
        error(&told, 400, "invalid_target");
        assert_eq!(told.text.contains("more than 10"), is_many, "{told}");
    }
    // The twin.
    let most = names(64);
    let taken = pushed(&world, &[("scope", &most)], &[]).await;
    taken.expect(201);
}

/// To go on without them would give more than is asked for.
#[tokio::test]
async fn nobody_shows_a_code_and_asks_for_details() {
    let details = ("authorization_details", "[]");
    let browser = world().await;
    let code = browser.code().await;
    let told = browser.redeem(&code, &[details]).await;
    error(&told, 400, "invalid_authorization_details");
    let device = living_room().await;
    let codes = device.codes().await;
    device.says(&codes.user, "allow").await;
    let fields = [
        ("grant_type", GRANT),
        ("client_id", device.client.as_str()),
        ("device_code", codes.device.as_str()),
        details,
    ];
    let told = device.app.anonymous().post_form(TOKEN, &fields).await;
    error(&told, 400, "invalid_authorization_details");
    // The twins: without them both are good still.
    browser.redeem(&code, &[]).await.expect(200);
    device.poll(&codes.device).await.expect(200);
}

#[tokio::test]
async fn strangers_push_so_many_requests() {
    let world = world().await;
    for _ in 0..60 {
        pushed(&world, &[], &[]).await.expect(201);
    }
    let late = pushed(&world, &[], &[]).await;
    error(&late, 429, "temporarily_unavailable");
    world.app.advance(61);
    pushed(&world, &[], &[]).await.expect(201);
}

/// Each of them is on record.
#[tokio::test]
async fn an_application_refreshes_so_often_and_loses_nothing_by_more() {
    let setup = crate::setup().settings(|settings| settings.refreshes_per_minute = 3);
    let world = world_of(setup.start().await).await;
    let tokens = world.let_in().await;
    let mut next = tokens.text_at("/refresh_token").to_owned();
    for _ in 0..3 {
        let tokens = world.refresh(&next).await.expect(200);
        tokens.text_at("/refresh_token").clone_into(&mut next);
    }
    let records = async || world.app.audit("kind=token.issued").await.len();
    let before = records().await;
    world.app.advance(20);
    for _ in 0..5 {
        let late = world.refresh(&next).await;
        error(&late, 429, "temporarily_unavailable");
        assert_eq!(late.header("retry-after"), "40", "{late}");
    }
    assert_eq!(records().await, before);
    // What another human let it in as has its own, and the same token is good again.
    let user = world.app.user().await;
    let session = world.app.session(&user).await.token;
    let (mine, world) = (world.session.clone(), World { session, ..world });
    let others = world.let_in().await;
    world
        .refresh(others.text_at("/refresh_token"))
        .await
        .expect(200);
    let world = World {
        session: mine,
        ..world
    };
    world.app.advance(41);
    world.refresh(&next).await.expect(200);
}

#[tokio::test]
async fn one_human_lets_in_sixty_times_an_hour() {
    let world = world().await;
    for _ in 0..60 {
        let location = world.allowed(&[]).await;
        assert!(brought(&location, "code").is_some(), "{location}");
    }
    let asks = world.asked(&[]).await.expect(303);
    let page = asks.header("location");
    let shown = world.browser().open(page).await.expect(200);
    assert_eq!(world.sent(&shown, "allow").await.status, 429);
}

/// An application is one of the agents of a human, as many as they may have, and hands on nothing.
#[tokio::test]
async fn an_application_is_an_agent_among_a_humans_agents() {
    let setup = crate::setup().settings(|settings| settings.agents_per_owner = 2);
    let world = world_of(setup.start().await).await;
    world.let_in().await;
    let operator = world.app.operator();
    let agents = operator.get("/api/v1/agents").await.expect(200);
    let own = agents.rows()[0]["id"].as_str().unwrap().to_owned();
    let own = operator.get(&format!("/api/v1/agents/{own}")).await;
    assert_eq!(own.expect(200).at("/data/maxDepth"), 0);
    // Once more as the same agent; another one has no room.
    world.app.agent(&world.user, may(&["read"], "mcp:x")).await;
    world.let_in().await;
    let new =
        json!({ "name": "Other", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none" });
    let other = client(&world.app, new).await;
    let world = World {
        client: other.id().to_owned(),
        ..world
    };
    let asks = world.asked(&[]).await.expect(303);
    let page = asks.header("location");
    let shown = world.browser().open(page).await.expect(200);
    let told = world.sent(&shown, "allow").await;
    assert_ne!(told.status, 303, "{told}");
    let agents = operator.get("/api/v1/agents").await.expect(200);
    assert_eq!(agents.rows().len(), 2);
}

/// Another key of a client, which signs who it is, is asked about anew.
#[tokio::test]
async fn a_yes_is_to_a_clients_keys() {
    let world = world().await;
    let id = signing(&world.app, &[ProviderSigner::P256]).await;
    let world = World {
        client: id,
        ..world
    };
    world.allowed(&[AT_SITE]).await;
    let silent = async || {
        let asks = world.asked(&[AT_SITE, ("prompt", "none")]).await;
        let page = asks.expect(303).header("location").to_owned();
        let sent = world.browser().open(&page).await.expect(303);
        brought(sent.header("location"), "code").is_some()
    };
    assert!(silent().await);
    let both = keys(&[ProviderSigner::P256, ProviderSigner::Ed25519]);
    change(&world, &client_path(&world), json!({ "jwks": both })).await;
    assert!(!silent().await);
}

fn client_path(world: &World) -> String {
    format!("/api/v1/clients/{}", world.client)
}

async fn change(world: &World, path: &str, change: Value) {
    world.app.operator().patch(path, change).await.expect(200);
}

/// A human says yes to what they were shown: to this client by this name, at this place, for this tool server.
#[tokio::test]
async fn a_yes_is_to_what_was_shown() {
    let world = world().await;
    let shown_at = async |other: &[(&str, &str)]| {
        let asks = world.asked(other).await.expect(303);
        let page = asks.header("location").to_owned();
        world.browser().open(&page).await.expect(200)
    };
    let servers = world.app.operator().get("/api/v1/resources").await;
    let server = servers.expect(200).rows()[0]["id"].clone();
    let server = format!("/api/v1/resources/{}", server.as_str().unwrap());
    for path in [client_path(&world), server] {
        let shown = shown_at(&[]).await;
        change(&world, &path, json!({ "name": "Another" })).await;
        let again = world.sent(&shown, "allow").await.expect(200);
        assert!(again.text.contains("changed while you read"), "{again}");
    }
    // What was shown of one place is no yes to another.
    let (here, there) = (shown_at(&[]).await, shown_at(&[AT_SITE]).await);
    let of = |page: &Reply, name| hidden(page, name);
    for (shown, expected) in [(&here, 200), (&there, 303)] {
        let fields = [
            of(&there, "request"),
            of(&there, "since"),
            of(shown, "shown"),
        ];
        let fields = [
            ("request", fields[0].as_str()),
            ("since", fields[1].as_str()),
            ("shown", fields[2].as_str()),
            ("decision", "allow"),
        ];
        let browser = world.browser();
        let sent = browser.send_with(&mark(&there), "/consent", &fields).await;
        assert_eq!(sent.status, expected, "{sent}");
    }
}

/// Both may have been answered since the backup was made.
#[tokio::test]
async fn what_waited_when_a_backup_was_made_waits_no_more() {
    let device = living_room().await;
    let codes = device.codes().await;
    let waits = device.poll(&codes.device).await;
    error(&waits, 400, "authorization_pending");
    let browser = world().await;
    let name = pushed(&browser, &[], &[]).await.expect(201);
    let path = [
        ("client_id", browser.client.as_str()),
        ("request_uri", name.text_at("/request_uri")),
    ];
    let path = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(path)
        .finish();
    let path = format!("/oauth/authorize?{path}");
    browser.browser().open(&path).await.expect(303);
    for app in [&device.app, &browser.app] {
        restore(app, Some(log_of(app).await), Rehearsal::No).await;
        app.advance(5);
    }
    error(&device.poll(&codes.device).await, 400, "invalid_grant");
    let session = browser.app.session(&browser.user).await.token;
    let browser = World { session, ..browser };
    let told = browser.browser().open(&path).await;
    assert_eq!(told.status, 400, "{told}");
}
