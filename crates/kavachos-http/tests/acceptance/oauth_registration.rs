//! OAuth clients register themselves (RFC 7591), and look at, change and end what they registered (RFC 7592).

use http::Method;
use kavachos_engine::Registration;
use kavachos_test::{ProviderSigner, Reply, TestApp};
use serde_json::{Value, json};

use crate::exchange::TOKEN;
use crate::oauth_client_auth::keys;
use crate::oauth_clients::{AUTHORIZE, SITE, World, error, query, world_of};
use crate::tokens::{TOOLS, judged};

pub(crate) const REGISTER: &str = "/oauth/register";

/// What a client of MCP says of itself, and more.
fn said() -> Value {
    json!({
        "client_name": "MCP Client", "redirect_uris": ["http://127.0.0.1:8080/cb", "javascript:alert(1)"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"], "response_types": ["code"],
        "token_endpoint_auth_method": "none", "application_type": "native", "scope": "a b", "software_id": "x",
    })
}

fn saying(member: &str, value: &Value) -> Value {
    let mut said = said();
    said[member] = value.clone();
    said
}

async fn started(registration: Registration) -> TestApp {
    let setup = crate::setup().settings(move |settings| settings.registration = registration);
    setup.start().await
}

async fn register(app: &TestApp, said: Value) -> Reply {
    app.anonymous().post(REGISTER, said).await
}

#[tokio::test]
async fn a_client_registers_itself_where_that_is_let() {
    let off = crate::start().await;
    error(&register(&off, said()).await, 400, "access_denied");
    let by_key = started(Registration::Token).await;
    error(&register(&by_key, said()).await, 401, "invalid_token");
    let weak = by_key
        .key(json!({ "name": "k", "scopes": ["users:read"] }))
        .await;
    let weak = by_key.call(&weak).post(REGISTER, said()).await;
    error(&weak, 403, "insufficient_scope");
    // A credential of somebody else is a wrong one (RFC 6750, section 3.1).
    let session = by_key.session(&by_key.user().await).await.token;
    let human = by_key.call(&session).post(REGISTER, said()).await;
    error(&human, 401, "invalid_token");
    assert!(human.header("www-authenticate").starts_with("Bearer"));
    // Both are on record.
    by_key.user().await;
    let refused = by_key.audit("kind=refusal&code=unauthenticated").await;
    assert_eq!(refused.len(), 2, "{refused:?}");
    by_key.operator().post(REGISTER, said()).await.expect(201);
    let app = started(Registration::Open).await;
    let place = "/.well-known/oauth-authorization-server";
    let metadata = app.anonymous().get(place).await.expect(200);
    let endpoint = metadata.text_at("/registration_endpoint");
    assert!(endpoint.ends_with(REGISTER), "{endpoint}");
    let made = register(&app, said()).await.expect(201);
    for (member, expected) in [
        ("/redirect_uris", json!(["http://127.0.0.1:8080/cb"])),
        (
            "/grant_types",
            json!(["authorization_code", "refresh_token"]),
        ),
        ("/token_endpoint_auth_method", json!("none")),
    ] {
        assert_eq!(made.at(member), &expected, "{member}");
    }
    // Clients read a member without a value as something else.
    let odd = made.text.contains("null") || made.text.contains("client_secret");
    assert!(!odd, "{made}");
}

#[tokio::test]
async fn what_cannot_be_registered_is_told() {
    let app = started(Registration::Open).await;
    let long = json!("x".repeat(20_000));
    for (member, value, code) in [
        (
            "redirect_uris",
            json!(["http://evil.example/cb"]),
            "invalid_redirect_uri",
        ),
        ("redirect_uris", json!([]), "invalid_redirect_uri"),
        (
            "client_name",
            json!("a\u{202e}b"),
            "invalid_client_metadata",
        ),
        (
            "grant_types",
            json!(["password"]),
            "invalid_client_metadata",
        ),
        (
            "token_endpoint_auth_method",
            json!("private_key_jwt"),
            "invalid_client_metadata",
        ),
        ("software_id", long, "invalid_client_metadata"),
    ] {
        error(&register(&app, saying(member, &value)).await, 400, code);
    }
    let odd = app.anonymous().header("content-type", "text/plain");
    let body = Some(said().to_string().into_bytes());
    error(
        &odd.send(Method::POST, REGISTER, body).await,
        400,
        "invalid_request",
    );
}

/// Lesson C 96: by its registration token a client changes itself, and no other.
#[tokio::test]
async fn what_was_registered_is_its_clients_alone() {
    let app = started(Registration::Open).await;
    let made = register(&app, said()).await.expect(201);
    let other = register(&app, said()).await.expect(201);
    let own = format!("{REGISTER}/{}", made.text_at("/client_id"));
    let token = made.text_at("/registration_access_token");
    let others = other.text_at("/registration_access_token");
    let put = async |token: &str, mut said: Value| {
        if said.get("client_id").is_none() {
            said["client_id"] = made.at("/client_id").clone();
        }
        let call = app.call(token).header("content-type", "application/json");
        let body = Some(said.to_string().into_bytes());
        call.send(Method::PUT, &own, body).await
    };
    for stranger in [
        app.anonymous().get(&own).await,
        app.call(others).get(&own).await,
        app.operator().get(&own).await,
        app.call(others).delete(&own).await,
        put(others, said()).await,
    ] {
        error(&stranger, 401, "invalid_token");
    }
    let known = app.call(token).get(&own).await.expect(200);
    assert_eq!(known.body, made.body);
    let renamed = put(token, saying("client_name", &json!("Renamed")))
        .await
        .expect(200);
    assert_eq!(renamed.at("/client_name"), "Renamed");
    // Section 3: who manages it is told again by what and where.
    for member in ["/registration_access_token", "/registration_client_uri"] {
        assert_eq!(renamed.at(member), made.at(member), "{member}");
    }
    for (member, value, code) in [
        ("redirect_uris", json!([]), "invalid_redirect_uri"),
        (
            "token_endpoint_auth_method",
            json!("client_secret_basic"),
            "invalid_client_metadata",
        ),
        // Section 2.2: its own registration, and no secret of its own choice.
        ("client_id", json!(null), "invalid_client_metadata"),
        (
            "client_id",
            other.at("/client_id").clone(),
            "invalid_client_metadata",
        ),
        ("client_secret", json!("chosen"), "invalid_client_metadata"),
    ] {
        error(&put(token, saying(member, &value)).await, 400, code);
    }
    let odd = format!("{own}?x=y");
    for odd in [
        app.call(token).get(&odd).await,
        app.call(token).delete(&odd).await,
        app.call(token)
            .header("content-type", "text/plain")
            .send(Method::PUT, &own, Some(b"{}".to_vec()))
            .await,
    ] {
        error(&odd, 400, "invalid_request");
    }
    app.call(token).delete(&own).await.expect(204);
    error(&app.call(token).get(&own).await, 401, "invalid_token");
}

/// RFC 7592, section 2.2: a secret that is said again must be the one that was given.
#[tokio::test]
async fn a_client_says_its_own_secret_again_or_none() {
    let app = started(Registration::Open).await;
    let mut said = saying("token_endpoint_auth_method", &json!("client_secret_post"));
    let made = register(&app, said.clone()).await.expect(201);
    let other = register(&app, said.clone()).await.expect(201);
    let own = format!("{REGISTER}/{}", made.text_at("/client_id"));
    let token = made.text_at("/registration_access_token");
    said["client_id"] = made.at("/client_id").clone();
    for (secret, status) in [
        (Some(made.at("/client_secret")), 200),
        (None, 200),
        (Some(other.at("/client_secret")), 400),
        (Some(&json!(7)), 400),
    ] {
        let mut said = said.clone();
        if let Some(secret) = secret {
            said["client_secret"] = secret.clone();
        }
        let call = app.call(token).header("content-type", "application/json");
        let body = Some(said.to_string().into_bytes());
        let put = call.send(Method::PUT, &own, body).await;
        assert_eq!(put.status, status, "{put}");
        assert!(!put.text.contains("\"client_secret\":"), "{put}");
    }
}

/// What a client takes away of itself is taken away at once, also of what humans look at.
#[tokio::test]
async fn a_redirect_address_that_is_taken_away_is_used_no_more() {
    let app = started(Registration::Open).await;
    let world = world_of(app).await;
    let both = json!(["http://127.0.0.1/cb", SITE]);
    let said = saying("redirect_uris", &both);
    let made = register(&world.app, said.clone()).await.expect(201);
    let world = World {
        client: made.text_at("/client_id").to_owned(),
        ..world
    };
    let asks = world.asked(&[("redirect_uri", SITE)]).await.expect(303);
    let shown = world.browser().open(asks.header("location")).await;
    let shown = shown.expect(200);
    let own = format!("{REGISTER}/{}", world.client);
    let mut fewer = saying("redirect_uris", &json!(["http://127.0.0.1/cb"]));
    fewer["client_id"] = json!(world.client);
    let token = made.text_at("/registration_access_token");
    let call = world.app.call(token);
    let call = call.header("content-type", "application/json");
    let body = Some(fewer.to_string().into_bytes());
    call.send(Method::PUT, &own, body).await.expect(200);
    let late = world.sent(&shown, "allow").await;
    assert_eq!(late.status, 400, "{late}");
    assert!(late.header("location").is_empty(), "{late}");
    let again = world.browser().open(asks.header("location")).await;
    assert_eq!(again.status, 400, "{again}");
    // The twin: what it kept, until that goes too.
    let tokens = world.let_in().await;
    let access = tokens.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    fewer["redirect_uris"] = json!([SITE]);
    let call = world.app.call(token);
    let call = call.header("content-type", "application/json");
    let body = Some(fewer.to_string().into_bytes());
    call.send(Method::PUT, &own, body).await.expect(200);
    assert!(judged(&world.app, access).await.is_err());
}

/// Lesson C 96: nobody registers themselves more than strangers get.
#[tokio::test]
async fn a_stranger_asks_for_nothing_in_its_own_name() {
    let app = started(Registration::Open).await;
    let said = saying("token_endpoint_auth_method", &json!("client_secret_post"));
    let made = register(&app, said).await.expect(201);
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", made.text_at("/client_id")),
        ("client_secret", made.text_at("/client_secret")),
        ("resource", TOOLS),
    ];
    let refused = app.anonymous().post_form(TOKEN, &fields).await;
    error(&refused, 400, "unauthorized_client");
}

