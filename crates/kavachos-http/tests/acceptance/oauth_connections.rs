//! What a human let clients be: they see it, with where it is used, and end it, in part or all of it. Nobody else does.

use futures_util::future::join_all;
use http::Method;
use kavachos_test::{Call, Reply};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::oauth_clients::{AT_SITE, SCOPE, World, brought, client, error, world, world_of};
use crate::races::{First, ban_of_a_stranger};
use crate::tokens::{TOOLS, judged};

const CONNECTIONS: &str = "/api/v1/connections";
const PAGE: &str = "/account/connections";

impl World {
    fn own(&self) -> Call {
        self.app.call(&self.session)
    }

    /// What the human is told of the only application that they let in.
    async fn told(&self) -> Value {
        let all = self.own().get(CONNECTIONS).await.expect(200);
        assert_eq!(all.rows().len(), 1, "{all}");
        let one = self.own().get(&path(&all.rows()[0])).await.expect(200);
        one.at("/data").clone()
    }

    /// Tokens that came of a yes at a site, which is remembered.
    async fn let_in_at_site(&self) -> Reply {
        let location = self.allowed(&[AT_SITE]).await;
        let code = brought(&location, "code").expect("there is a code");
        self.redeem(&code, &[AT_SITE]).await.expect(200)
    }

    /// What comes of a client that asks without a page.
    async fn unasked(&self) -> String {
        let asks = self.asked(&[AT_SITE, ("prompt", "none")]).await.expect(303);
        let page = self.browser().open(asks.header("location")).await;
        let location = page.expect(303).header("location").to_owned();
        brought(&location, "error").unwrap_or_else(|| "code".to_owned())
    }

    async fn lives(&self, tokens: &Reply) -> bool {
        let lives = judged(&self.app, tokens.text_at("/access_token")).await;
        let next = self.refresh(tokens.text_at("/refresh_token")).await;
        match lives {
            Ok(()) => next.expect(200),
            Err(_) => {
                error(&next, 400, "invalid_grant");
                return false;
            }
        };
        true
    }
}

fn path(connection: &Value) -> String {
    format!("{CONNECTIONS}/{}", connection["agentId"].as_str().unwrap())
}

fn line(connection: &Value, index: usize) -> String {
    let line = connection["lines"][index]["id"].as_str().unwrap();
    format!("{}/lines/{line}", path(connection))
}

fn consent(connection: &Value) -> String {
    let server = connection["resources"][0]["resourceId"].as_str().unwrap();
    format!("{}/consents/{server}", path(connection))
}

#[tokio::test]
async fn a_human_sees_what_they_let_in_and_where_it_is_used() {
    let world = world().await;
    let none = world.own().get(CONNECTIONS).await.expect(200);
    assert!(none.rows().is_empty(), "{none}");
    let begun = world.app.kavach().engine().now();
    let first = world.let_in().await;
    world.app.advance(60);
    let second = world.let_in_at_site().await;
    let at_site = world.app.kavach().engine().now();
    world.app.advance(60);
    let bound = "A".repeat(43);
    world.allowed(&[("dpop_jkt", &bound)]).await;
    let next = world.refresh(first.text_at("/refresh_token")).await;
    next.expect(200);
    let used = world.app.kavach().engine().now();
    let told = world.told().await;
    for (member, value) in [
        ("clientId", json!(world.client)),
        ("userId", json!(world.user)),
        ("name", json!("Editor")),
        ("status", json!("active")),
        ("source", json!("operator")),
        ("host", Value::Null),
        ("redirectHosts", json!(["127.0.0.1", "app.example.com"])),
        ("since", json!(begun)),
        ("usedAt", json!(used)),
    ] {
        assert_eq!(told[member], value, "{member}: {told}");
    }
    let to = &told["resources"][0];
    assert_eq!(to["name"], "tools");
    assert_eq!(to["audience"], TOOLS);
    assert_eq!(to["since"], json!(begun));
    assert_eq!(to["usedAt"], json!(used));
    assert_eq!(to["rememberedSince"], json!(at_site));
    let scope = json!({ "name": SCOPE, "description": "call tools", "held": true });
    assert_eq!(to["scopes"], json!([scope]));
    let lines = told["lines"].as_array().unwrap();
    let member = |name: &str| lines.iter().map(|line| line[name].clone()).collect();
    let (states, keys, uses): (Value, Value, Value) =
        (member("status"), member("bound"), member("usedAt"));
    assert_eq!(states, json!(["waiting", "active", "active"]));
    assert_eq!(keys, json!([true, false, false]));
    assert_eq!(uses, json!([null, at_site, used]));
    // Nothing of it is a credential, or what one is known by.
    let whole = told.to_string();
    for tokens in [&first, &second] {
        for name in ["/access_token", "/refresh_token"] {
            assert!(!whole.contains(tokens.text_at(name)), "{whole}");
        }
    }
    let name = lines[0]["id"].as_str().unwrap();
    assert_eq!(name.len(), 32, "{name}");
    // A code that nobody redeems comes to nothing.
    world.app.advance(60);
    assert_eq!(world.told().await["lines"][0]["status"], "ended");
}

