//! Clients that ask for themselves: each is an agent that somebody made before.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kavachos_test::{ProviderSigner, Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::exchange::TOKEN;
use crate::oauth_client_auth::{assertion, keys, signed};
use crate::oauth_clients::{CLIENTS, client, error, world};
use crate::oauth_dpop::proven;
use crate::tokens::{DELEGATE, TOOLS, ask, judged, opened, own, register};

const SEARCH: &str = "tools:call:search";
const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// A client that is an agent, with its secret.
struct Itself {
    app: TestApp,
    user: String,
    agent: TestAgent,
    id: String,
    secret: String,
}

fn new(agent: &TestAgent) -> Value {
    json!({ "name": "Nightly job", "grantTypes": ["client_credentials"], "agent": agent.id })
}

async fn itself() -> Itself {
    let app = crate::start().await;
    register(&app, json!({ "defaultScope": "tools:call:*" })).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let made = client(&app, new(&agent)).await;
    assert_eq!(made.at("/data/agent"), &json!(agent.id));
    Itself {
        id: made.id().to_owned(),
        secret: made.text_at("/data/token").to_owned(),
        app,
        user,
        agent,
    }
}

impl Itself {
    async fn ask(&self, more: &[(&str, &str)]) -> Reply {
        let mut fields = vec![
            GRANT,
            ("client_id", self.id.as_str()),
            ("client_secret", self.secret.as_str()),
            ("resource", TOOLS),
        ];
        for (name, value) in more {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        fields.retain(|(_, value)| !value.is_empty());
        self.app.anonymous().post_form(TOKEN, &fields).await
    }

    async fn token(&self) -> String {
        let told = self.ask(&[]).await.expect(200);
        told.text_at("/access_token").to_owned()
    }

    fn path(&self) -> String {
        format!("{CLIENTS}/{}", self.id)
    }
}

#[tokio::test]
async fn a_client_asks_for_itself_as_the_agent_that_it_is() {
    let world = itself().await;
    let told = world.ask(&[("scope", SEARCH)]).await.expect(200);
    assert_eq!(told.at("/token_type"), "Bearer");
    assert_eq!(told.at("/scope"), SEARCH);
    for none in ["/refresh_token", "/issued_token_type"] {
        assert!(told.at(none).is_null(), "{told}");
    }
    let token = told.text_at("/access_token");
    judged(&world.app, token).await.unwrap();
    let leaf = opened(&world.app, token).await;
    assert_eq!(leaf.authority.subject.to_string(), world.user);
    let agent = leaf.authority.agent().unwrap().to_string();
    assert_eq!(agent, world.agent.id);
    let record = world.app.audit("kind=token.issued").await.remove(0);
    assert_eq!(record["agent"], json!(world.agent.id), "{record}");
    let born = world.app.audit("kind=client.created").await.remove(0);
    assert_eq!(born["details"]["agent"], json!(world.agent.id), "{born}");
    // What the tool server gives by default, where nothing is said.
    let told = world.ask(&[]).await.expect(200);
    assert_eq!(told.at("/scope"), "tools:call:*");
    // With the secret in the header, of which each part is encoded.
    let basic = BASE64_STANDARD.encode(format!("{}:{}", world.id, world.secret));
    let call = world.app.anonymous();
    let call = call.header("authorization", &format!("Basic {basic}"));
    let fields = [GRANT, ("resource", TOOLS), ("scope", SEARCH)];
    call.post_form(TOKEN, &fields).await.expect(200);
    // The agent goes on with its own key, which is the one that is told of.
    let own = ask(&world.app, &world.agent.key, own(&world.agent)).await;
    own.expect(200);
    let path = format!("/api/v1/agents/{}", world.agent.id);
    let shown = world.app.operator().get(&path).await.expect(200);
    let ends = shown.text_at("/data/keyExpiresAt");
    assert!(ends.starts_with("20"), "{shown}");
}

#[tokio::test]
async fn a_client_signs_that_it_is_the_agent() {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let signer = ProviderSigner::P256;
    let mut new = new(&agent);
    new["authMethod"] = json!("private_key_jwt");
    new["jwks"] = keys(&[signer]);
    let client = client(&app, new).await;
    assert!(client.at("/data/token").is_null());
    let fields = [GRANT, ("resource", TOOLS), ("scope", SEARCH)];
    let text = assertion(&app, signer, (client.id(), "1"));
    let told = signed(&app, TOKEN, (&text, &fields)).await.expect(200);
    judged(&app, told.text_at("/access_token")).await.unwrap();
    let again = signed(&app, TOKEN, (&text, &fields)).await;
    error(&again, 401, "invalid_client");
}

#[tokio::test]
async fn what_a_client_gets_is_within_what_the_agent_and_the_tool_server_have() {
    let world = itself().await;
    let narrow = world.app.agent(&world.user, may(&["*"], SEARCH)).await;
    let made = client(&world.app, new(&narrow)).await;
    let narrow = Itself {
        id: made.id().to_owned(),
        secret: made.text_at("/data/token").to_owned(),
        agent: narrow,
        ..world
    };
    for (more, code) in [
        (("scope", "tools:call:*"), "invalid_scope"),
        (("scope", "tools:call:write"), "invalid_scope"),
        // The tool server's default is more than the agent has.
        (("scope", ""), "invalid_scope"),
        (("scope", "mail:read"), "invalid_scope"),
        (("scope", "a b:"), "invalid_scope"),
        (("resource", ""), "invalid_target"),
        (("resource", "x"), "invalid_target"),
        (
            ("resource", "https://other.example.com/mcp"),
            "invalid_target",
        ),
        // To go on without them would give more.
        (
            ("authorization_details", "[]"),
            "invalid_authorization_details",
        ),
    ] {
        error(&narrow.ask(&[("scope", SEARCH), more]).await, 400, code);
    }
    narrow.ask(&[("scope", SEARCH)]).await.expect(200);
    let with = format!("offline_access {SEARCH}");
    let told = narrow.ask(&[("scope", &with)]).await.expect(200);
    assert_eq!(told.at("/scope"), SEARCH);
}

/// `unauthorized_client` would have clients forget who they are, for what may be over in an hour.
#[tokio::test]
async fn the_end_of_the_agent_of_its_key_or_of_the_client_ends_it() {
    // The agent is stopped for a while, which ends its keys, and then for good.
    let world = itself().await;
    let renewed = json!({ "agent": world.agent.id });
    let token = world.token().await;
    let agent = format!("/api/v1/agents/{}", world.agent.id);
    let turn = async |to: &str| {
        let path = format!("{agent}/{to}");
        let told = world.app.operator().post(&path, json!({})).await;
        told.expect(200)
    };
    turn("suspend").await;
    assert!(judged(&world.app, &token).await.is_err());
    error(&world.ask(&[]).await, 400, "invalid_grant");
    let early = world.app.operator();
    let early = early.patch(&world.path(), renewed.clone()).await;
    early.refused(409, "conflict");
    turn("resume").await;
    error(&world.ask(&[]).await, 400, "invalid_grant");
    let healed = world.app.operator();
    healed.patch(&world.path(), renewed).await.expect(200);
    let token = world.token().await;
    world.app.operator().delete(&agent).await.expect(200);
    assert!(judged(&world.app, &token).await.is_err());
    error(&world.ask(&[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_client_asks_for_itself_until_the_end_of_its_agent_wherever_that_is_put() {
    let world = itself().await;
    let now = world.app.kavach().engine().now();
    let agent = format!("/api/v1/agents/{}", world.agent.id);
    let ends_in = async |minutes: u64| {
        let end = now.plus(std::time::Duration::from_secs(60 * minutes));
        let change = json!({ "expiresAt": end });
        let changed = world.app.operator().patch(&agent, change).await;
        changed.expect(200);
    };
    ends_in(30).await;
    let renewed = json!({ "agent": world.agent.id });
    let renewed = world.app.operator().patch(&world.path(), renewed).await;
    renewed.expect(200);
    ends_in(60).await;
    world.app.advance(45 * 60);
    world.token().await;
    world.app.advance(15 * 60);
    error(&world.ask(&[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_client_asks_for_nothing_while_the_human_of_its_agent_is_banned() {
    let world = itself().await;
    let token = world.token().await;
    let path = format!("/api/v1/users/{}/ban", world.user);
    let banned = world.app.operator().post(&path, json!({})).await;
    banned.expect(200);
    assert!(judged(&world.app, &token).await.is_err());
    error(&world.ask(&[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn other_keys_of_the_agent_or_the_end_of_the_client_end_it() {
    // Its keys are replaced: the client's is one of them, and an operator gives it another.
    let world = itself().await;
    let token = world.token().await;
    let path = format!("/api/v1/agents/{}/rotate", world.agent.id);
    let rotated = world.app.operator().post(&path, json!({})).await;
    rotated.expect(201);
    assert!(judged(&world.app, &token).await.is_err());
    error(&world.ask(&[]).await, 400, "invalid_grant");
    let again = json!({ "agent": world.agent.id });
    let operator = world.app.operator();
    let healed = operator.patch(&world.path(), again.clone()).await;
    healed.expect(200);
    let token = world.token().await;
    // Again: what was made with the key before is dead.
    let again = world.app.operator().patch(&world.path(), again).await;
    again.expect(200);
    assert!(judged(&world.app, &token).await.is_err());
    let token = world.token().await;
    judged(&world.app, &token).await.unwrap();
    let gone = world.app.operator().delete(&world.path()).await;
    gone.expect(200);
    assert!(judged(&world.app, &token).await.is_err());
    error(&world.ask(&[]).await, 401, "invalid_client");
    // The agent does not end with the client.
    let path = format!("/api/v1/agents/{}", world.agent.id);
    let agent = world.app.operator().get(&path).await.expect(200);
    assert_eq!(agent.at("/data/status"), "active");
}

#[tokio::test]
async fn a_client_gives_its_token_back_and_asks_for_the_next() {
    let world = itself().await;
    let token = world.token().await;
    let fields = [
        ("client_id", world.id.as_str()),
        ("client_secret", &world.secret),
        ("token", &token),
    ];
    let call = world.app.anonymous();
    let given = call.post_form("/oauth/revoke", &fields).await;
    given.expect(200);
    assert!(judged(&world.app, &token).await.is_err());
    let next = world.token().await;
    judged(&world.app, &next).await.unwrap();
}

#[tokio::test]
async fn nobody_asks_for_themselves_who_was_not_made_an_agent() {
    let world = world().await;
    let app = &world.app;
    let agent = app.agent(&world.user, may(&["*"], "tools:call:*")).await;
    // At registration.
    let with = |member: &str, value: Value| {
        let mut new = new(&agent);
        new[member] = value;
        new
    };
    let weak = json!({ "name": "k", "scopes": ["resources:write"] });
    let weak = app.key(weak).await;
    let low = json!({ "name": "k", "scopes": ["resources:write", "agents:write"], "ceiling": may(&["*"], "mail:*") });
    let low = app.key(low).await;
    let operator = app.operator_key();
    for (key, new, status) in [
        (operator, with("agent", Value::Null), 400),
        (operator, with("agent", json!("x")), 400),
        (
            operator,
            with("agent", json!("agent_01h455vb4pex5vsknk084sn02q")),
            404,
        ),
        (operator, with("authMethod", json!("none")), 400),
        (
            operator,
            json!({ "name": "a", "redirectUris": ["https://app.example.com/cb"], "agent": agent.id }),
            400,
        ),
        (&weak, new(&agent), 403),
        (&low, new(&agent), 403),
    ] {
        let told = app.call(key).post(CLIENTS, new.clone()).await;
        assert_eq!(told.status, status, "{new}: {told}");
    }
    // An application that a human let in is theirs, and nobody else's client.
    world.let_in().await;
    let agents = app.operator().get("/api/v1/agents").await.expect(200);
    let let_in = agents
        .rows()
        .iter()
        .find(|agent| agent["name"] == "Editor")
        .unwrap();
    let theirs = with("agent", let_in["id"].clone());
    let told = app.operator().post(CLIENTS, theirs).await;
    assert_eq!(told.status, 409, "{told}");
    // At the token endpoint: one that shows nothing, and one that did not register for it.
    let fields = [
        GRANT,
        ("client_id", world.client.as_str()),
        ("resource", TOOLS),
    ];
    let public = app.anonymous().post_form(TOKEN, &fields).await;
    error(&public, 400, "unauthorized_client");
    let site = json!({ "name": "Site", "redirectUris": ["https://app.example.com/cb"] });
    let site = client(app, site).await;
    let fields = [
        GRANT,
        ("client_id", site.id()),
        ("client_secret", site.text_at("/data/token")),
        ("resource", TOOLS),
    ];
    let other = app.anonymous().post_form(TOKEN, &fields).await;
    error(&other, 400, "unauthorized_client");
}

/// Whoever says by what such a client shows who it is could be its agent.
#[tokio::test]
async fn nobody_becomes_an_agent_by_way_of_its_client() {
    let world = world().await;
    let app = &world.app;
    let agent = app.agent(&world.user, may(&["*"], "tools:call:*")).await;
    let made = client(app, new(&agent)).await;
    let plain = json!({ "name": "Site", "redirectUris": ["https://app.example.com/cb"] });
    let plain = client(app, plain).await;
    let weak = json!({ "name": "k", "scopes": ["resources:write"] });
    let low = json!({ "name": "k", "scopes": ["resources:write", "agents:write"], "ceiling": may(&["*"], "mail:*") });
    for key in [app.key(weak).await, app.key(low).await] {
        let another = app.call(&key).post(CLIENTS, new(&agent)).await;
        assert_eq!(another.status, 403, "{another}");
        let own = format!("{CLIENTS}/{}", made.id());
        let rotate = format!("{own}/rotate");
        let rotated = app.call(&key).post(&rotate, json!({})).await;
        assert_eq!(rotated.status, 403, "{rotated}");
        for change in [
            json!({ "dpopBound": false }),
            json!({ "grantTypes": ["client_credentials"] }),
            json!({ "jwks": { "keys": [] } }),
        ] {
            let told = app.call(&key).patch(&own, change.clone()).await;
            assert!([400, 403].contains(&told.status), "{change}: {told}");
        }
        // What says nothing of that, and what is no agent, is theirs to change.
        let named = app.call(&key).patch(&own, json!({ "name": "n" })).await;
        named.expect(200);
        let other = format!("{CLIENTS}/{}/rotate", plain.id());
        app.call(&key).post(&other, json!({})).await.expect(201);
    }
    let own = format!("{CLIENTS}/{}/rotate", made.id());
    app.operator().post(&own, json!({})).await.expect(201);
}

/// What replaces an agent's keys reads them all, so that there is a bound on them.
#[tokio::test]
async fn one_agent_is_ten_clients_at_most() {
    let world = itself().await;
    let mut last = String::new();
    for _ in 1..10 {
        last = client(&world.app, new(&world.agent)).await.id().to_owned();
    }
    let more = world.app.operator().post(CLIENTS, new(&world.agent)).await;
    assert_eq!((more.status, more.code()), (400, "malformed_request"));
    let path = format!("{CLIENTS}/{last}");
    // One that gets another key is no further one.
    let again = json!({ "agent": world.agent.id });
    let again = world.app.operator().patch(&path, again).await;
    again.expect(200);
    world.app.operator().delete(&path).await.expect(200);
    client(&world.app, new(&world.agent)).await;
    // All of them end with the agent's own key.
    let token = world.token().await;
    let path = format!("/api/v1/agents/{}/rotate", world.agent.id);
    let rotated = world.app.operator().post(&path, json!({})).await;
    rotated.expect(201);
    assert!(judged(&world.app, &token).await.is_err());
    let old = world.app.call(&world.agent.key);
    assert_eq!(old.post(DELEGATE, own(&world.agent)).await.status, 401);
}

#[tokio::test]
async fn a_client_binds_its_tokens_to_a_key() {
    let world = itself().await;
    let bound = json!({ "dpopBound": true });
    let changed = world.app.operator().patch(&world.path(), bound).await;
    changed.expect(200);
    error(&world.ask(&[]).await, 400, "invalid_dpop_proof");
    let fields = [
        GRANT,
        ("client_id", world.id.as_str()),
        ("client_secret", &world.secret),
        ("resource", TOOLS),
    ];
    let told = proven(&world.app, 7, &fields).await.expect(200);
    assert_eq!(told.at("/token_type"), "DPoP");
    let leaf = opened(&world.app, told.text_at("/access_token")).await;
    assert!(leaf.bound_to.is_some());
}
