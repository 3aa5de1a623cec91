//! What `docs/oauth-standards.md` says that no one endpoint shows: a grant is worth nothing elsewhere, a credential is one thing,
//! and what is said, kept and shown of them is what the standards let be.

use std::collections::BTreeSet;

use http::Method;
use kavachos_engine::Registration;
use kavachos_test::{Call, Client, Reply, TestApp};
use serde_json::{Value, json};

use crate::exchange::TOKEN;
use crate::mail::Log;
use crate::oauth_clients::{
    AT_SITE, AUTHORIZE, SCOPE, SITE, World, brought, client, error, query, world, world_of,
};
use crate::oauth_introspection::INTROSPECT;
use crate::oauth_registration::REGISTER;
use crate::tokens::{TOOLS, issuer, judged, judged_at};

const OTHER: &str = "https://other.example.com/mcp";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const DEVICE: &str = "/oauth/device_authorization";
const PAR: &str = "/oauth/par";
const REVOKE: &str = "/oauth/revoke";
/// What a page says of what any program could be.
const WARNING: &str = "Any program on your computer";
/// What the server tells whoever asks how it is asked.
const METADATA: [&str; 2] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
];

async fn open_world() -> World {
    let open = crate::setup().settings(|settings| settings.registration = Registration::Open);
    world_of(open.start().await).await
}

/// A second tool server.
async fn register_other(app: &TestApp) {
    let other = json!({
        "audience": OTHER, "name": "other", "party": "first", "kind": "kavach",
        "scopes": [{ "name": "other:read:*", "description": "read elsewhere" }],
    });
    let made = app.operator().post("/api/v1/resources", other).await;
    made.expect(201);
}

/// A client that registered itself, with what it was given.
async fn itself(app: &TestApp, method: &str) -> Reply {
    let said = json!({
        "client_name": "Itself", "redirect_uris": ["http://127.0.0.1/cb", SITE], "token_endpoint_auth_method": method,
        "grant_types": ["authorization_code", "refresh_token"],
    });
    app.anonymous().post(REGISTER, said).await.expect(201)
}

impl World {
    /// Any request of the client to the token endpoint.
    async fn asks(&self, fields: &[(&str, &str)]) -> Reply {
        let own = [("client_id", self.client.as_str())];
        let fields = [&own[..], fields].concat();
        self.app.anonymous().post_form(TOKEN, &fields).await
    }

    async fn refreshes(&self, token: &str, more: &[(&str, &str)]) -> Reply {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.asks(&[&fields[..], more].concat()).await
    }

    /// What a browser comes to.
    async fn came_to(&self, other: &[(&str, &str)]) -> Reply {
        let asks = self.asked(other).await.expect(303);
        self.browser().open(asks.header("location")).await
    }
}

/// Lessons A F20; RFC 9700, sections 2.3 and 4.14.2; RFC 8707: for a code and for a refresh token a client gets what the human gave
/// it there, and nothing of another tool server or of another scope.
#[tokio::test]
async fn what_a_human_gave_for_one_tool_server_is_worth_nothing_at_another() {
    let world = world().await;
    register_other(&world.app).await;
    let code = world.code().await;
    let elsewhere = ("resource", OTHER);
    error(
        &world.redeem(&code, &[elsewhere]).await,
        400,
        "invalid_target",
    );
    let tokens = world.redeem(&code, &[]).await.expect(200);
    let refresh = tokens.text_at("/refresh_token");
    for (more, code) in [
        (elsewhere, "invalid_target"),
        (("resource", "https://admin.internal/"), "invalid_target"),
        (("scope", "tools:call:*"), "invalid_scope"),
        (("scope", "other:read:all"), "invalid_scope"),
        (
            ("scope", "tools:call:search other:read:all"),
            "invalid_scope",
        ),
    ] {
        error(&world.refreshes(refresh, &[more]).await, 400, code);
    }
    // The twins: nothing was used up by that, and what was given is given.
    let next = world.refreshes(refresh, &[("resource", TOOLS), ("scope", SCOPE)]);
    let next = next.await.expect(200);
    assert_eq!(next.at("/scope"), SCOPE);
    let access = next.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    assert!(judged_at(&world.app, access, OTHER).await.is_err());
}