/// What somebody took away since is told, and so is what died with the human.
#[tokio::test]
async fn what_it_has_no_more_is_told() {
    let world = world().await;
    world.let_in().await;
    let told = world.told().await;
    let agent = format!("/api/v1/agents/{}", told["agentId"].as_str().unwrap());
    let narrower = kavachos_test::may(&["search"], SCOPE);
    let change = json!({ "permissions": narrower });
    world.app.operator().patch(&agent, change).await.expect(200);
    let told = world.told().await;
    assert_eq!(told["resources"][0]["scopes"][0]["held"], false);
    assert_eq!(told["lines"][0]["status"], "active");
    for turn in ["ban", "unban"] {
        let path = format!("/api/v1/users/{}/{turn}", world.user);
        world
            .app
            .operator()
            .post(&path, json!({}))
            .await
            .expect(200);
    }
    let world = World {
        session: world.app.session(&world.user).await.token,
        ..world
    };
    let told = world.told().await;
    assert_eq!(told["lines"][0]["status"], "ended");
    assert_eq!(told["lines"][0]["endsAt"], Value::Null);
}

#[tokio::test]
async fn a_line_that_is_ended_is_dead_and_the_others_go_on() {
    let world = world().await;
    let stolen = world.let_in().await;
    world.app.advance(1);
    let own = world.let_in().await;
    let told = world.told().await;
    // To stop is always easy: the session is not fresh any more.
    world.app.advance(200);
    judged(&world.app, stolen.text_at("/access_token"))
        .await
        .unwrap();
    world.app.advance(600);
    let own = world
        .refresh(own.text_at("/refresh_token"))
        .await
        .expect(200);
    let stolen = world.refresh(stolen.text_at("/refresh_token")).await;
    let stolen = stolen.expect(200);
    for _ in 0..2 {
        let ended = world.own().delete(&line(&told, 1)).await.expect(200);
        assert_eq!(ended.at("/data/state"), "closed", "{ended}");
    }
    assert!(!world.lives(&stolen).await);
    assert!(world.lives(&own).await);
    let lines = world.told().await["lines"].clone();
    assert_eq!(lines[0]["status"], "active");
    assert_eq!(lines[1]["status"], "ended");
    let records = world.app.audit("kind=connection.line_ended").await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["details"]["why"], "stopped");
    assert_eq!(records[0]["subject"], json!(world.user));
    let actor = records[0]["actor"].as_str().unwrap();
    assert!(actor.starts_with("person_"), "{records:?}");
}