/// Lesson C 96: a flood of registrations is stopped.
#[tokio::test]
async fn nobody_registers_without_end() {
    let app = started(Registration::Open).await;
    for _ in 0..20 {
        register(&app, said()).await.expect(201);
    }
    let flood = register(&app, said()).await;
    assert_eq!(flood.status, 429, "{flood}");
    app.advance(3_700);
    register(&app, said()).await.expect(201);
}

/// However many others come, a network that has not come yet is let in: what all have together, they have beside that.
#[tokio::test]
async fn a_flood_of_many_networks_shuts_out_no_other_one() {
    let app = started(Registration::Open).await;
    let from = async |network: u32| {
        let address = format!("127.{}.{}.1", network / 256, network % 256);
        let call = app.anonymous().from(&address);
        call.post(REGISTER, said()).await.status
    };
    let mut taken = 0;
    for network in 1..=54 {
        for _ in 0..20 {
            taken += u32::from(from(network).await == 201);
        }
    }
    // A thousand together, and one of each beside them.
    assert_eq!(taken, 1_054);
    assert_eq!(from(60).await, 201);
    assert_eq!(from(60).await, 429);
}

async fn known(app: &TestApp, made: &Reply) -> u16 {
    let own = format!("{REGISTER}/{}", made.text_at("/client_id"));
    let token = made.text_at("/registration_access_token");
    app.call(token).get(&own).await.status
}