/// RFC 8707, section 2.2: a grant for several tool servers makes a token for one of them, with what the human gave there.
#[tokio::test]
async fn a_grant_for_several_tool_servers_makes_tokens_for_one_each() {
    let world = world().await;
    register_other(&world.app).await;
    let both = query(
        &world.client,
        &[("scope", "tools:call:search other:read:a")],
    );
    let mut second = form_urlencoded::Serializer::new(String::new());
    let second = second.append_pair("resource", OTHER).finish();
    let asks = world
        .browser()
        .open(&format!("{AUTHORIZE}?{both}&{second}"))
        .await;
    let location = world
        .decided(asks.expect(303).header("location"), "allow")
        .await;
    let code = brought(&location, "code").expect(&location);
    error(&world.redeem(&code, &[]).await, 400, "invalid_target");
    let first = world.redeem(&code, &[("resource", TOOLS)]).await;
    let first = first.expect(200);
    assert_eq!(first.at("/scope"), SCOPE);
    let refresh = first.text_at("/refresh_token");
    error(&world.refresh(refresh).await, 400, "invalid_target");
    let crossed = [("resource", OTHER), ("scope", SCOPE)];
    error(
        &world.refreshes(refresh, &crossed).await,
        400,
        "invalid_scope",
    );
    let second = world.refreshes(refresh, &[("resource", OTHER)]).await;
    let second = second.expect(200);
    assert_eq!(second.at("/scope"), "other:read:a");
    for (token, own, other) in [(&first, TOOLS, OTHER), (&second, OTHER, TOOLS)] {
        let token = token.text_at("/access_token");
        judged_at(&world.app, token, own).await.unwrap();
        assert!(judged_at(&world.app, token, other).await.is_err());
    }
}

/// Lessons A F19: by its own word alone a client comes in to nobody, however often it was let in.
#[tokio::test]
async fn who_registered_itself_is_asked_about_each_time() {
    let mut world = open_world().await;
    let known = world.client.clone();
    let made = itself(&world.app, "none").await;
    let own = made.text_at("/client_id").to_owned();
    for (client, is_asked) in [(own, true), (known, false)] {
        world.client = client;
        world.allowed(&[AT_SITE]).await;
        let page = world.came_to(&[AT_SITE]).await;
        assert_eq!(page.status == 200, is_asked, "{page}");
        let page = world.came_to(&[AT_SITE, ("prompt", "none")]).await;
        let location = page.expect(303).header("location").to_owned();
        let refused = brought(&location, "error");
        assert_eq!(
            refused.as_deref(),
            is_asked.then_some("consent_required"),
            "{location}"
        );
    }
}

/// RFC 9207; RFC 8414; the authorization of the Model Context Protocol: clients go by what stands there.
#[tokio::test]
async fn the_metadata_promises_what_is_kept() {
    let world = open_world().await;
    let mut told = Vec::new();
    for path in METADATA {
        told.push(world.app.anonymous().get(path).await.expect(200));
    }
    assert_eq!(told[0].body, told[1].body);
    let issuer = issuer(&world.app).to_string();
    for (member, value) in [
        ("issuer", json!(issuer)),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("response_types_supported", json!(["code"])),
        (
            "authorization_response_iss_parameter_supported",
            json!(true),
        ),
        ("client_id_metadata_document_supported", json!(true)),
        ("scopes_supported", json!(["offline_access"])),
        (
            "registration_endpoint",
            json!(format!("{issuer}{REGISTER}")),
        ),
    ] {
        assert_eq!(told[0].at(&format!("/{member}")), &value, "{member}");
    }
    // Nothing is signed with a secret, or not at all, and no password is taken (RFC 9700, section 2.4).
    for wrong in [
        "HS256",
        "client_secret_jwt",
        "implicit",
        "password",
        "plain",
    ] {
        let quoted = format!("\"{wrong}\"");
        assert!(!told[0].text.contains(&quoted), "{wrong}: {}", told[0]);
    }
    // What clients read there is what they get: minutes (the Model Context Protocol, "Token Theft").
    let tokens = world.let_in().await;
    let life = tokens.at("/expires_in").as_u64().unwrap();
    assert!((1..=600).contains(&life), "{life}");
}

