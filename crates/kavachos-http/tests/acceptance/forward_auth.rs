//! What a proxy is told, and what a client cannot make it be told.

use http::Method;

use kavachos_core::token::{AssertedCall, Assertion, Code, KeySet};
use kavachos_test::{Call, Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::tokens::{DELEGATE, opened};

const PATH: &str = "/api/v1/forward-auth";

/// A server that trusts proxies on the loopback, a proxy's key for `api.example.com`, and an agent that may read there.
pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) proxy: String,
    pub(crate) user: String,
    pub(crate) agent: TestAgent,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(may(&["get"], "http:api.example.com:public:*")).await
    }

    pub(crate) async fn with(permissions: Value) -> Self {
        let setup = crate::setup().trusting(&["127.0.0.1/32"]);
        Self::on(setup.start().await, permissions).await
    }

    async fn of(app: TestApp) -> Self {
        Self::on(app, may(&["get"], "http:api.example.com:public:*")).await
    }

    async fn on(app: TestApp, permissions: Value) -> Self {
        let user = app.user().await;
        let agent = app.agent(&user, permissions).await;
        let server = json!({
            "audience": "https://api.example.com", "name": "proxy", "party": "first", "kind": "kavach",
            "scopes": [{ "name": "http:api.example.com:*", "description": "the API" }],
        });
        let server = app.operator().post("/api/v1/resources", server).await;
        Self {
            proxy: server.expect(201).text_at("/data/token").to_owned(),
            app,
            user,
            agent,
        }
    }

    /// The proxy, before it describes a call.
    fn proxy(&self) -> Call {
        self.app
            .call(&self.agent.key)
            .header("kavach-proxy-key", &self.proxy)
    }

    fn describing(call: Call, method: &str, uri: &str) -> Call {
        call.header("x-forwarded-method", method)
            .header("x-forwarded-host", "api.example.com")
            .header("x-forwarded-uri", uri)
            .header("x-forwarded-for", "192.0.2.7")
    }

    async fn ask(&self, method: &str, uri: &str) -> Reply {
        Self::describing(self.proxy(), method, uri).get(PATH).await
    }

    async fn ask_with(&self, name: &str, value: &str) -> Reply {
        let call = Self::describing(self.proxy(), "GET", "/public/a");
        call.header(name, value).get(PATH).await
    }
}

#[tokio::test]
async fn a_call_that_is_allowed_is_200_with_who_it_is_and_the_record_says_so() {
    let world = World::new().await;
    for method in [Method::GET, Method::POST] {
        let call = World::describing(world.proxy(), "GET", "/public/a?q=1");
        let reply = call.send(method, PATH, None).await.expect(200);
        assert_eq!(reply.header("kavach-agent"), world.agent.id);
        assert_eq!(reply.header("kavach-user"), world.user);
        assert_eq!(reply.header("kavach-audit"), reply.text_at("/data/auditId"));
        assert_eq!(reply.header("kavach-decision"), "allow");
    }
    let records = world.app.audit("kind=decision").await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["outcome"], "allowed");
    assert_eq!(records[0]["action"], "get");
    assert_eq!(records[0]["resource"], "http:api.example.com:public:a");
    assert_eq!(records[0]["agent"], world.agent.id.as_str());
    assert_eq!(records[0]["ip"], "192.0.2.7");
    assert!(
        records[0]["actor"]
            .as_str()
            .unwrap()
            .starts_with("resource_")
    );
}

/// The keys with which what is behind a proxy checks what the proxy hands on.
pub(crate) async fn assertion_keys(app: &TestApp) -> KeySet {
    let path = "/.well-known/kavach-assertion-keys.json";
    let set = app.anonymous().get(path).await.expect(200);
    KeySet::from_jwks(set.text.as_bytes()).unwrap()
}

impl World {
    /// What a server behind the proxy makes of an assertion that came with this call.
    pub(crate) async fn checked(
        &self,
        assertion: &str,
        (method, host, uri): (&str, &str, &str),
    ) -> Result<Assertion, Code> {
        let keys = assertion_keys(&self.app).await;
        let call = AssertedCall {
            method: method.to_owned(),
            host: host.to_owned(),
            uri: uri.to_owned(),
        };
        let issuer = self.app.kavach().engine().settings().issuer.clone();
        let audience = "https://api.example.com".parse().unwrap();
        let now = self.app.kavach().engine().now();
        Assertion::check(assertion, (&issuer, &audience), &keys, &call, now)
            .map_err(|failure| failure.code)
    }
}

