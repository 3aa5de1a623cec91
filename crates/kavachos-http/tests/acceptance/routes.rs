//! Every route of the router, with a call that an operator may make.

use std::collections::BTreeSet;

use http::Method;
use kavachos_test::{Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

/// What an agent key gets at a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentKey {
    /// It may call it for itself and for what is its own.
    ForItself,
    /// It needs an operator.
    Refused,
}

/// One route, and the scope that it asks of an operator's key.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// With the name of a thing of the [`World`] for each id.
    pub(crate) path: &'static str,
    pub(crate) body: Option<Value>,
    pub(crate) scope: &'static str,
    pub(crate) agent_key: AgentKey,
}

/// The things that the routes are about.
pub(crate) struct World {
    pub(crate) user: String,
    pub(crate) banned: String,
    pub(crate) agent: TestAgent,
    pub(crate) other: TestAgent,
    pub(crate) suspended: TestAgent,
    pub(crate) delegation: String,
    pub(crate) key: String,
    pub(crate) audit: String,
    pub(crate) resource: String,
}

impl World {
    pub(crate) async fn new(app: &TestApp) -> Self {
        let operator = app.operator();
        let (user, banned) = (app.user().await, app.user().await);
        let ban = format!("/api/v1/users/{banned}/ban");
        operator.post(&ban, json!({})).await.expect(200);
        let agent = app.agent(&user, may(&["read"], "mcp:github:*")).await;
        let other = app.agent(&user, may(&["read"], "mcp:slack:*")).await;
        let suspended = app.agent(&user, may(&["read"], "mcp:*")).await;
        let suspend = format!("/api/v1/agents/{}/suspend", suspended.id);
        operator.post(&suspend, json!({})).await.expect(200);
        let repos = may(&["read"], "mcp:github:repos");
        let delegation = app.delegate(&agent.id, &other.id, repos).await.expect(201);
        let key = json!({ "name": "reader", "scopes": ["audit:read"] });
        let key = operator.post("/api/v1/keys", key).await.expect(201);
        let server = json!({
            "audience": "https://tools.example.com/mcp", "name": "tools",
            "scopes": [{ "name": "mcp:github:*", "description": "read repositories" }],
        });
        let server = operator.post("/api/v1/resources", server).await.expect(201);
        let decision = app.decide(&agent.id, "read", "mcp:github:repos").await;
        Self {
            user,
            banned,
            agent,
            other,
            suspended,
            delegation: delegation.id().to_owned(),
            key: key.id().to_owned(),
            resource: server.id().to_owned(),
            audit: decision.text_at("/data/auditId").to_owned(),
        }
    }

    /// A text with the ids of this world for their names.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{user}", &self.user)
            .replace("{banned}", &self.banned)
            .replace("{agent}", &self.agent.id)
            .replace("{other}", &self.other.id)
            .replace("{suspended}", &self.suspended.id)
            .replace("{delegation}", &self.delegation)
            .replace("{key}", &self.key)
            .replace("{audit}", &self.audit)
            .replace("{resource}", &self.resource)
    }
}

impl Route {
    /// Makes the call of this route.
    pub(crate) async fn call(&self, caller: &kavachos_test::Call, world: &World) -> Reply {
        let body = self.body.as_ref().map(|body| world.fill(&body.to_string()));
        let path = world.fill(self.path);
        let body = body.map(String::into_bytes);
        caller.send(self.method.clone(), &path, body).await
    }

    /// Whether it asks something that cannot be answered again later.
    pub(crate) fn is_question(&self) -> bool {
        self.is_decision() || self.is_authzen() || self.path == "/api/v1/explain"
    }

    /// Whether it asks for decisions, for which a dead key of an agent is answered with one.
    pub(crate) fn is_decision(&self) -> bool {
        self.path.starts_with("/api/v1/authorize")
    }

    /// Whether it speaks AuthZEN: an error is a plain message, and unknown members are ignored.
    pub(crate) fn is_authzen(&self) -> bool {
        self.path.starts_with("/access/")
    }