/// Everything that clients are shown, and a human's session.
struct Shown {
    world: World,
    /// A client that registered itself.
    itself: String,
    /// What stands before the name of a pushed request.
    prefix: String,
    /// What a human types.
    user_code: String,
    /// By where it is good.
    all: [(&'static str, String); 8],
}

async fn shown(world: World) -> Shown {
    let all = json!({
        "name": "All", "redirectUris": ["http://127.0.0.1/cb"], "authMethod": "none",
        "grantTypes": ["authorization_code", "refresh_token", DEVICE_CODE],
    });
    let all = client(&world.app, all).await.id().to_owned();
    let world = World {
        client: all,
        ..world
    };
    let app = &world.app;
    let made = itself(app, "client_secret_post").await;
    let tokens = world.let_in().await;
    let asked = query(&world.client, &[]);
    let asked: Vec<_> = form_urlencoded::parse(asked.as_bytes()).collect();
    let asked: Vec<(&str, &str)> = asked
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let pushed = app.anonymous().post_form(PAR, &asked).await.expect(201);
    let (prefix, pushed) = pushed.text_at("/request_uri").rsplit_once(':').unwrap();
    let begins = [
        ("client_id", world.client.as_str()),
        ("resource", TOOLS),
        ("scope", SCOPE),
    ];
    let begun = app.anonymous().post_form(DEVICE, &begins).await;
    let begun = begun.expect(200);
    let text = |reply: &Reply, member: &str| reply.text_at(member).to_owned();
    Shown {
        itself: text(&made, "/client_id"),
        prefix: prefix.to_owned(),
        user_code: text(&begun, "/user_code"),
        all: [
            ("access", text(&tokens, "/access_token")),
            ("refresh", text(&tokens, "/refresh_token")),
            ("code", world.code().await),
            ("device", text(&begun, "/device_code")),
            ("secret", text(&made, "/client_secret")),
            ("manager", text(&made, "/registration_access_token")),
            ("request", pushed.to_owned()),
            ("session", world.session.clone()),
        ],
        world,
    }
}

impl Shown {
    /// What a place makes of a text: an error, or the status.
    async fn tried(&self, place: &str, text: &str) -> String {
        let (world, app) = (&self.world, &self.world.app);
        let reply = match place {
            "access" => {
                let fields = [("token", text)];
                let told = app.operator().post_form(INTROSPECT, &fields).await;
                return told.expect(200).at("/active").to_string();
            }
            "refresh" => world.refresh(text).await,
            "code" => world.redeem(text, &[]).await,
            "device" => {
                let fields = [("grant_type", DEVICE_CODE), ("device_code", text)];
                world.asks(&fields).await
            }
            "secret" => {
                let own = ("client_id", self.itself.as_str());
                let fields = [own, ("client_secret", text), ("token", "x")];
                app.anonymous().post_form(REVOKE, &fields).await
            }
            "manager" => {
                let own = format!("{REGISTER}/{}", self.itself);
                app.call(text).get(&own).await
            }
            "request" => {
                let mut named = form_urlencoded::Serializer::new(String::new());
                named.append_pair("client_id", &world.client);
                named.append_pair("request_uri", &format!("{}:{text}", self.prefix));
                let path = format!("{AUTHORIZE}?{}", named.finish());
                world.browser().open(&path).await
            }
            _ => {
                return app
                    .call(text)
                    .get("/api/v1/agents")
                    .await
                    .status
                    .to_string();
            }
        };
        let error = reply.at("/error").as_str().map(str::to_owned);
        error.unwrap_or_else(|| reply.status.to_string())
    }
}

/// Lessons C 58: what a client has is good in one place.
#[tokio::test]
async fn no_credential_of_a_client_is_taken_for_another() {
    let shown = shown(open_world().await).await;
    for (place, refusal) in [
        ("access", "false"),
        ("refresh", "invalid_grant"),
        ("code", "invalid_grant"),
        ("device", "invalid_grant"),
        ("secret", "invalid_client"),
        ("manager", "invalid_token"),
        ("request", "400"),
        ("session", "401"),
    ] {
        for (kind, text) in &shown.all {
            if *kind != place {
                let told = shown.tried(place, text).await;
                assert_eq!(told, refusal, "{kind} as {place}");
            }
        }
    }
    // The twins: each where it belongs, after all of that.
    shown.world.app.advance(5);
    for ((kind, text), taken) in shown.all.iter().zip([
        "true",
        "200",
        "200",
        "authorization_pending",
        "200",
        "200",
        "303",
        "200",
    ]) {
        assert_eq!(shown.tried(kind, text).await, taken, "{kind}");
    }
}

/// Lessons A F23: of what a client is shown once, a digest is kept, and nothing is logged.
#[tokio::test]
async fn no_credential_of_a_client_stands_in_the_database_or_the_log() {
    let log = Log::of_all();
    tracing::trace!(said = "the log is heard");
    let open = crate::setup().settings(|settings| settings.registration = Registration::Open);
    let shown = shown(world_of(open.lasting().start().await).await).await;
    let app = &shown.world.app;
    let site = client(app, json!({ "name": "Site", "redirectUris": [SITE] })).await;
    let mut secrets = vec![
        site.text_at("/data/token").to_owned(),
        shown.user_code.clone(),
        shown.user_code.replace('-', ""),
    ];
    secrets.extend(shown.all.iter().map(|(_, text)| text.clone()));
    // Used as they are, and in the places of others.
    for (place, _) in &shown.all {
        for (_, text) in &shown.all {
            shown.tried(place, text).await;
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut places: Vec<String> = app.at_rest().iter().map(|(_, bytes)| text(bytes)).collect();
    places.push(log.text());
    let stands = |text: &str| {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let holds = |place: &String| place.contains(text) || place.contains(&hex);
        places.iter().any(holds)
    };
    for secret in secrets {
        assert!(!stands(&secret), "{:?}", secret.get(..8));
    }
    // The twins: what is no secret is found, in both.
    assert!(stands(site.id()) && log.text().contains("the log is heard"));
}

/// Lessons C 92: nothing that carries a credential, or says of somebody what they may, is kept on its way.
#[tokio::test]
async fn no_answer_of_an_endpoint_is_kept_on_its_way() {
    let world = open_world().await;
    let app = &world.app;
    let asks = world.asked(&[]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let allowed = world.sent(&shown, "allow").await.expect(303);
    let code = brought(allowed.header("location"), "code").unwrap();
    let tokens = world.redeem(&code, &[]).await.expect(200);
    let made = itself(app, "none").await;
    let own = format!("{REGISTER}/{}", made.text_at("/client_id"));
    let manager = app.call(made.text_at("/registration_access_token"));
    let access = [("token", tokens.text_at("/access_token"))];
    let gives = [("client_id", world.client.as_str()), ("token", "x")];
    for reply in [
        world.asked(&[("response_type", "token")]).await,
        world
            .asked(&[("redirect_uri", "https://evil.example/")])
            .await,
        world.browser().open("/device").await,
        world.refresh("x").await,
        manager.get(&own).await,
        app.operator().post_form(INTROSPECT, &access).await,
        app.anonymous().post_form(INTROSPECT, &access).await,
        app.anonymous().post_form(REVOKE, &gives).await,
        app.anonymous().post_form(PAR, &gives).await,
        app.anonymous().post_form(DEVICE, &gives).await,
        asks,
        shown,
        allowed,
        tokens,
        made,
    ] {
        assert_eq!(reply.header("cache-control"), "no-store", "{reply}");
    }
}

/// RFC 9700, sections 2.6, 4.2.4 and 4.16: the endpoint for browsers is read by no page of another server, shown in none, and
/// tells none what it was asked.
#[tokio::test]
async fn the_page_that_asks_is_nobody_elses_to_read_or_to_frame() {
    let world = world().await;
    let asks = world.asked(&[]).await.expect(303);
    let page = asks.header("location").to_owned();
    let path = format!("{AUTHORIZE}?{}", query(&world.client, &[]));
    let foreign = Client::new(world.app.client().address()).anonymous();
    let foreign = foreign
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "GET")
        .header(
            "cookie",
            &format!("__Host-kavach_session={}", world.session),
        );
    for path in [path.as_str(), &page, "/device"] {
        for method in [Method::GET, Method::OPTIONS] {
            let told = foreign.send(method.clone(), path, None).await;
            let mut names = told.headers.keys();
            let is_shared = names.any(|name| name.as_str().starts_with("access-control-"));
            assert!(!is_shared, "{method} {path}: {told}");
        }
    }
    let shown = world.browser().open(&page).await.expect(200);
    let policy = shown.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(shown.header("x-frame-options"), "DENY");
    assert_eq!(shown.header("referrer-policy"), "same-origin");
    // Nothing of it is loaded from elsewhere, and no link leads there.
    for attribute in ["src=\"", "href=\"", "action=\""] {
        for leads in shown.text.split(attribute).skip(1) {
            assert!(
                leads.starts_with('/') && !leads.starts_with("//"),
                "{attribute}{leads}"
            );
        }
    }
}

/// The authorization of the Model Context Protocol, "Localhost Redirect URI Risks": where the browser goes on to is told, and what
/// any program could be is warned of.
#[tokio::test]
async fn where_a_browser_goes_on_to_is_told_with_a_warning_where_any_program_could_be_there() {
    let world = world().await;
    let site = world.came_to(&[AT_SITE]).await.expect(200);
    assert!(site.text.contains("<code>app.example.com</code>"), "{site}");
    assert!(!site.text.contains(WARNING), "{site}");
    let local = world.came_to(&[]).await.expect(200);
    assert!(
        local.text.contains("<code>127.0.0.1:51004</code>"),
        "{local}"
    );
    assert!(local.text.contains(WARNING), "{local}");
}

/// Lessons C 43: no caller says where on the server something is written, or what is run there.
#[tokio::test]
async fn no_route_takes_the_name_of_a_file_or_of_a_command() {
    let app = crate::start().await;
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let taken = names_taken(&document.body);
    assert!(taken.len() > 100, "the document was not read");
    let wrong: Vec<&String> = taken.iter().filter(|name| is_of_a_machine(name)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // The twin: such a name is found.
    let twin = json!({ "paths": { "/x": { "post": { "requestBody": { "$ref": "#/a" } } } },
        "a": { "schema": { "properties": { "logFile": {}, "file_path": {}, "profile": {}, "redirectUris": {} } } } });
    let found: Vec<String> = names_taken(&twin)
        .into_iter()
        .filter(|name| is_of_a_machine(name))
        .collect();
    assert_eq!(found, ["file_path", "logFile"]);
}

/// The members of every body and every parameter of a query.
fn names_taken(document: &Value) -> BTreeSet<String> {
    let (mut names, mut followed) = (BTreeSet::new(), BTreeSet::new());
    let paths = document["paths"].as_object().unwrap().values();
    for operation in paths.flat_map(|path| path.as_object().unwrap().values()) {
        let mut left = vec![&operation["requestBody"]];
        while let Some(value) = left.pop() {
            if let Some(name) = value["$ref"].as_str()
                && followed.insert(name.to_owned())
            {
                let pointer = name.trim_start_matches('#');
                left.extend(document.pointer(pointer));
            }
            if let Some(members) = value["properties"].as_object() {
                names.extend(members.keys().cloned());
            }
            match value {
                Value::Object(members) => left.extend(members.values()),
                Value::Array(all) => left.extend(all),
                _ => {}
            }
        }
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let query = parameters.filter(|one| one["in"] == "query");
        names.extend(query.filter_map(|one| Some(one["name"].as_str()?.to_owned())));
    }
    names
}

/// Whether one of the words of a name is one for a place on a machine, or for what runs there.
fn is_of_a_machine(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "file",
        "filename",
        "path",
        "paths",
        "dir",
        "directory",
        "folder",
        "command",
        "exec",
        "script",
        "sink",
        "template",
        "module",
        "library",
    ];
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            words.push(' ');
        }
        words.push(if c.is_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            ' '
        });
    }
    words.split(' ').any(|word| WORDS.contains(&word))
}

/// What endpoints refuse besides, each in the words of its standard.
#[tokio::test]
async fn what_is_said_twice_or_to_nobody_is_refused() {
    let world = world().await;
    let app = &world.app;
    let own = world.client.as_str();
    let post =
        async |call: Call, path: &str, fields: &[(&str, &str)]| call.post_form(path, fields).await;
    let twice = [("client_id", own), ("client_id", own)];
    error(
        &post(app.anonymous(), DEVICE, &twice).await,
        400,
        "invalid_request",
    );
    let proof = app.anonymous().header("dpop", "x");
    let given = [("client_id", own), ("token", "x")];
    error(
        &post(proof, REVOKE, &given).await,
        400,
        "invalid_dpop_proof",
    );
    let device = json!({ "name": "TV", "authMethod": "none", "grantTypes": [DEVICE_CODE] });
    let device = client(app, device).await.id().to_owned();
    let asks = [("client_id", device.as_str())];
    error(
        &post(app.anonymous(), PAR, &asks).await,
        400,
        "unauthorized_client",
    );
    let odd = app.anonymous();
    let odd = odd.get("/.well-known/openid-configuration?x=y").await;
    odd.refused(400, "malformed_request");
    let once = |name: &str| {
        let new = json!({ "name": name, "redirectUris": [SITE] });
        let call = app.operator().header("idempotency-key", "k1");
        async move { call.post("/api/v1/clients", new).await }
    };
    once("one").await.expect(201);
    once("two").await.refused(409, "idempotency_mismatch");
}
