//! Operators look after OAuth clients: they list, change and end them, and give them new secrets.

use base64::Engine as _;
use kavachos_engine::Registration;
use kavachos_test::{Reply, TestApp, may};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::exchange::TOKEN;
use crate::moving::export;
use crate::oauth_clients::{
    AT_SITE, AUTHORIZE, CLIENTS, REDIRECT, SITE, World, brought, client, error, query, world,
    world_of,
};
use crate::oauth_registration::REGISTER;
use crate::tokens::{TOOLS, judged};

fn site(name: &str) -> Value {
    json!({ "name": name, "redirectUris": [SITE, "http://127.0.0.1/cb"] })
}

/// The path of a client, also of one whose id is an address.
fn path(id: &str) -> String {
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("{CLIENTS}/{id}")
}

/// A human who said yes to a client that shows a secret, and the secret.
async fn with_secret() -> (World, String) {
    let world = world().await;
    let made = client(&world.app, site("Site")).await;
    let secret = made.text_at("/data/token").to_owned();
    let world = World {
        client: made.id().to_owned(),
        ..world
    };
    (world, secret)
}

async fn refresh(world: &World, secret: &str, token: &str) -> Reply {
    let pair = format!("{}:{secret}", world.client);
    let basic = base64::prelude::BASE64_STANDARD.encode(pair);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let call = world.app.anonymous();
    let call = call.header("authorization", &format!("Basic {basic}"));
    call.post_form(TOKEN, &fields).await
}

const DOCUMENT: &str = "https://app.example.com/client.json";

/// A server with clients of every kind, newest first: two of operators, one that is denied, one that registered itself, and one
/// more of the same moment.
async fn of_every_kind() -> (TestApp, Vec<String>) {
    let setup = crate::setup().settings(|settings| settings.registration = Registration::Open);
    let app = setup.start().await;
    let deny = format!("{}/deny", path(DOCUMENT));
    let mut made = Vec::new();
    for name in ["a", "b"] {
        made.push(client(&app, site(name)).await.id().to_owned());
        app.advance(1);
    }
    app.operator().post(&deny, json!({})).await.expect(200);
    made.push(DOCUMENT.to_owned());
    app.advance(1);
    let said = json!({ "redirect_uris": [SITE] });
    let itself = app.anonymous().post(REGISTER, said).await.expect(201);
    made.push(itself.text_at("/client_id").to_owned());
    // Of the same moment.
    made.push(client(&app, site("c")).await.id().to_owned());
    made.reverse();
    made[..2].sort_by(|one, other| other.cmp(one));
    (app, made)
}