/// What nobody lets in is forgotten after a day; what somebody did stays, and so does what an operator registered or denied.
#[tokio::test]
async fn a_client_that_nobody_lets_in_is_forgotten_after_a_day() {
    let app = started(Registration::Open).await;
    let world = world_of(app).await;
    let app = &world.app;
    let document = "https%3A%2F%2Fapp.example.com%2Fclient.json";
    let deny = format!("/api/v1/clients/{document}/deny");
    app.operator().post(&deny, json!({})).await.expect(200);
    let unused = register(app, said()).await.expect(201);
    let ended = register(app, said()).await.expect(201);
    let path = format!("/api/v1/clients/{}", ended.text_at("/client_id"));
    app.operator().delete(&path).await.expect(200);
    let used = register(app, said()).await.expect(201);
    let operators = world.client.clone();
    let world = World {
        client: used.text_at("/client_id").to_owned(),
        ..world
    };
    let app = &world.app;
    world.let_in().await;
    let forget = async || app.kavach().engine().forget().await.unwrap();
    app.advance(24 * 60 * 60);
    forget().await;
    assert_eq!(known(app, &unused).await, 200);
    app.advance(1);
    forget().await;
    assert_eq!(known(app, &unused).await, 401);
    assert_eq!(known(app, &used).await, 200);
    let listed = app.operator().get("/api/v1/clients").await.expect(200);
    let mut listed: Vec<&str> = listed
        .rows()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    let mut stay = [
        used.text_at("/client_id"),
        "https://app.example.com/client.json",
        &operators,
    ];
    listed.sort_unstable();
    stay.sort_unstable();
    assert_eq!(listed, stay);
}

