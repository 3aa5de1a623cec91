//! OAuth clients register themselves (RFC 7591), and look at, change and end what they registered (RFC 7592).

use http::Method;
use kavachos_engine::Registration;
use kavachos_test::{Reply, TestApp};
use serde_json::{Value, json};

use crate::oauth_clients::error;

const REGISTER: &str = "/oauth/register";

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
    assert!(weak.status >= 400, "{weak}");
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
    let put = async |token: &str, said: Value| {
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
    assert_eq!(known.at("/client_name"), "MCP Client");
    let renamed = put(token, saying("client_name", &json!("Renamed")))
        .await
        .expect(200);
    assert_eq!(renamed.at("/client_name"), "Renamed");
    let told = renamed.text.contains("registration_access_token");
    assert!(!told, "{renamed}");
    for (member, value, code) in [
        ("redirect_uris", json!([]), "invalid_redirect_uri"),
        (
            "token_endpoint_auth_method",
            json!("client_secret_basic"),
            "invalid_client_metadata",
        ),
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

/// Lesson C 96: a flood of registrations is stopped.
#[tokio::test]
async fn nobody_registers_without_end() {
    let app = started(Registration::Open).await;
    for _ in 0..20 {
        register(&app, said()).await.expect(201);
    }
    let flood = register(&app, said()).await;
    assert_eq!(flood.status, 429, "{flood}");
}
