//! A tool server asks what a token is (RFC 7662), and whoever is not its audience learns nothing.

use kavachos_test::Reply;
use serde_json::json;

use crate::oauth_clients::{World, beside_tools, error};
use crate::tokens::{TOOLS, register};

/// A token of a client that was let in, with the keys of its tool server and of another one.
pub(crate) async fn introspected() -> (World, Reply, [String; 2]) {
    let app = crate::start().await;
    let key = register(&app, json!({ "defaultScope": "tools:call:*" })).await;
    let other = json!({
        "audience": "https://other.example.com/mcp", "name": "other",
        "scopes": [{ "name": "other:*", "description": "other" }],
    });
    let other = app.operator().post("/api/v1/resources", other).await;
    let other = other.expect(201).text_at("/data/token").to_owned();
    let world = beside_tools(app).await;
    let tokens = world.let_in().await;
    (world, tokens, [key, other])
}

pub(crate) const INTROSPECT: &str = "/oauth/introspect";

/// RFC 7662: whoever is not the audience learns nothing.
#[tokio::test]
async fn a_token_is_told_of_to_its_tool_server_alone() {
    let (world, tokens, [key, other]) = introspected().await;
    let access = tokens.text_at("/access_token");
    let ask = async |key: &str, token: &str| {
        let call = world.app.call(key);
        call.post_form(INTROSPECT, &[("token", token)]).await
    };
    let told = ask(&key, access).await.expect(200);
    assert_eq!(told.at("/active"), true);
    assert_eq!(told.at("/sub"), &json!(world.user));
    assert_eq!(told.at("/aud"), TOOLS);
    assert_eq!(told.at("/token_type"), "Bearer");
    assert!(!told.text.contains("null"), "{told}");
    ask(world.app.operator_key(), access).await.expect(200);
    let inactive = json!({ "active": false });
    for (key, token) in [
        (&other, access),
        (&key, tokens.text_at("/refresh_token")),
        (&key, "x"),
        (&key, world.session.as_str()),
    ] {
        assert_eq!(ask(key, token).await.expect(200).body, inactive);
    }
    // What is killed is no token any more.
    let agents = world.app.operator().get("/api/v1/agents").await.expect(200);
    let agent = agents.rows()[0]["id"].as_str().unwrap();
    let agent = format!("/api/v1/agents/{agent}");
    world.app.operator().delete(&agent).await.expect(200);
    assert_eq!(ask(&key, access).await.expect(200).body, inactive);
}

#[tokio::test]
async fn whoever_asks_about_a_token_shows_who_they_are() {
    let (world, tokens, [key, other]) = introspected().await;
    let access = tokens.text_at("/access_token");
    let servers = world
        .app
        .operator()
        .get("/api/v1/resources")
        .await
        .expect(200);
    let own = servers
        .rows()
        .iter()
        .find(|server| server["audience"] == TOOLS);
    let id = own.unwrap()["id"].as_str().unwrap();
    let as_client = async |id: &str, secret: &str| {
        let fields = [
            ("token", access),
            ("client_id", id),
            ("client_secret", secret),
        ];
        world.app.anonymous().post_form(INTROSPECT, &fields).await
    };
    assert_eq!(as_client(id, &key).await.expect(200).at("/active"), true);
    for (id, secret) in [
        (id, other.as_str()),
        ("x", &key),
        (id, world.app.operator_key()),
    ] {
        error(&as_client(id, secret).await, 401, "invalid_client");
    }
    let fields = [("token", access)];
    let nobody = world.app.anonymous().post_form(INTROSPECT, &fields).await;
    error(&nobody, 401, "invalid_client");
    // Guesses are on record as strangers' are; what was answered later is written later.
    world.app.user().await;
    assert_eq!(world.app.audit("kind=refusal").await.len(), 4);
    let empty = world.app.call(&key).post_form(INTROSPECT, &[]).await;
    error(&empty, 400, "invalid_request");
    let weak = json!({ "name": "k", "scopes": ["users:read"] });
    let weak = world.app.key(weak).await;
    let weak = world.app.call(&weak).post_form(INTROSPECT, &fields).await;
    error(&weak, 403, "insufficient_scope");
    let challenge = "Bearer realm=\"kavach\", error=\"insufficient_scope\"";
    assert_eq!(weak.header("www-authenticate"), challenge);
    let odd = world.app.call(&key).header("dpop", "x");
    error(
        &odd.post_form(INTROSPECT, &fields).await,
        400,
        "invalid_dpop_proof",
    );
}