/// When too many come in a day, the oldest go that nobody let in.
#[tokio::test]
async fn of_too_many_clients_the_oldest_go_that_nobody_let_in() {
    let setup = crate::setup().settings(|settings| {
        settings.registration = Registration::Open;
        settings.new_clients = 3;
    });
    let world = world_of(setup.start().await).await;
    let used = register(&world.app, said()).await.expect(201);
    let world = World {
        client: used.text_at("/client_id").to_owned(),
        ..world
    };
    world.let_in().await;
    let mut made = Vec::new();
    for _ in 0..4 {
        world.app.advance(1);
        made.push(register(&world.app, said()).await.expect(201));
    }
    let mut all = Vec::new();
    for one in &made {
        all.push(known(&world.app, one).await);
    }
    assert_eq!(all, [401, 401, 200, 200]);
    assert_eq!(known(&world.app, &used).await, 200);
}

/// Each change is on record for ever, so there is an end to them, and none to what changes nothing.
#[tokio::test]
async fn nobody_changes_what_they_registered_without_end() {
    let app = started(Registration::Open).await;
    let made = register(&app, said()).await.expect(201);
    let own = format!("{REGISTER}/{}", made.text_at("/client_id"));
    let token = made.text_at("/registration_access_token");
    let mut told = Vec::new();
    for count in 0..12 {
        let mut said = saying("client_name", &json!(format!("n{}", count / 2)));
        said["client_id"] = made.at("/client_id").clone();
        let call = app.call(token).header("content-type", "application/json");
        let body = Some(said.to_string().into_bytes());
        told.push(call.send(Method::PUT, &own, body).await.status);
    }
    assert_eq!(told, [&[200; 10][..], &[429; 2]].concat());
    assert_eq!(app.audit("kind=client.updated").await.len(), 5);
    error(
        &app.call(token).delete(&own).await,
        429,
        "temporarily_unavailable",
    );
    app.advance(3_660);
    app.call(token).delete(&own).await.expect(204);
}

/// Strangers act in their own name, and not in that of the server.
#[tokio::test]
async fn what_strangers_do_is_on_record_as_theirs() {
    let world = world_of(started(Registration::Open).await).await;
    let app = &world.app;
    let made = register(app, said()).await.expect(201);
    let own = format!("{REGISTER}/{}", made.text_at("/client_id"));
    let mut other = saying("client_name", &json!("Renamed"));
    other["client_id"] = made.at("/client_id").clone();
    let call = app.call(made.text_at("/registration_access_token"));
    let put = call.clone().header("content-type", "application/json");
    let body = Some(other.to_string().into_bytes());
    put.send(Method::PUT, &own, body).await.expect(200);
    call.delete(&own).await.expect(204);
    // A copy of a code, and one of a refresh token.
    let code = world.code().await;
    let tokens = world.redeem(&code, &[]).await.expect(200);
    error(&world.redeem(&code, &[]).await, 400, "invalid_grant");
    let dead = world.refresh(tokens.text_at("/refresh_token")).await;
    assert!(dead.status >= 400, "{dead}");
    let first = world.let_in().await;
    let next = world.refresh(first.text_at("/refresh_token")).await;
    let next = next.expect(200);
    world
        .refresh(next.text_at("/refresh_token"))
        .await
        .expect(200);
    world.app.advance(31);
    let copy = world.refresh(first.text_at("/refresh_token")).await;
    error(&copy, 400, "invalid_grant");
    let kinds = ["created", "updated", "removed"].map(|what| format!("client.{what}"));
    for kind in kinds
        .iter()
        .map(String::as_str)
        .chain(["connection.line_ended"])
    {
        let records = app.audit(&format!("kind={kind}")).await;
        let of = |actor: &str| {
            records
                .iter()
                .filter(|record| record["actor"] == actor)
                .count()
        };
        assert!(of("stranger") > 0, "{kind}");
        assert_eq!(of("system"), 0, "{kind}");
    }
    // What only its client has is given back by that, and it is an agent. An access token its tool servers have, too.
    let given = world.let_in().await;
    for token in ["/access_token", "/refresh_token"] {
        let fields = [
            ("client_id", world.client.as_str()),
            ("token", given.text_at(token)),
        ];
        let anonymous = app.anonymous();
        anonymous
            .post_form("/oauth/revoke", &fields)
            .await
            .expect(200);
    }
    let last = async |kind: &str| app.audit(&format!("kind={kind}")).await.swap_remove(0);
    let line = last("connection.line_ended").await;
    assert_eq!(line["actor"], line["agent"], "{line}");
    let access = last("connection.token_given_back").await;
    assert_eq!(access["actor"], "stranger", "{access}");
}