#[tokio::test]
async fn what_a_proxy_hands_on_is_signed_for_this_call_alone() {
    let world = World::new().await;
    let sub = world
        .app
        .agent(
            &world.agent.id,
            may(&["get"], "http:api.example.com:public:*"),
        )
        .await;
    let call = world.app.call(&sub.key);
    let call = call.header("kavach-proxy-key", &world.proxy);
    let reply = World::describing(call, "GET", "/public/a?q=1")
        .get(PATH)
        .await;
    let text = reply.expect(200).header("kavach-assertion").to_owned();
    let (host, uri) = ("api.example.com", "/public/a?q=1");
    let said = world.checked(&text, ("GET", host, uri)).await.unwrap();
    assert_eq!(said.subject.as_str(), world.user);
    assert_eq!(said.agent.to_string(), sub.id);
    let above: Vec<String> = said.chain.iter().map(ToString::to_string).collect();
    assert_eq!(above, [world.agent.id.as_str()]);
    let record = world.app.audit("kind=decision").await.remove(0);
    assert_eq!(record["id"], said.audit.to_string().as_str());
    for other in [
        ("POST", host, uri),
        ("GET", "other.example.com", uri),
        ("GET", host, "/public/b"),
        ("GET", host, "/public/a?q=2"),
    ] {
        let refused = world.checked(&text, other).await;
        assert_eq!(refused, Err(Code::ProofInvalid), "{other:?}");
    }
    // It is no token, and no token is one.
    let keys = assertion_keys(&world.app).await;
    let leaf = kavachos_core::token::Leaf::open(&text, &said.issuer, &keys);
    assert_eq!(leaf.unwrap_err().code, Code::WrongType);
    world.app.advance(30);
    let late = world.checked(&text, ("GET", host, uri)).await;
    assert_eq!(late, Err(Code::Expired));
}

#[tokio::test]
async fn what_is_not_let_through_is_not_signed_and_without_keys_nothing_is() {
    let world = World::new().await;
    for (uri, signed) in [("/public/a", true), ("/admin", false)] {
        let reply = world.ask("GET", uri).await;
        assert_eq!(
            !reply.header("kavach-assertion").is_empty(),
            signed,
            "{uri}"
        );
    }
    let app = crate::setup()
        .trusting(&["127.0.0.1/32"])
        .without_master_key();
    let world = World::of(app.start().await).await;
    let reply = world.ask("GET", "/public/a").await.expect(200);
    assert_eq!(reply.header("kavach-assertion"), "");
    assert_eq!(reply.header("kavach-user"), world.user);
}

/// Others' tool servers know a human by the name that their tokens have. Two of them have no name in common.
#[tokio::test]
async fn others_tool_servers_are_told_of_humans_as_their_tokens_tell_them() {
    let world = World::new().await;
    let app = &world.app;
    let register = async |audience: &str| {
        let server = json!({
            "audience": audience, "name": "another", "party": "first", "kind": "kavach",
            "scopes": [{ "name": "http:api.example.com:*", "description": "the same API" }],
        });
        let made = app.operator().post("/api/v1/resources", server).await;
        let made = made.expect(201);
        (
            made.text_at("/data/id").to_owned(),
            made.text_at("/data/token").to_owned(),
        )
    };
    let (id, key) = register("https://other.example.com").await;
    let told = async |key: &str| {
        let call = app.call(&world.agent.key).header("kavach-proxy-key", key);
        let reply = World::describing(call, "GET", "/public/a").get(PATH).await;
        reply.expect(200).header("kavach-user").to_owned()
    };
    // The twin: our own are told who it is.
    assert_eq!(told(&world.proxy).await, world.user);
    assert_eq!(told(&key).await, world.user);
    let servers = app.operator().get("/api/v1/resources").await.expect(200);
    let is_first = |row: &&Value| row["audience"] == "https://api.example.com";
    let first = servers.rows().iter().find(is_first).unwrap()["id"].clone();
    for id in [id.as_str(), first.as_str().unwrap()] {
        let path = format!("/api/v1/resources/{id}");
        let third = json!({ "party": "third" });
        app.operator().patch(&path, third).await.expect(200);
    }
    let name = told(&world.proxy).await;
    assert!(name.starts_with("pair_"), "{name}");
    assert_ne!(told(&key).await, name);
    // Signed it says the same, and so does a token.
    let reply = world.ask("GET", "/public/a").await.expect(200);
    let call = ("GET", "api.example.com", "/public/a");
    let said = world.checked(reply.header("kavach-assertion"), call).await;
    assert_eq!(said.unwrap().subject.as_str(), name);
    let ask = json!({
        "audience": "https://api.example.com", "agent": world.agent.id, "reason": "read",
        "permissions": may(&["get"], "http:api.example.com:public:a"),
    });
    let token = app.call(&world.agent.key).post(DELEGATE, ask).await;
    let leaf = opened(app, token.expect(200).text_at("/data/token")).await;
    assert_eq!(leaf.authority.subject.as_str(), name);
}