    /// Fails unless this is a refusal of the route with this status and code; AuthZEN has a message instead of a code.
    #[track_caller]
    pub(crate) fn refused(&self, reply: &Reply, status: u16, code: &str) {
        let (name, told) = (self.name(), reply.code());
        assert_eq!(reply.status, status, "{name}: {reply}");
        if self.is_authzen() {
            assert!(
                reply.body.is_null() && !reply.text.is_empty(),
                "{name}: {reply}"
            );
        } else {
            assert_eq!(told, code, "{name}: {reply}");
        }
    }

    /// Fails unless this is a 400 of the route that names this member, header or parameter.
    #[track_caller]
    pub(crate) fn malformed(&self, reply: &Reply, field: &str) {
        self.refused(reply, 400, "malformed_request");
        let named = match self.is_authzen() {
            true => reply.text.starts_with(&format!("{field}: ")),
            false => reply.field() == field,
        };
        assert!(named, "{}: {reply}", self.name());
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path as the router writes it.
    fn pattern(&self) -> String {
        let segment = |segment: &str| match segment.starts_with('{') {
            true => "{id}".to_owned(),
            false => segment.to_owned(),
        };
        let segments: Vec<_> = self.path.split('/').map(segment).collect();
        segments.join("/")
    }
}

/// All routes but the open ones.
pub(crate) fn routes() -> Vec<Route> {
    let none = || Value::Null;
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let sub_agent = json!({
        "ownerId": "{agent}", "name": "sub", "type": "autonomous",
        "permissions": may(&["read"], "mcp:github:repos"),
    });
    let delegation = json!({
        "from": "{agent}", "to": "{other}", "reason": "look",
        "permissions": may(&["read"], "mcp:github:issues"),
    });
    let new_key = json!({ "name": "k", "scopes": ["keys:write"] });

    let reads = route("agents:read", AgentKey::ForItself);
    let writes = route("agents:write", AgentKey::ForItself);
    let manages = route("agents:write", AgentKey::Refused);
    let audits = route("audit:read", AgentKey::Refused);
    let sees_users = route("users:read", AgentKey::Refused);
    let keeps_users = route("users:write", AgentKey::Refused);
    let keeps_keys = route("keys:write", AgentKey::Refused);
    let mut all = vec![
        reads(get.clone(), "/api/v1/agents", none()),
        writes(post.clone(), "/api/v1/agents", sub_agent),
        reads(get.clone(), "/api/v1/agents/{agent}", none()),
        manages(
            patch.clone(),
            "/api/v1/agents/{agent}",
            json!({ "name": "n" }),
        ),
        writes(delete.clone(), "/api/v1/agents/{agent}", none()),
        manages(post.clone(), "/api/v1/agents/{agent}/rotate", json!({})),
        manages(post.clone(), "/api/v1/agents/{agent}/suspend", json!({})),
        manages(post.clone(), "/api/v1/agents/{suspended}/resume", json!({})),
        reads(get.clone(), "/api/v1/agents/{agent}/permissions", none()),
        audits(get.clone(), "/api/v1/explain/{audit}", none()),
        reads(get.clone(), "/api/v1/delegations", none()),
        writes(post.clone(), "/api/v1/delegations", delegation),
        reads(get.clone(), "/api/v1/delegations/{delegation}", none()),
        writes(delete.clone(), "/api/v1/delegations/{delegation}", none()),
        audits(get.clone(), "/api/v1/audit", none()),
        audits(get.clone(), "/api/v1/audit/{audit}", none()),
        sees_users(get.clone(), "/api/v1/users", none()),
        keeps_users(post.clone(), "/api/v1/users", json!({ "name": "Bob" })),
        sees_users(get.clone(), "/api/v1/users/{user}", none()),
        keeps_users(
            patch.clone(),
            "/api/v1/users/{user}",
            json!({ "name": "n" }),
        ),
        keeps_users(delete.clone(), "/api/v1/users/{user}", none()),
        keeps_users(post.clone(), "/api/v1/users/{user}/ban", json!({})),
        keeps_users(post.clone(), "/api/v1/users/{banned}/unban", json!({})),
        keeps_keys(get.clone(), "/api/v1/keys", none()),
        keeps_keys(post, "/api/v1/keys", new_key),
        keeps_keys(get, "/api/v1/keys/{key}", none()),
        keeps_keys(patch, "/api/v1/keys/{key}", json!({ "name": "n" })),
        keeps_keys(delete, "/api/v1/keys/{key}", none()),
    ];
    all.extend(questions());
    all.extend(tool_servers());
    all
}

/// Routes that ask for decisions, or why.
fn questions() -> Vec<Route> {
    let decides = route("authorize:any", AgentKey::ForItself);
    let asks = route("authorize:any", AgentKey::Refused);
    let question =
        json!({ "agentId": "{agent}", "action": "read", "resource": "mcp:github:repos" });
    let batch = json!({ "requests": [&question] });
    let evaluation = json!({
        "subject": { "type": "agent", "id": "{agent}" },
        "action": { "name": "read" },
        "resource": { "type": "mcp:github", "id": "repos" },
    });
    let evaluations = json!({ "evaluations": [&evaluation] });
    let post = Method::POST;
    vec![
        decides(post.clone(), "/api/v1/authorize", question.clone()),
        decides(post.clone(), "/api/v1/authorize/batch", batch),
        asks(post.clone(), "/api/v1/explain", question),
        asks(post.clone(), "/access/v1/evaluation", evaluation),
        asks(post, "/access/v1/evaluations", evaluations),
    ]
}

fn tool_servers() -> Vec<Route> {
    let keeps = route("resources:write", AgentKey::Refused);
    let new = json!({
        "audience": "https://other.example.com/mcp", "name": "r",
        "scopes": [{ "name": "mcp:slack:*", "description": "send messages" }],
    });
    let (all, one) = ("/api/v1/resources", "/api/v1/resources/{resource}");
    vec![
        keeps(Method::GET, all, Value::Null),
        keeps(Method::POST, all, new),
        keeps(Method::GET, one, Value::Null),
        keeps(Method::PATCH, one, json!({ "name": "n" })),
        keeps(Method::DELETE, one, Value::Null),
    ]
}

/// Makes routes that ask for a scope.
fn route(
    scope: &'static str,
    agent_key: AgentKey,
) -> impl Fn(Method, &'static str, Value) -> Route {
    move |method, path, body| Route {
        method,
        path,
        body: (!body.is_null()).then_some(body),
        scope,
        agent_key,
    }
}

/// The open routes: all others need a credential.
pub(crate) const OPEN: [&str; 5] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/version",
    "/.well-known/authzen-configuration",
];