fn ids(reply: &Reply) -> Vec<String> {
    let rows = reply.rows().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn clients_are_listed_newest_first_in_pages() {
    let (app, all) = of_every_kind().await;
    let list = async |query: &str| app.operator().get(&format!("{CLIENTS}{query}")).await;
    assert_eq!(ids(&list("").await.expect(200)), all);
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    while paged.len() < 9 {
        let page = list(&query).await.expect(200);
        paged.extend(ids(&page));
        match page.at("/nextCursor").as_str() {
            Some(cursor) => query = format!("?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    let others = format!("{}&status=active", query.trim_end_matches('='));
    for wrong in ["?cursor=1.2.3", &others] {
        let refused = list(wrong).await.refused(400, "malformed_request");
        assert_eq!(refused.field(), "cursor", "{wrong}");
    }
}

#[tokio::test]
async fn clients_are_listed_by_who_says_what_they_are_and_how_they_stand() {
    let (app, all) = of_every_kind().await;
    let list = async |query: &str| app.operator().get(&format!("{CLIENTS}{query}")).await;
    for (filter, count) in [
        ("?source=operator", 3),
        ("?source=itself", 1),
        ("?source=document", 1),
        ("?status=revoked", 1),
        ("?status=active", 4),
        ("?source=operator&status=revoked", 0),
    ] {
        assert_eq!(
            ids(&list(filter).await.expect(200)).len(),
            count,
            "{filter}"
        );
    }
    for (wrong, field) in [
        ("?source=nobody", "source"),
        ("?status=suspended", "status"),
    ] {
        let refused = list(wrong).await.refused(400, "malformed_request");
        assert_eq!(refused.field(), field, "{wrong}");
    }
    let shown = app.operator().get(&path(DOCUMENT)).await.expect(200);
    assert_eq!(shown.at("/data/source"), "document");
    assert_eq!(shown.at("/data/status"), "revoked");
    let one = app.operator().get(&path(&all[0])).await.expect(200);
    assert!(!one.text.contains("kv_client_"), "{one}");
}

#[tokio::test]
async fn a_client_is_changed_and_says_no_more_than_whoever_said_it_may() {
    let setup = crate::setup().settings(|settings| settings.registration = Registration::Open);
    let world = world_of(setup.start().await).await;
    let app = &world.app;
    let own = path(&world.client);
    let patch = async |path: &str, change: Value| app.operator().patch(path, change).await;
    world.allowed(&[AT_SITE]).await;
    let asked = async || {
        let asks = world.asked(&[AT_SITE]).await;
        world.browser().open(asks.header("location")).await.status
    };
    // Remembered, until the client is another one.
    assert_ne!(asked().await, 200);
    let other = "https://b.example/cb";
    let change = json!({ "name": "Kit", "redirectUris": [SITE, other], "dpopBound": true });
    let changed = patch(&own, change).await.expect(200);
    for (member, value) in [
        ("name", json!("Kit")),
        ("redirectUris", json!([SITE, other])),
        ("dpopBound", json!(true)),
        ("authMethod", json!("none")),
        ("grantTypes", json!(["authorization_code", "refresh_token"])),
    ] {
        assert_eq!(changed.at(&format!("/data/{member}")), &value, "{member}");
    }
    assert_eq!(asked().await, 200);
    assert_eq!(app.audit("kind=client.updated").await.len(), 1);
    for (change, field) in [
        (
            json!({ "redirectUris": ["javascript:alert(1)"] }),
            "redirectUris",
        ),
        (json!({ "redirectUris": [] }), "redirectUris"),
        (json!({ "name": "a\u{202e}b" }), "name"),
        (json!({ "grantTypes": ["password"] }), "grantTypes"),
        // One that is wrong among others is told, as nobody but strangers' programs means it.
        (
            json!({ "redirectUris": [SITE, "https:/b.example"] }),
            "redirectUris",
        ),
        (
            json!({ "grantTypes": ["authorization_code", "refresh"] }),
            "grantTypes",
        ),
        (json!({ "authMethod": "client_secret_basic" }), "authMethod"),
    ] {
        let refused = patch(&own, change).await;
        let refused = refused.refused(400, "malformed_request");
        assert_eq!(refused.field(), field);
    }
    // By an operator's hand strangers get no more than by their own.
    let said = json!({ "redirect_uris": [SITE] });
    let itself = app.anonymous().post(REGISTER, said).await.expect(201);
    let itself = path(itself.text_at("/client_id"));
    let more = json!({ "grantTypes": ["authorization_code", "client_credentials"] });
    let more = patch(&itself, more).await.expect(200);
    assert_eq!(more.at("/data/grantTypes"), &json!(["authorization_code"]));
    // What stands in a document is changed there, and what is over nowhere.
    let document = path("https://app.example.com/client.json");
    for what in ["deny", "allow"] {
        let path = format!("{document}/{what}");
        app.operator().post(&path, json!({})).await.expect(200);
    }
    let name = || json!({ "name": "x" });
    patch(&document, name()).await.refused(409, "conflict");
    app.operator().delete(&own).await.expect(200);
    patch(&own, name()).await.refused(409, "conflict");
}

/// Who takes the grant away takes the agent along, and whoever gives it again names one.
#[tokio::test]
async fn a_client_that_asks_for_itself_no_longer_is_no_agent() {
    let world = world().await;
    let app = &world.app;
    let agent = app.agent(&world.user, may(&["*"], "tools:call:*")).await;
    let new = json!({
        "name": "Job", "redirectUris": [SITE], "agent": agent.id,
        "grantTypes": ["authorization_code", "client_credentials"],
    });
    let made = client(app, new).await;
    let own = path(made.id());
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", made.id()),
        ("client_secret", made.text_at("/data/token")),
        ("resource", TOOLS),
    ];
    let ask = async || app.anonymous().post_form(TOKEN, &fields).await;
    let tokens = ask().await.expect(200);
    let token = tokens.text_at("/access_token");
    judged(app, token).await.unwrap();
    let keys = async || {
        let file = export(&app.operator()).await;
        let of_client = |line: &&str| line.contains("\"kv_client_\"");
        let is_active = |line: &&str| line.contains("\"status\":\"active\"");
        file.lines().filter(of_client).filter(is_active).count()
    };
    assert_eq!(keys().await, 1);
    let grants = |grants: &[&str]| json!({ "grantTypes": grants });
    let fewer = grants(&["authorization_code"]);
    let fewer = app.operator().patch(&own, fewer).await.expect(200);
    assert!(fewer.at("/data").get("agent").is_none(), "{fewer}");
    assert!(judged(app, token).await.is_err());
    assert_eq!(keys().await, 0);
    let both = ["authorization_code", "client_credentials"];
    let again = app.operator().patch(&own, grants(&both)).await;
    assert_eq!(again.refused(400, "malformed_request").field(), "agent");
    let mut named = grants(&both);
    named["agent"] = json!(agent.id);
    app.operator().patch(&own, named).await.expect(200);
    ask().await.expect(200);
}

/// A secret that was lost is worth nothing, nor what was made with it.
#[tokio::test]
async fn a_new_secret_takes_the_place_of_the_old_one() {
    let (world, old) = with_secret().await;
    let code = world.code().await;
    let tokens = world.redeem(&code, &[("client_secret", &old)]).await;
    let tokens = tokens.expect(200);
    let access = tokens.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    let rotate = format!("{}/rotate", path(&world.client));
    let once = world.app.operator().header("idempotency-key", "k");
    let rotated = once.post(&rotate, json!({})).await.expect(201);
    let new = rotated.text_at("/data/token").to_owned();
    assert_ne!(new, old);
    let again = once.post(&rotate, json!({})).await.expect(201);
    assert_eq!(again.at("/data/token"), &Value::Null);
    assert!(judged(&world.app, access).await.is_err());
    let token = tokens.text_at("/refresh_token");
    error(&refresh(&world, &old, token).await, 401, "invalid_client");
    let next = refresh(&world, &new, token).await.expect(200);
    judged(&world.app, next.text_at("/access_token"))
        .await
        .unwrap();
    assert_eq!(world.app.audit("kind=client.rotated").await.len(), 1);
    let public = json!({ "name": "Editor", "redirectUris": [SITE], "authMethod": "none" });
    let public = client(&world.app, public).await.id().to_owned();
    let none = format!("{}/rotate", path(&public));
    let none = world.app.operator().post(&none, json!({})).await;
    none.refused(409, "conflict");
}

/// RFC 7592, section 2.3: whoever ends a client, nothing goes on that was made for it.
#[tokio::test]
async fn the_end_of_a_client_ends_all_that_was_made_for_it() {
    for by_itself in [false, true] {
        let setup = crate::setup().settings(|settings| settings.registration = Registration::Open);
        let world = world_of(setup.start().await).await;
        let twin = world.let_in().await;
        let said = json!({
            "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let made = world.app.anonymous().post(REGISTER, said).await.expect(201);
        let ended = World {
            client: made.text_at("/client_id").to_owned(),
            ..world
        };
        let tokens = ended.let_in().await;
        let code = ended.code().await;
        let access = tokens.text_at("/access_token");
        judged(&ended.app, access).await.unwrap();
        match by_itself {
            true => {
                let token = made.text_at("/registration_access_token");
                let own = format!("{REGISTER}/{}", ended.client);
                ended.app.call(token).delete(&own).await.expect(204)
            }
            false => {
                let own = path(&ended.client);
                let revoked = ended.app.operator().delete(&own).await.expect(200);
                assert_eq!(revoked.at("/data/state"), "closed");
                ended.app.operator().delete(&own).await.expect(200)
            }
        };
        assert!(judged(&ended.app, access).await.is_err());
        let dead = ended.refresh(tokens.text_at("/refresh_token")).await;
        error(&dead, 401, "invalid_client");
        error(&ended.redeem(&code, &[]).await, 401, "invalid_client");
        let asks = ended.asked(&[]).await;
        let told = match asks.status {
            303 => ended.browser().open(asks.header("location")).await,
            _ => asks,
        };
        assert!(told.status >= 400, "{told}");
        assert_eq!(ended.app.audit("kind=client.revoked").await.len(), 1);
        // The twin: another client of the same human.
        judged(&ended.app, twin.text_at("/access_token"))
            .await
            .unwrap();
    }
}

/// What was made before a client was denied lives no more when it is let in again, and humans are asked anew.
#[tokio::test]
async fn a_client_that_is_let_in_again_begins_anew() {
    let host = crate::oauth_documents::Host::start().await;
    let world = World {
        client: host.id(),
        ..world().await
    };
    let location = world.allowed(&[AT_SITE]).await;
    let code = brought(&location, "code").unwrap();
    let tokens = world.redeem(&code, &[AT_SITE]).await.expect(200);
    let unredeemed = brought(&world.allowed_again(&[AT_SITE]).await, "code").unwrap();
    for what in ["deny", "allow"] {
        let path = format!("{}/{what}", path(&host.id()));
        world
            .app
            .operator()
            .post(&path, json!({}))
            .await
            .expect(200);
    }
    let dead = world.refresh(tokens.text_at("/refresh_token")).await;
    error(&dead, 400, "invalid_grant");
    error(
        &world.redeem(&unredeemed, &[AT_SITE]).await,
        400,
        "invalid_grant",
    );
    let access = tokens.text_at("/access_token");
    assert!(judged(&world.app, access).await.is_err());
    let asks = world.asked(&[AT_SITE]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    assert!(shown.expect(200).text.contains("Studio"));
    world.let_in().await;
    for kind in ["client.denied", "client.allowed"] {
        let records = world.app.audit(&format!("kind={kind}")).await;
        assert_eq!(records[0]["details"]["client"], host.id(), "{kind}");
    }
}

/// Whoever listens where a client once was has nothing of what was sent there.
#[tokio::test]
async fn what_was_sent_to_an_address_that_went_is_worth_nothing() {
    let less = json!(["http://127.0.0.1/cb"]);
    let more = json!(["http://127.0.0.1/cb", SITE, "https://b.example.com/cb"]);
    // Whoever listens where a code was sent needs the client's secret for its line, and so does the client for its code.
    for (method, redirects, is_over, line_is_over) in [
        ("none", &less, true, true),
        ("none", &more, false, false),
        ("client_secret_post", &less, true, false),
        ("client_secret_post", &more, false, false),
    ] {
        let world = world().await;
        let said = json!({
            "name": "Studio", "redirectUris": ["http://127.0.0.1/cb", SITE], "authMethod": method,
            "grantTypes": ["authorization_code", "refresh_token"],
        });
        let made = world.app.operator().post(CLIENTS, said).await.expect(201);
        let client = made.text_at("/data/id").to_owned();
        let secret = match method {
            "none" => "",
            _ => made.text_at("/data/token"),
        };
        let as_client = [AT_SITE, ("client_secret", secret)];
        let world = World { client, ..world };
        let code = brought(&world.allowed(&[AT_SITE]).await, "code").unwrap();
        let tokens = world.redeem(&code, &as_client).await.expect(200);
        let unredeemed = brought(&world.allowed_again(&[AT_SITE]).await, "code").unwrap();
        let change = json!({ "redirectUris": redirects });
        let changed = world
            .app
            .operator()
            .patch(&path(&world.client), change)
            .await;
        changed.expect(200);
        let access = tokens.text_at("/access_token");
        let is_dead = judged(&world.app, access).await.is_err();
        assert_eq!(is_dead, is_over);
        let code = world.redeem(&unredeemed, &as_client).await;
        let refresh = [
            ("grant_type", "refresh_token"),
            ("client_id", &world.client),
            ("refresh_token", tokens.text_at("/refresh_token")),
            ("client_secret", secret),
        ];
        let refresh = &refresh[..if secret.is_empty() { 3 } else { 4 }];
        let line = world.app.anonymous().post_form(TOKEN, refresh).await;
        for (reply, is_over) in [(code, is_over), (line, line_is_over)] {
            match is_over {
                true => error(&reply, 400, "invalid_grant"),
                false => drop(reply.expect(200)),
            }
        }
    }
}

impl World {
    /// Where the browser is sent that need not be asked again.
    async fn allowed_again(&self, other: &[(&str, &str)]) -> String {
        let asks = self.asked(other).await.expect(303);
        let sent = self.browser().open(asks.header("location")).await;
        sent.expect(303).header("location").to_owned()
    }
}

#[tokio::test]
async fn only_what_is_known_by_a_document_is_denied_and_let_in_again() {
    let app = crate::start().await;
    let id = client(&app, site("Site")).await.id().to_owned();
    for what in ["deny", "allow"] {
        let path = format!("{}/{what}", path(&id));
        let refused = app.operator().post(&path, json!({})).await;
        refused.refused(409, "conflict");
    }
    let unknown = format!("{}/allow", path("https://app.example.com/client.json"));
    let unknown = app.operator().post(&unknown, json!({})).await;
    unknown.refused(404, "not_found");
    for odd in ["http://app.example.com/c", "https://app.example.com", "x"] {
        let odd = format!("{}/deny", path(odd));
        let odd = app.operator().post(&odd, json!({})).await;
        assert_eq!(odd.refused(400, "malformed_request").field(), "id");
    }
}

/// However much a client says of itself, what is done to it fits on record, whoever does it.
#[tokio::test]
async fn a_client_of_many_long_hosts_can_be_ended() {
    let setup = crate::setup().settings(|settings| settings.registration = Registration::Open);
    let app = setup.start().await;
    let label = "a".repeat(60);
    let host = |n: usize| format!("https://{label}.{label}.{label}.{n}.example/cb");
    let uris: Vec<String> = (0..20).map(host).collect();
    let said = json!({ "client_name": "n".repeat(100), "redirect_uris": uris });
    let made = app.anonymous().post(REGISTER, said).await.expect(201);
    let own = path(made.text_at("/client_id"));
    let talkative = app.operator().header("user-agent", &"u".repeat(2_000));
    let change = json!({ "name": "m".repeat(100) });
    talkative.patch(&own, change).await.expect(200);
    talkative.delete(&own).await.expect(200);
    let record = app.audit("kind=client.revoked").await;
    let details = &record[0]["details"];
    assert_eq!(details["redirects"], 20);
    assert_eq!(details["redirectHosts"].as_array().unwrap().len(), 3);
    assert_eq!(details["contentsDigest"].as_str().unwrap().len(), 64);
}

/// RFC 6749, section 5.2: of the grants a client gets those that it registered for.
#[tokio::test]
async fn a_client_uses_the_grants_that_it_registered_for_alone() {
    let world = world().await;
    let app = &world.app;
    let agent = app.agent(&world.user, may(&["*"], "tools:call:*"));
    let own = json!({
        "name": "Job", "grantTypes": ["client_credentials"], "agent": agent.await.id,
    });
    let own = client(app, own).await;
    let (job, job_secret) = (own.id().to_owned(), own.text_at("/data/token").to_owned());
    let once =
        json!({ "name": "Once", "redirectUris": [REDIRECT], "grantTypes": ["authorization_code"] });
    let once = client(app, once).await;
    let (once, once_secret) = (once.id().to_owned(), once.text_at("/data/token").to_owned());
    let ask = async |id: &str, secret: &str, fields: &[(&str, &str)]| {
        let own = [("client_id", id), ("client_secret", secret)];
        app.anonymous()
            .post_form(TOKEN, &[fields, &own].concat())
            .await
    };
    let code = format!("kv_code_{}", "a".repeat(49));
    let token = format!("kv_rt_{}", "a".repeat(49));
    let by_code = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", &code),
    ];
    let by_token = [("grant_type", "refresh_token"), ("refresh_token", &token)];
    let for_itself = [("grant_type", "client_credentials"), ("resource", TOOLS)];
    for (id, secret, fields) in [
        (&job, &job_secret, &by_code[..]),
        (&job, &job_secret, &by_token),
        (&once, &once_secret, &by_token),
        (&once, &once_secret, &for_itself),
    ] {
        let refused = ask(id, secret, fields).await;
        error(&refused, 400, "unauthorized_client");
    }
    // The twin.
    ask(&job, &job_secret, &for_itself).await.expect(200);
    // No browser is sent on for a client that has no codes.
    let asks = format!("{AUTHORIZE}?{}", query(&job, &[]));
    let asks = Browser::stranger(app).open(&asks).await;
    assert_eq!(asks.status, 400, "{asks}");
    assert!(asks.text.contains("did not register for"), "{asks}");
    // Without refresh tokens, a code is all.
    let world = World {
        client: once,
        ..world
    };
    let code = world.code().await;
    let tokens = world
        .redeem(&code, &[("client_secret", &once_secret)])
        .await;
    let tokens = tokens.expect(200);
    assert_eq!(tokens.at("/refresh_token"), &Value::Null, "{tokens}");
}