#[tokio::test]
async fn without_a_master_key_others_tool_servers_are_told_no_name() {
    let setup = crate::setup().trusting(&["127.0.0.1/32"]);
    let world = World::of(setup.without_master_key().start().await).await;
    let servers = world.app.operator().get("/api/v1/resources").await;
    let path = format!("/api/v1/resources/{}", servers.text_at("/data/0/id"));
    for (party, told) in [("first", world.user.as_str()), ("third", "")] {
        let change = json!({ "party": party });
        world.app.operator().patch(&path, change).await.expect(200);
        let reply = world.ask("GET", "/public/a").await.expect(200);
        assert_eq!(reply.header("kavach-user"), told);
        assert_eq!(reply.header("kavach-agent"), world.agent.id);
    }
}

/// F25: what was let through is recorded as allowed, what was not as denied.
#[tokio::test]
async fn f25_the_record_says_what_the_proxy_was_told() {
    let world = World::new().await;
    for (method, uri, status) in [
        ("GET", "/public/a", 200),
        ("GET", "/admin", 403),
        ("DELETE", "/public/a", 403),
        ("GET", "/public/..%2fadmin", 403),
        ("GET", "/public/b", 200),
    ] {
        let reply = world.ask(method, uri).await.expect(status);
        let records = world.app.audit("kind=decision&limit=1000").await;
        let expected = if status == 200 { "allowed" } else { "denied" };
        assert_eq!(records[0]["outcome"], expected, "{method} {uri}: {reply}");
        assert_eq!(records[0]["agent"], world.agent.id.as_str());
    }
    assert_eq!(world.app.audit("kind=decision").await.len(), 5);
}

/// F25: a path is judged as what stands behind the proxy reads it, or not let through.
#[tokio::test]
async fn f25_encoded_separators_and_dot_segments_are_refused() {
    let world = World::with(may(&["*"], "http:api.example.com:*")).await;
    for uri in [
        "/public/..%2fadmin",
        "/public/..%2Fadmin",
        "/public/%2e%2e/admin",
        "/public%5c..%5cadmin",
        "/public\\..\\admin",
        "/public/%252e%252e/admin",
        "/public/%252fadmin",
        "/public/../admin",
        "/public/./admin",
        "/public//admin",
        "/public/..;/admin",
        "/public/a%00",
        "http://other.example.com/admin",
        "admin",
        "",
    ] {
        let reply = world.ask("GET", uri).await;
        reply.refused(403, "forbidden");
    }
    assert_eq!(
        world.app.audit("kind=decision&outcome=allowed").await.len(),
        0
    );
    // The twin: the same paths without their tricks are let through, in whatever spelling servers agree upon.
    for uri in [
        "/admin",
        "/public/admin",
        "/public/%61dmin",
        "/public/a%20b",
        "/",
    ] {
        let expected = if uri == "/" { 403 } else { 200 };
        world.ask("GET", uri).await.expect(expected);
    }
    // And an encoded letter is no other resource.
    let narrow = World::with(may(&["get"], "http:api.example.com:admin")).await;
    narrow.ask("GET", "/%61dmi%6e").await.expect(200);
    narrow.ask("GET", "/public").await.expect(403);
}