/// The routes that only a proxy with its own key may call; see `forward_auth`.
const OF_PROXIES: [&str; 1] = ["/api/v1/forward-auth"];

/// The paths in the source of the router.
fn paths_of_the_router() -> BTreeSet<String> {
    let source = include_str!("../../src/routes/mod.rs");
    let after_route = source.split(".route(").skip(1);
    let path = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
    after_route.map(path).collect()
}

#[test]
fn the_list_names_every_path_of_the_router() {
    let listed = routes().iter().map(Route::pattern).collect::<BTreeSet<_>>();
    let others = OPEN.into_iter().chain(OF_PROXIES).map(str::to_owned);
    let listed: BTreeSet<_> = listed.into_iter().chain(others).collect();
    assert_eq!(listed, paths_of_the_router());
    assert!(listed.len() > 20, "the router's source was not read");
}

#[tokio::test]
async fn the_list_names_every_method_of_each_path() {
    let app = TestApp::start().await;
    let world = World::new(&app).await;
    let routes = routes();
    for route in &routes {
        let path = world.fill(route.path);
        let reply = app.operator().send(Method::PUT, &path, None).await;
        route.refused(&reply, 405, "method_not_allowed");
        let allow = reply.header("allow").to_owned();
        let known: BTreeSet<_> = allow.split(',').filter(|name| *name != "HEAD").collect();
        let same_path = routes
            .iter()
            .filter(|other| other.pattern() == route.pattern());
        let listed: Vec<String> = same_path.map(|other| other.method.to_string()).collect();
        let listed: BTreeSet<_> = listed.iter().map(String::as_str).collect();
        assert_eq!(known, listed, "at {}", route.path);
    }
}