/// Contract 9: guesses at registration tokens are on record, and fill no disk.
#[tokio::test]
async fn wrong_registration_tokens_are_on_record_as_far_as_there_is_room() {
    let app = started(Registration::Open).await;
    let made = register(&app, said()).await.expect(201);
    let other = register(&app, said()).await.expect(201);
    let own = format!("{REGISTER}/{}", made.text_at("/client_id"));
    let others = other.text_at("/registration_access_token");
    let count = async || {
        // A refusal does not wait for its record; what is done after it does.
        app.user().await;
        let records = app.audit("kind=refusal&code=unauthenticated").await;
        assert!(records.iter().all(|record| record["actor"] == "stranger"));
        records.len()
    };
    error(&app.anonymous().get(&own).await, 401, "invalid_token");
    assert_eq!(count().await, 1);
    error(&app.call(others).get(&own).await, 401, "invalid_token");
    assert_eq!(count().await, 2);
    error(&app.call(others).delete(&own).await, 401, "invalid_token");
    assert_eq!(count().await, 3);
    for _ in 0..30 {
        app.call(others).get(&own).await;
    }
    assert_eq!(count().await, 10);
    // The twin: its own.
    let token = made.text_at("/registration_access_token");
    app.call(token).get(&own).await.expect(200);
    assert_eq!(count().await, 10);
}

/// For a client that nobody let in nothing was made, so that nothing is to be revoked: revocations are kept for ever.
#[tokio::test]
async fn whoever_was_never_let_in_goes_without_a_revocation() {
    let world = world_of(started(Registration::Open).await).await;
    let app = &world.app;
    let revocations = || app.head().revocation.rseq;
    let signer = |old: bool| match old {
        true => ProviderSigner::P256,
        false => ProviderSigner::Ed25519,
    };
    let mut said = saying("token_endpoint_auth_method", &json!("private_key_jwt"));
    for let_in in [false, true] {
        said["jwks"] = keys(&[signer(true)]);
        let made = register(app, said.clone()).await.expect(201);
        let id = made.text_at("/client_id").to_owned();
        if let_in {
            let asks = app_asks(&world, &id).await;
            world.decided(&asks, "allow").await;
        }
        let own = format!("{REGISTER}/{id}");
        let call = app.call(made.text_at("/registration_access_token"));
        let before = revocations();
        // Other keys, and the end.
        let mut other = said.clone();
        other["client_id"] = json!(id);
        other["jwks"] = keys(&[signer(false)]);
        let put = call.clone().header("content-type", "application/json");
        let body = Some(other.to_string().into_bytes());
        put.send(Method::PUT, &own, body).await.expect(200);
        call.delete(&own).await.expect(204);
        let expected = if let_in { 2 } else { 0 };
        assert_eq!(revocations() - before, expected);
        error(&call.get(&own).await, 401, "invalid_token");
        let known = app.operator().get(&format!("/api/v1/clients/{id}")).await;
        assert_eq!(known.status, if let_in { 200 } else { 404 }, "{known}");
    }
}

/// The page where a human is asked about this client.
async fn app_asks(world: &World, client: &str) -> String {
    let path = format!("{AUTHORIZE}?{}", query(client, &[]));
    let asks = world.browser().open(&path).await.expect(303);
    asks.header("location").to_owned()
}

#[tokio::test]
async fn a_client_that_removes_itself_takes_along_what_was_made_for_it() {
    let app = started(Registration::Open).await;
    let world = world_of(app).await;
    let said = saying("redirect_uris", &json!(["http://127.0.0.1/cb"]));
    let made = register(&world.app, said).await.expect(201);
    let world = World {
        client: made.text_at("/client_id").to_owned(),
        ..world
    };
    let tokens = world.let_in().await;
    let access = tokens.text_at("/access_token");
    judged(&world.app, access).await.unwrap();
    let own = format!("{REGISTER}/{}", world.client);
    let manager = made.text_at("/registration_access_token");
    world.app.call(manager).delete(&own).await.expect(204);
    assert!(judged(&world.app, access).await.is_err());
    let refreshed = world.refresh(tokens.text_at("/refresh_token")).await;
    error(&refreshed, 401, "invalid_client");
    assert_eq!(world.app.audit("kind=client.revoked").await.len(), 1);
}