#[tokio::test]
async fn a_client_that_sets_what_only_a_proxy_sets_is_refused() {
    let world = World::new().await;
    for name in [
        "kavach-agent",
        "kavach-user",
        "Kavach_Agent",
        "kavach-assertion",
        "x_forwarded_uri",
        "x-forwarded-uri",
        "x-forwarded-method",
        "x-forwarded-host",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
    ] {
        let reply = world.ask_with(name, "/admin").await;
        reply.refused(403, "forbidden");
    }
    let twice = world.ask_with("kavach-proxy-key", &world.proxy).await;
    twice.refused(401, "unauthenticated");
    // The twin: other headers are the tool's business.
    for name in ["accept", "cookie", "x-kavach-agent", "x-forwarded-proto"] {
        world.ask_with(name, "x").await.expect(200);
    }
}

#[tokio::test]
async fn only_a_proxy_with_a_key_of_its_own_and_a_trusted_address_is_answered() {
    let world = World::new().await;
    let ask = async |call: Call| World::describing(call, "GET", "/public/a").get(PATH).await;
    let agent = || world.app.call(&world.agent.key);
    let key = "kavach-proxy-key";
    ask(agent()).await.refused(401, "unauthenticated");
    for wrong in ["", "kv_res_x", &world.agent.key, world.app.operator_key()] {
        let reply = ask(agent().header(key, wrong)).await;
        reply.refused(401, "unauthenticated");
    }
    let elsewhere = agent().header(key, &world.proxy).from("127.0.0.2");
    ask(elsewhere).await.refused(403, "forbidden");
    let refused = world.app.audit("kind=decision").await;
    assert_eq!(
        (refused.len(), &refused[0]["outcome"]),
        (1, &json!("denied"))
    );
    // The twin.
    ask(agent().header(key, &world.proxy)).await.expect(200);
    // A revoked proxy is none.
    let servers = world.app.operator().get("/api/v1/resources").await;
    let path = format!("/api/v1/resources/{}", servers.text_at("/data/0/id"));
    world.app.operator().delete(&path).await.expect(200);
    ask(agent().header(key, &world.proxy))
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_proxy_asks_about_its_own_hosts_only() {
    let world = World::with(may(&["*"], "*")).await;
    let ask = async |host: &str| {
        let call = world.proxy().header("x-forwarded-host", host);
        let call = call
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-uri", "/a");
        call.get(PATH).await
    };
    for own in ["api.example.com", "API.example.com", "api.example.com:443"] {
        ask(own).await.expect(200);
    }
    for foreign in [
        "other.example.com",
        "api.example.com:8443",
        "api.example.com.",
        "api.example.com, a",
        "",
    ] {
        ask(foreign).await.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn an_agent_without_a_live_key_is_401() {
    let world = World::new().await;
    let ask = async |call: Call| {
        let call = call.header("kavach-proxy-key", &world.proxy);
        World::describing(call, "GET", "/public/a").get(PATH).await
    };
    let unknown = "kv_agent_0000000000000000000000000000000000000000000000000";
    for call in [
        world.app.anonymous(),
        world.app.call("kv_agent_x"),
        world.app.call(unknown),
        world.app.call(world.app.operator_key()),
        world.app.call(&world.proxy),
    ] {
        let reply = ask(call).await.refused(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"kavach\"");
    }
    ask(world.app.call(&world.agent.key)).await.expect(200);
    let rotate = format!("/api/v1/agents/{}/rotate", world.agent.id);
    let rotated = world
        .app
        .operator()
        .post(&rotate, json!({}))
        .await
        .expect(201);
    let dead = ask(world.app.call(&world.agent.key)).await.expect(401);
    assert_eq!(dead.code(), "key_revoked");
    assert_eq!(dead.header("www-authenticate"), "Bearer realm=\"kavach\"");
    for name in ["kavach-agent", "kavach-user"] {
        let value = dead.headers.get(name).expect("always set");
        assert!(value.is_empty(), "{name}");
    }
    ask(world.app.call(rotated.text_at("/data/token")))
        .await
        .expect(200);
}

#[tokio::test]
async fn what_a_body_would_have_to_show_is_refused_since_nobody_saw_it() {
    let limited = |constraints: Value| json!([{ "resource": "http:api.example.com:*", "actions": ["post"], "constraints": constraints }]);
    for (constraints, code) in [
        (
            json!({ "args": { "/path": { "prefix": "/srv" } } }),
            "argument_not_allowed",
        ),
        (
            json!({ "allowedArgPatterns": ["^a$"] }),
            "argument_not_allowed",
        ),
        (json!({ "requireApproval": true }), "approval_required"),
    ] {
        let world = World::with(limited(constraints.clone())).await;
        let call = World::describing(world.proxy(), "POST", "/a");
        let body = json!({ "path": "/srv/a", "arguments": { "path": "/srv/a" } });
        let reply = call.post(PATH, body).await.expect(403);
        assert_eq!(reply.code(), code, "{constraints}");
    }
    let world = World::with(limited(json!({}))).await;
    world.ask("POST", "/a").await.expect(200);
}

/// Nobody saw the body, so no human is asked about it, and what a human said of a call that was seen is not used up.
#[tokio::test]
async fn a_call_at_a_proxy_neither_asks_for_an_approval_nor_uses_one() {
    let permissions = json!([{
        "resource": "http:api.example.com:*", "actions": ["post"],
        "constraints": { "requireApproval": true },
    }]);
    let world = World::with(permissions).await;
    let operator = world.app.operator();
    let reply = world.ask("POST", "/a").await.expect(403);
    assert_eq!(reply.code(), "approval_required");
    assert_eq!(reply.at("/data/approvalId"), &Value::Null);
    let asked = operator.get("/api/v1/approvals").await.expect(200);
    assert_eq!(asked.at("/data"), &json!([]));

    // The twin: the same call, asked about by the agent itself, makes a request; once approved it is allowed, once.
    let agent = world.app.call(&world.agent.key);
    let question = json!({ "action": "post", "resource": "http:api.example.com:a" });
    let ask = async || agent.post("/api/v1/authorize", question.clone()).await;
    let id = ask().await.text_at("/data/approvalId").to_owned();
    let path = format!("/api/v1/approvals/{id}");
    let digest = operator.get(&path).await.text_at("/data/digest").to_owned();
    let approve = format!("{path}/approve");
    let body = json!({ "digest": digest });
    operator.post(&approve, body).await.expect(200);
    let reply = world.ask("POST", "/a").await.expect(403);
    assert_eq!(reply.code(), "approval_required");
    ask().await.decided("allowed");
}

#[tokio::test]
async fn limits_are_429_and_rules_about_addresses_see_the_clients() {
    let permissions = json!([{
        "resource": "http:api.example.com:*", "actions": ["get"],
        "constraints": { "rate": { "limit": 1, "per": 60 }, "ipAllowlist": ["192.0.2.0/24"] },
    }]);
    let world = World::with(permissions).await;
    let from = async |address: &str| {
        let call = world.proxy().header("x-forwarded-host", "api.example.com");
        let call = call
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-uri", "/a");
        match address {
            "" => call.get(PATH).await,
            address => call.header("x-forwarded-for", address).get(PATH).await,
        }
    };
    // The proxy's own address, or what the client says before it, is not where the call comes from.
    for wrong in ["", "198.51.100.1", "192.0.2.7, 198.51.100.1"] {
        assert_eq!(
            from(wrong).await.expect(403).code(),
            "ip_not_allowed",
            "{wrong}"
        );
    }
    for unreadable in ["unknown", "192.0.2.7, unknown", "192.0.2.7 "] {
        let expected = if unreadable.contains("unknown") {
            "forbidden"
        } else {
            "allowed"
        };
        let world = World::new().await;
        let call = world.proxy().header("x-forwarded-host", "api.example.com");
        let call = call
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-uri", "/public/a");
        let reply = call.header("x-forwarded-for", unreadable).get(PATH).await;
        assert_eq!(reply.code(), expected, "{unreadable}");
        assert_eq!(world.app.audit("kind=decision").await.len(), 1);
    }
    from("198.51.100.1, 192.0.2.7").await.expect(200);
    let full = from("192.0.2.7").await.expect(429);
    assert_eq!(full.code(), "rate_limited");
    assert!(full.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(full.header("kavach-decision"), "deny");
}