/// A line is ended by the connection that it is of, and what is no line is none.
#[tokio::test]
async fn a_line_is_named_below_its_own_connection() {
    let world = world().await;
    let tokens = world.let_in().await;
    let editor = world.told().await;
    let other =
        json!({ "name": "Other", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none" });
    let other = World {
        client: client(&world.app, other).await.id().to_owned(),
        ..world
    };
    other.let_in().await;
    let all = other.own().get(CONNECTIONS).await.expect(200);
    // Newest first.
    let names: Vec<&Value> = all.rows().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["Other", "Editor"]);
    let newest = &all.rows()[0];
    let crossed = line(&editor, 0).replace(&path(&editor), &path(newest));
    let crossed = other.own().delete(&crossed).await;
    crossed.refused(404, "not_found");
    let unknown = format!("{}/lines/{}", path(newest), "0".repeat(32));
    other.own().delete(&unknown).await.refused(404, "not_found");
    let hash = format!("{}/lines/{}", path(newest), "0".repeat(64));
    let told = other.own().delete(&hash).await;
    assert_eq!(told.refused(400, "malformed_request").field(), "line");
    let odd = format!("{}/consents/x", path(newest));
    let told = other.own().delete(&odd).await;
    assert_eq!(told.refused(400, "malformed_request").field(), "resource");
    let world = World {
        client: editor["clientId"].as_str().unwrap().to_owned(),
        ..other
    };
    assert!(world.lives(&tokens).await);
    // Page by page.
    let first = world.own().get(&format!("{CONNECTIONS}?limit=1")).await;
    let cursor = first.expect(200).text_at("/nextCursor").to_owned();
    let second = format!("{CONNECTIONS}?limit=1&cursor={cursor}");
    let second = world.own().get(&second).await.expect(200);
    assert_eq!(second.at("/data/0/name"), "Editor");
    assert_eq!(second.at("/nextCursor"), &Value::Null);
    // An agent that is no application is no connection.
    let made = kavachos_test::may(&["read"], "mcp:x");
    let agent = world.app.agent(&world.user, made).await;
    let path = format!("{CONNECTIONS}/{}", agent.id);
    world.own().get(&path).await.refused(404, "not_found");
    world.own().delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn an_application_that_is_ended_is_ended_everywhere_and_begins_anew() {
    let world = world().await;
    let lines = [world.let_in().await, world.let_in_at_site().await];
    let code = world.code().await;
    let told = world.told().await;
    for _ in 0..2 {
        world.own().delete(&path(&told)).await.expect(200);
    }
    for tokens in &lines {
        assert!(!world.lives(tokens).await);
    }
    error(&world.redeem(&code, &[]).await, 400, "invalid_grant");
    let ended = world.told().await;
    assert_eq!(ended["status"], "revoked");
    assert_eq!(ended["resources"][0]["scopes"][0]["held"], false);
    for line in ended["lines"].as_array().unwrap() {
        assert_eq!(line["status"], "ended");
    }
    assert_eq!(world.unasked().await, "consent_required");
    let records = world.app.audit("kind=agent.revoked").await;
    assert_eq!(records.len(), 1, "{records:?}");
    let again = world.let_in().await;
    let all = world.own().get(CONNECTIONS).await.expect(200);
    assert_eq!(all.rows().len(), 2, "{all}");
    assert_ne!(all.rows()[0]["agentId"], told["agentId"]);
    assert!(world.lives(&again).await);
}

#[tokio::test]
async fn who_takes_back_a_yes_is_asked_again_and_what_was_given_goes_on() {
    let world = world().await;
    let tokens = world.let_in_at_site().await;
    assert_eq!(world.unasked().await, "code");
    let told = world.told().await;
    for _ in 0..2 {
        world.own().delete(&consent(&told)).await.expect(200);
    }
    assert_eq!(world.unasked().await, "consent_required");
    let now = world.told().await;
    assert_eq!(now["resources"][0]["rememberedSince"], Value::Null);
    assert!(world.lives(&tokens).await);
    let records = world.app.audit("kind=connection.consent_withdrawn").await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(
        records[0]["details"]["resource"],
        told["resources"][0]["resourceId"]
    );
    // The twin: said anew, it is remembered anew.
    world.let_in_at_site().await;
    assert_eq!(world.unasked().await, "code");
}

/// Of a client that comes unasked and a yes that is taken back at the same time, none comes in afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_comes_in_by_a_yes_that_was_taken_back() {
    let world = world().await;
    world.let_in_at_site().await;
    let told = world.told().await;
    let taken_back = async {
        world.own().delete(&consent(&told)).await.expect(200);
    };
    let ((), came) = tokio::join!(taken_back, join_all((0..24).map(|_| world.unasked())));
    for outcome in came {
        assert!(["code", "consent_required"].contains(&outcome.as_str()));
    }
    let records = world.app.audit("limit=100").await;
    let mut kinds = records.iter().map(|record| &record["kind"]);
    let last = kinds.find(|kind| {
        let kinds = ["connection.consented", "connection.consent_withdrawn"];
        kinds.iter().any(|one| *kind == one)
    });
    assert_eq!(last.unwrap(), "connection.consent_withdrawn");
    assert_eq!(world.unasked().await, "consent_required");
}

#[tokio::test]
async fn a_yes_that_is_taken_back_before_the_commit_is_none() {
    for is_taken_back in [true, false] {
        let first = First::at("INSERT INTO authorization_codes ");
        let world = world_of(first.setup().start().await).await;
        world.let_in_at_site().await;
        let told = world.told().await;
        match is_taken_back {
            true => first.comes_with(world.own(), (Method::DELETE, consent(&told), Value::Null)),
            // The twin: what has nothing to do with it.
            false => first.comes_with(world.app.operator(), ban_of_a_stranger(&world.app).await),
        }
        let came = if is_taken_back {
            "consent_required"
        } else {
            "code"
        };
        assert_eq!(world.unasked().await, came);
        assert!(first.came());
    }
}

#[tokio::test]
async fn nobody_else_sees_or_ends_it() {
    let world = world().await;
    let tokens = world.let_in_at_site().await;
    let told = world.told().await;
    let app = &world.app;
    let acts = [
        (Method::GET, path(&told)),
        (Method::DELETE, line(&told, 0)),
        (Method::DELETE, consent(&told)),
        (Method::DELETE, path(&told)),
    ];
    let of = async |scopes: Value| {
        let key = json!({ "name": "k", "scopes": scopes });
        app.call(&app.key(key).await)
    };
    let other = app.user().await;
    let made = kavachos_test::may(&["*"], "*");
    let agent = app.agent(&world.user, made).await;
    let stranger = app.call(&app.session(&other).await.token);
    for (caller, status, code) in [
        (stranger.clone(), 404, "not_found"),
        (app.call(&agent.key), 403, "forbidden"),
        (
            of(json!(["users:write", "resources:write"])).await,
            403,
            "forbidden",
        ),
        (app.anonymous(), 401, "unauthenticated"),
    ] {
        for (method, path) in &acts {
            let reply = caller.send(method.clone(), path, None).await;
            reply.refused(status, code);
        }
    }
    let none = stranger.get(CONNECTIONS).await.expect(200);
    assert!(none.rows().is_empty(), "{none}");
    let named = format!("{CONNECTIONS}?userId={}", world.user);
    stranger.get(&named).await.refused(404, "not_found");
    // Who may read ends nothing.
    let reader = of(json!(["agents:read"])).await;
    for (method, path) in &acts {
        let reply = reader.send(method.clone(), path, None).await;
        match *method == Method::GET {
            true => reply.expect(200),
            false => reply.refused(403, "forbidden"),
        };
    }
    assert!(world.lives(&tokens).await);
    assert_eq!(world.unasked().await, "code");
    // Operators see everybody's, or one human's.
    let all = reader.get(CONNECTIONS).await.expect(200);
    assert_eq!(all.rows().len(), 1, "{all}");
    assert_eq!(reader.get(&named).await.expect(200).rows().len(), 1);
    let others = format!("{CONNECTIONS}?userId={other}");
    assert!(reader.get(&others).await.expect(200).rows().is_empty());
    // The twin.
    let writer = of(json!(["agents:write"])).await;
    for (method, path) in &acts[1..] {
        writer.send(method.clone(), path, None).await.expect(200);
    }
}

/// Whoever acts in a human's name stops what is theirs, on record as who they are, and lets nobody in.
#[tokio::test]
async fn an_impersonator_ends_it_under_their_own_name_and_lets_nobody_in() {
    let world = world().await;
    world.let_in_at_site().await;
    let told = world.told().await;
    let scopes = json!(["sessions:write", "users:impersonate"]);
    let key = json!({ "name": "support", "scopes": scopes });
    let key = world.app.operator().post("/api/v1/keys", key).await;
    let key = key.expect(201);
    let open = format!("/api/v1/users/{}/impersonate", world.user);
    let call = world.app.call(key.text_at("/data/token"));
    let opened = call.post(&open, json!({ "reason": "ticket 7" })).await;
    let acting = opened.expect(201).text_at("/data/token").to_owned();
    let ended = world.app.call(&acting).delete(&line(&told, 0)).await;
    ended.expect(200);
    let records = world.app.audit("kind=connection.line_ended").await;
    assert_eq!(records[0]["impersonator"], json!(key.id()), "{records:?}");
    let asks = world.asked(&[AT_SITE]).await.expect(303);
    let page = asks.header("location");
    let shown = Browser::of(&world.app, &acting).open(page).await;
    assert_eq!(shown.status, 403, "{shown}");
}

#[tokio::test]
async fn the_pages_show_it() {
    let world = world().await;
    let browser = world.browser();
    let empty = browser.open(PAGE).await.expect(200);
    assert!(empty.text.contains("No connections yet"), "{empty}");
    world.let_in_at_site().await;
    world.let_in().await;
    let told = world.told().await;
    let agent = told["agentId"].as_str().unwrap();
    let one = format!("{PAGE}/{agent}");
    let list = browser.open(PAGE).await.expect(200);
    for text in [
        "Editor",
        &one,
        "tools",
        "in use 2 times",
        "registered by whoever runs",
    ] {
        assert!(list.text.contains(text), "{text}: {list}");
    }
    let shown = browser.open(&one).await.expect(200);
    for text in [
        "call tools",
        SCOPE,
        TOOLS,
        "app.example.com",
        "Ask me next time",
        "not bound to a key",
        &world.client,
    ] {
        assert!(shown.text.contains(text), "{text}: {shown}");
    }
    assert!(!shown.text.contains("not all of it now"), "{shown}");
    let own = browser.open(&format!("/account/agents/{agent}")).await;
    let own = own.expect(200);
    assert!(own.text.contains("application that you let in"), "{own}");
    assert!(own.text.contains(&one) && !own.text.contains("Key works until"));
}

#[tokio::test]
async fn the_pages_end_it() {
    let world = world().await;
    let browser = world.browser();
    let first = world.let_in_at_site().await;
    let second = world.let_in().await;
    let told = world.told().await;
    let one = path(&told).replace(CONNECTIONS, PAGE);
    // In a session that is not fresh any more.
    world.app.advance(700);
    let first = world.refresh(first.text_at("/refresh_token")).await;
    let second = world.refresh(second.text_at("/refresh_token")).await;
    let (first, second) = (first.expect(200), second.expect(200));
    // Another human's it is not, and a form is sent from a page of ours.
    let other = world.app.user().await;
    let other = world.app.session(&other).await.token;
    let theirs = Browser::of(&world.app, &other);
    let end_line = line(&told, 0).replace(CONNECTIONS, PAGE) + "/end";
    let withdraw = consent(&told).replace(CONNECTIONS, PAGE) + "/withdraw";
    let end = format!("{one}/end");
    assert_eq!(theirs.open(&one).await.status, 404);
    for form in [&end_line, &withdraw, &end] {
        assert_eq!(theirs.send(PAGE, form, &[]).await.status, 404, "{form}");
        assert_eq!(browser.send_with("none", form, &[]).await.status, 403);
    }
    let said = browser.send(&one, &end_line, &[]).await.expect(200);
    assert!(said.text.contains("is stopped"), "{said}");
    let newest_is_ended = !world.lives(&second).await;
    assert!(newest_is_ended && world.lives(&first).await);
    browser.send(&one, &withdraw, &[]).await.expect(200);
    assert_eq!(world.unasked().await, "consent_required");
    let asked = browser.open(&end).await.expect(200);
    assert!(asked.text.contains("End Editor?"), "{asked}");
    let ended = browser.send(&end, &end, &[]).await.expect(200);
    assert!(ended.text.contains("Editor is stopped"), "{ended}");
    let first = world.app.audit("kind=agent.revoked").await;
    assert_eq!(first.len(), 1, "{first:?}");
    let over = browser.open(&one).await.expect(200);
    assert!(over.text.contains("Nowhere now"), "{over}");
    for text in [withdraw.as_str(), "not all of it now"] {
        assert!(!over.text.contains(text), "{text}: {over}");
    }
}
