//! Every route of the router, with a call that an operator may make.

use std::collections::BTreeSet;

use http::Method;
use kavachos_test::{Reply, TestAgent, TestApp, TestSession, may, may_under};
use serde_json::{Value, json};

use crate::browser::{Browser, hidden, mark};
use crate::oauth_clients::{AUTHORIZE, SITE, query};
use crate::tokens::TOOLS;

/// What an agent key gets at a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentKey {
    /// It may call it for itself and for what is its own.
    ForItself,
    /// It needs an operator.
    Refused,
}

/// What a human's session gets at a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// It may call it for what is its human's.
    ForItsHuman,
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
    pub(crate) session: Session,
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
    pub(crate) approval: String,
    pub(crate) digest: String,
    pub(crate) session: TestSession,
    pub(crate) webhook: String,
    pub(crate) resource: String,
    pub(crate) client: String,
    /// The agent that the client is for the user, and its line.
    pub(crate) connection: String,
    pub(crate) line: String,
    /// A signing key that signs nothing yet.
    pub(crate) kid: String,
}

/// A client that is known by its document, in a path.
const DOCUMENT: &str = "https%3A%2F%2Fapp.example.com%2Fclient.json";

impl World {
    pub(crate) async fn new(app: &TestApp) -> Self {
        let operator = app.operator();
        let (user, banned) = (app.user().await, app.user().await);
        let ban = format!("/api/v1/users/{banned}/ban");
        operator.post(&ban, json!({})).await.expect(200);
        let mut permissions = may(&["read"], "mcp:github:*");
        let asks = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
        let both = permissions.as_array_mut().zip(asks.as_array());
        if let Some((all, more)) = both {
            all.extend(more.clone());
        }
        let agent = app.agent(&user, permissions).await;
        let other = app.agent(&user, may(&["read"], "mcp:slack:*")).await;
        let suspended = app.agent(&user, may(&["read"], "mcp:*")).await;
        let suspend = format!("/api/v1/agents/{}/suspend", suspended.id);
        operator.post(&suspend, json!({})).await.expect(200);
        let repos = may(&["read"], "mcp:github:repos");
        let delegation = app.delegate(&agent.id, &other.id, repos).await.expect(201);
        let key = json!({ "name": "reader", "scopes": ["audit:read"] });
        let key = operator.post("/api/v1/keys", key).await.expect(201);
        // Nothing listens there, which is no matter to anything but its messages.
        let webhook = json!({ "url": "http://127.0.0.1:65534/", "kinds": ["none"] });
        let webhook = operator.post("/api/v1/webhooks", webhook).await.expect(201);
        let server = json!({
            "audience": "https://tools.example.com/mcp", "name": "tools",
            "scopes": [{ "name": "mcp:github:*", "description": "read repositories" }],
        });
        let server = operator.post("/api/v1/resources", server).await.expect(201);
        let client = json!({ "name": "c", "redirectUris": ["https://app.example.com/cb"] });
        let client = operator.post("/api/v1/clients", client).await.expect(201);
        let deny = format!("/api/v1/clients/{DOCUMENT}/deny");
        operator.post(&deny, json!({})).await.expect(200);
        let decision = app.decide(&agent.id, "read", "mcp:github:repos").await;
        let asked = app.decide(&agent.id, "run", "mcp:deploy:site").await;
        let approval = asked.text_at("/data/approvalId").to_owned();
        let path = format!("/api/v1/approvals/{approval}");
        let digest = operator.get(&path).await.expect(200);
        let session = app.session(&user).await;
        let (connection, line) = connected(app, client.id(), &session.token).await;
        let keys = operator.get("/api/v1/signing-keys").await.expect(200);
        let keys = keys.at("/data").as_array().cloned().unwrap_or_default();
        let next = keys.iter().find(|key| key["state"] == "next");
        let kid = next.map_or("", |key| key["kid"].as_str().unwrap_or_default());
        Self {
            kid: kid.to_owned(),
            user,
            banned,
            agent,
            other,
            suspended,
            delegation: delegation.id().to_owned(),
            key: key.id().to_owned(),
            webhook: webhook.id().to_owned(),
            resource: server.id().to_owned(),
            client: client.id().to_owned(),
            connection,
            line,
            audit: decision.text_at("/data/auditId").to_owned(),
            approval,
            digest: digest.text_at("/data/digest").to_owned(),
            session,
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
            .replace("{approval}", &self.approval)
            .replace("{digest}", &self.digest)
            .replace("{session}", &self.session.id)
            .replace("{webhook}", &self.webhook)
            .replace("{resource}", &self.resource)
            .replace("{client}", &self.client)
            .replace("{connection}", &self.connection)
            .replace("{line}", &self.line)
            .replace("{document}", DOCUMENT)
            .replace("{kid}", &self.kid)
    }
}

/// Lets the client in, on the pages, by the human of this session.
async fn connected(app: &TestApp, client: &str, session: &str) -> (String, String) {
    let browser = Browser::of(app, session);
    let asked = [
        ("redirect_uri", SITE),
        ("scope", "mcp:github:*"),
        ("resource", TOOLS),
    ];
    let path = format!("{AUTHORIZE}?{}", query(client, &asked));
    let page = browser.open(&path).await.expect(303);
    let page = browser.open(page.header("location")).await.expect(200);
    let said = ["request", "since", "shown"].map(|name| (name, hidden(&page, name)));
    let mut fields: Vec<(&str, &str)> = said.iter().map(|(name, text)| (*name, &**text)).collect();
    fields.push(("decision", "allow"));
    let sent = browser.send_with(&mark(&page), "/consent", &fields).await;
    sent.expect(303);
    let all = app.operator().get("/api/v1/connections").await.expect(200);
    let agent = all.text_at("/data/0/agentId").to_owned();
    (agent, all.text_at("/data/0/lines/0/id").to_owned())
}

impl Route {
    /// Makes the call of this route.
    pub(crate) async fn call(&self, caller: &kavachos_test::Call, world: &World) -> Reply {
        let body = self.body.as_ref().map(|body| world.fill(&body.to_string()));
        let path = world.fill(self.path);
        let body = body.map(String::into_bytes);
        caller.send(self.method.clone(), &path, body).await
    }

    /// The same route, which a human may call for what is theirs.
    fn for_humans(self) -> Self {
        Self {
            session: Session::ForItsHuman,
            ..self
        }
    }

    /// Whether it asks something that cannot be answered again later.
    pub(crate) fn is_question(&self) -> bool {
        self.is_decision()
            || self.is_authzen()
            || self.path == "/api/v1/explain"
            || self.path == "/api/v1/export"
            || self.is_feed()
    }

    /// Whether it is for those who follow revocations: tool servers too.
    pub(crate) fn is_feed(&self) -> bool {
        self.path.starts_with("/api/v1/revocations")
    }

    /// Whether it shows one request for approval.
    pub(crate) fn is_approval(&self) -> bool {
        self.name() == "GET /api/v1/approvals/{approval}"
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
        // Of several things in a path, those behind the first are named.
        let mut first = true;
        let segment = |segment: &str| match segment.starts_with('{') {
            true if std::mem::take(&mut first) => "{id}".to_owned(),
            _ => segment.to_owned(),
        };
        let path = self.path.split('?').next().unwrap_or_default();
        let segments: Vec<_> = path.split('/').map(segment).collect();
        segments.join("/")
    }
}

/// All routes but the open ones.
pub(crate) fn routes() -> Vec<Route> {
    let mut all = agents();
    all.extend(connections());
    all.extend(delegations());
    all.extend(approvals());
    all.extend(ledger());
    all.extend(news());
    all.extend(users());
    all.extend(sessions());
    all.extend(keys());
    all.extend(questions());
    all.extend(tool_servers());
    all.extend(clients());
    all.extend(signing_keys());
    all.extend(exports());
    all.extend(feed());
    all
}

/// Makes routes that ask for this scope, and treat agents so; `null` stands for no body.
fn asking(
    scope: &'static str,
    agent_key: AgentKey,
) -> impl Fn(Method, &'static str, Value) -> Route {
    move |method, path, body| Route {
        method,
        path,
        body: (!body.is_null()).then_some(body),
        scope,
        agent_key,
        session: Session::Refused,
    }
}

fn agents() -> Vec<Route> {
    let reads = asking("agents:read", AgentKey::ForItself);
    let writes = asking("agents:write", AgentKey::ForItself);
    let manages = asking("agents:write", AgentKey::Refused);
    let sub_agent = json!({
        "ownerId": "{agent}", "name": "sub", "type": "autonomous",
        "permissions": may(&["read"], "mcp:github:repos"),
    });
    let (agent, name) = ("/api/v1/agents/{agent}", json!({ "name": "n" }));
    vec![
        reads(Method::GET, "/api/v1/agents", Value::Null).for_humans(),
        writes(Method::POST, "/api/v1/agents", sub_agent),
        reads(Method::GET, agent, Value::Null).for_humans(),
        manages(Method::PATCH, agent, name),
        writes(Method::DELETE, agent, Value::Null).for_humans(),
        manages(Method::POST, "/api/v1/agents/{agent}/rotate", json!({})),
        manages(Method::POST, "/api/v1/agents/{agent}/suspend", json!({})).for_humans(),
        manages(Method::POST, "/api/v1/agents/{suspended}/resume", json!({})),
        reads(
            Method::GET,
            "/api/v1/agents/{agent}/permissions",
            Value::Null,
        )
        .for_humans(),
    ]
}

fn connections() -> Vec<Route> {
    let reads = asking("agents:read", AgentKey::Refused);
    let writes = asking("agents:write", AgentKey::Refused);
    let one = "/api/v1/connections/{connection}";
    let line = "/api/v1/connections/{connection}/lines/{line}";
    let consent = "/api/v1/connections/{connection}/consents/{resource}";
    vec![
        reads(Method::GET, "/api/v1/connections", Value::Null).for_humans(),
        reads(Method::GET, one, Value::Null).for_humans(),
        writes(Method::DELETE, line, Value::Null).for_humans(),
        writes(Method::DELETE, consent, Value::Null).for_humans(),
        writes(Method::DELETE, one, Value::Null).for_humans(),
    ]
}

fn delegations() -> Vec<Route> {
    let reads = asking("agents:read", AgentKey::ForItself);
    let writes = asking("agents:write", AgentKey::ForItself);
    let delegation = json!({
        "from": "{agent}", "to": "{other}", "reason": "look",
        "permissions": may(&["read"], "mcp:github:issues"),
    });
    let one = "/api/v1/delegations/{delegation}";
    vec![
        reads(Method::GET, "/api/v1/delegations", Value::Null).for_humans(),
        writes(Method::POST, "/api/v1/delegations", delegation),
        reads(Method::GET, one, Value::Null).for_humans(),
        writes(Method::DELETE, one, Value::Null).for_humans(),
    ]
}

fn approvals() -> Vec<Route> {
    let sees = asking("approvals:decide", AgentKey::ForItself);
    let answers = asking("approvals:decide", AgentKey::Refused);
    let one = "/api/v1/approvals/{approval}";
    vec![
        sees(Method::GET, "/api/v1/approvals", Value::Null).for_humans(),
        sees(Method::GET, one, Value::Null).for_humans(),
        answers(
            Method::POST,
            "/api/v1/approvals/{approval}/approve",
            json!({ "digest": "{digest}" }),
        )
        .for_humans(),
        answers(Method::POST, "/api/v1/approvals/{approval}/deny", json!({})).for_humans(),
    ]
}

fn ledger() -> Vec<Route> {
    let audits = asking("audit:read", AgentKey::Refused);
    vec![
        audits(Method::GET, "/api/v1/audit", Value::Null).for_humans(),
        audits(Method::GET, "/api/v1/audit/{audit}", Value::Null).for_humans(),
        audits(Method::GET, "/api/v1/explain/{audit}", Value::Null).for_humans(),
    ]
}

fn users() -> Vec<Route> {
    let sees = asking("users:read", AgentKey::Refused);
    let keeps = asking("users:write", AgentKey::Refused);
    let (one, name) = ("/api/v1/users/{user}", json!({ "name": "n" }));
    vec![
        sees(Method::GET, "/api/v1/users", Value::Null),
        keeps(Method::POST, "/api/v1/users", json!({ "name": "Bob" })),
        sees(Method::GET, one, Value::Null),
        keeps(Method::PATCH, one, name),
        keeps(Method::DELETE, one, Value::Null),
        keeps(Method::POST, "/api/v1/users/{user}/ban", json!({})),
        keeps(
            Method::POST,
            "/api/v1/users/{user}/require-reset",
            json!({}),
        ),
        keeps(
            Method::POST,
            "/api/v1/users/{user}/remove-factors",
            json!({}),
        ),
        keeps(Method::POST, "/api/v1/users/{banned}/unban", json!({})),
        keeps(Method::POST, "/api/v1/users/admit", json!({})),
    ]
}

fn sessions() -> Vec<Route> {
    let keeps = asking("sessions:write", AgentKey::Refused);
    let of_user = "/api/v1/users/{user}/sessions";
    vec![
        keeps(Method::GET, of_user, Value::Null).for_humans(),
        keeps(Method::POST, of_user, json!({})),
        keeps(Method::DELETE, of_user, Value::Null).for_humans(),
        keeps(Method::DELETE, "/api/v1/sessions/{session}", Value::Null).for_humans(),
    ]
}

fn keys() -> Vec<Route> {
    let keeps = asking("keys:write", AgentKey::Refused);
    let new = json!({ "name": "k", "scopes": ["keys:write"] });
    let (one, name) = ("/api/v1/keys/{key}", json!({ "name": "n" }));
    vec![
        keeps(Method::GET, "/api/v1/keys", Value::Null),
        keeps(Method::POST, "/api/v1/keys", new),
        keeps(Method::GET, one, Value::Null),
        keeps(Method::PATCH, one, name),
        keeps(Method::DELETE, one, Value::Null),
    ]
}

/// How others learn of what is recorded.
fn news() -> Vec<Route> {
    let keeps = asking("webhooks:write", AgentKey::Refused);
    let audits = asking("audit:read", AgentKey::Refused);
    let new = json!({ "url": "https://hooks.example.com/", "kinds": ["agent.*"] });
    let (one, name) = ("/api/v1/webhooks/{webhook}", json!({ "name": "n" }));
    vec![
        audits(Method::GET, "/api/v1/events", Value::Null),
        keeps(Method::GET, "/api/v1/webhooks", Value::Null),
        keeps(Method::POST, "/api/v1/webhooks", new),
        keeps(Method::GET, one, Value::Null),
        keeps(Method::PATCH, one, name),
        keeps(Method::POST, "/api/v1/webhooks/{webhook}/rotate", json!({})),
        keeps(Method::POST, "/api/v1/webhooks/{webhook}/test", json!({})),
        keeps(
            Method::POST,
            "/api/v1/webhooks/{webhook}/redeliver",
            json!({}),
        ),
        keeps(
            Method::GET,
            "/api/v1/webhooks/{webhook}/deliveries",
            Value::Null,
        ),
        keeps(Method::DELETE, one, Value::Null),
    ]
}

/// Routes that ask for decisions, or why.
fn questions() -> Vec<Route> {
    let decides = asking("authorize:any", AgentKey::ForItself);
    let asks = asking("authorize:any", AgentKey::Refused);
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
    let keeps = asking("resources:write", AgentKey::Refused);
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

fn clients() -> Vec<Route> {
    let keeps = asking("resources:write", AgentKey::Refused);
    let new = json!({ "name": "c", "redirectUris": ["https://app.example.com/cb"] });
    let (all, one) = ("/api/v1/clients", "/api/v1/clients/{client}");
    let (deny, allow) = (
        "/api/v1/clients/{document}/deny",
        "/api/v1/clients/{document}/allow",
    );
    vec![
        keeps(Method::GET, all, Value::Null),
        keeps(Method::POST, all, new),
        keeps(Method::GET, one, Value::Null),
        keeps(Method::PATCH, one, json!({ "name": "n" })),
        keeps(Method::POST, "/api/v1/clients/{client}/rotate", json!({})),
        keeps(Method::POST, deny, json!({})),
        keeps(Method::POST, allow, json!({})),
        keeps(Method::DELETE, one, Value::Null),
    ]
}

fn signing_keys() -> Vec<Route> {
    let keeps = asking("config:write", AgentKey::Refused);
    let (rotate, retire) = ("/api/v1/signing-keys/rotate", "/api/v1/signing-keys/retire");
    vec![
        keeps(Method::GET, "/api/v1/signing-keys", Value::Null),
        keeps(Method::POST, rotate, json!({ "purpose": "feed" })),
        keeps(Method::POST, retire, json!({ "kid": "{kid}" })),
    ]
}

/// What followers of revocations ask.
fn feed() -> Vec<Route> {
    let follows = asking("audit:read", AgentKey::Refused);
    let poll =
        json!({ "nonce": "n", "instance": "i", "epoch": 0, "rseq": 0, "rhash": "A".repeat(43) });
    let snapshot = "/api/v1/revocations/snapshot?nonce=n&instance=i";
    vec![
        follows(Method::POST, "/api/v1/revocations/head", poll),
        follows(Method::GET, "/api/v1/revocations", Value::Null),
        follows(Method::GET, "/api/v1/revocations/stream", Value::Null),
        follows(Method::GET, snapshot, Value::Null),
    ]
}

/// What goes out whole.
fn exports() -> Vec<Route> {
    let audit = asking("audit:export", AgentKey::Refused);
    let tenant = asking("tenant:export", AgentKey::Refused);
    vec![
        audit(Method::GET, "/api/v1/audit/export", Value::Null),
        tenant(Method::POST, "/api/v1/export", json!({})),
    ]
}

/// The open routes: all others need a credential.
pub(crate) const OPEN: [&str; 13] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/version",
    "/openapi.json",
    "/docs",
    "/.well-known/authzen-configuration",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/kavach-feed-keys.json",
    "/.well-known/kavach-checkpoint-keys.json",
    "/.well-known/kavach-assertion-keys.json",
];

/// The routes that only a proxy with its own key may call; see `forward_auth`.
const OF_PROXIES: [&str; 1] = ["/api/v1/forward-auth"];

/// The routes that no operator may call: a token is made for whoever will show it; see `tokens`.
const OF_AGENTS_AND_HUMANS: [&str; 2] = ["/api/v1/delegate", "/api/v1/delegate/{id}/token"];

/// The routes that need more than one scope; see `roles` and `impersonation`.
const OF_SEVERAL_SCOPES: [&str; 2] = ["/api/v1/users/{id}/role", "/api/v1/users/{id}/impersonate"];

/// The routes at which humans are told of themselves, and end what is theirs; see `own_data` and `impersonation`.
const OF_ONESELF: [&str; 6] = [
    "/api/auth/session",
    "/api/auth/sessions",
    "/api/auth/sessions/{id}",
    "/api/auth/sign-out",
    "/api/auth/export",
    "/api/auth/delete-account",
];

/// The routes whose callers are known by what they show in the body; see `exchange`.
const OF_WHOEVER_SHOWS_A_TOKEN: [&str; 3] = ["/oauth/token", "/oauth/revoke", "/oauth/introspect"];
/// The routes of clients that register themselves; see `oauth_clients`.
const OF_CLIENTS: [&str; 4] = [
    "/oauth/par",
    "/oauth/register",
    "/oauth/register/{client_id}",
    "/oauth/device_authorization",
];
/// The routes of whoever has the link of a mail; see `signing_in::not_me` and `signing_in::taking_back`.
const OF_WHOEVER_HAS_THE_LINK: [&str; 2] = ["/api/auth/not-me", "/api/auth/restore-email"];
/// The routes that only a tool server with its own key may call; see `reports`.
const OF_TOOL_SERVERS: [&str; 1] = ["/api/v1/reports"];

/// The routes that need every scope, and take no JSON; see `moving`.
const OF_WHOEVER_MAY_DO_ALL: [&str; 1] = ["/api/v1/import"];

/// The routes of servers with a root for the keys of the feed; see `feed_root`.
const UNDER_A_ROOT: [&str; 3] = [
    "/.well-known/kavach-feed-keys.jwt",
    "/api/v1/signing-keys/feed/request",
    "/api/v1/signing-keys/feed/install",
];

/// The document, which has every operation of the router.
#[cfg(test)]
fn document() -> Value {
    serde_json::from_str(&kavachos_http::openapi()).expect("the document is JSON")
}

#[test]
fn the_list_names_every_path_of_the_router() {
    let listed = routes().iter().map(Route::pattern).collect::<BTreeSet<_>>();
    let others = OPEN.into_iter().chain(OF_PROXIES);
    let others = others.chain(OF_WHOEVER_MAY_DO_ALL).chain(UNDER_A_ROOT);
    let others = others
        .chain(OF_WHOEVER_SHOWS_A_TOKEN)
        .chain(OF_CLIENTS)
        .chain(OF_WHOEVER_HAS_THE_LINK)
        .chain(OF_TOOL_SERVERS);
    let others = others.chain(OF_SEVERAL_SCOPES).chain(OF_ONESELF);
    let others = others.chain(OF_AGENTS_AND_HUMANS).map(str::to_owned);
    let listed: BTreeSet<_> = listed.into_iter().chain(others).collect();
    let document = document();
    let paths = document["paths"].as_object().expect("paths").keys();
    assert_eq!(listed, paths.cloned().collect());
    assert!(listed.len() > 20, "the document was not read");
}

/// What the matrix of strangers shows of each route is what the document tells.
#[test]
fn the_document_tells_who_may_call() {
    let document = document();
    for route in routes() {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][route.pattern()][method];
        let callers = operation["security"].as_array().expect("callers");
        let has = |scheme: &str| callers.iter().any(|caller| caller.get(scheme).is_some());
        let (name, scope) = (route.name(), json!({ "operatorKey": [route.scope] }));
        assert!(callers.contains(&scope), "{name}: {callers:?}");
        let agent = route.agent_key == AgentKey::ForItself;
        assert_eq!(has("agentKey"), agent, "{name}: {callers:?}");
        let session = route.session == Session::ForItsHuman;
        assert_eq!(has("session"), session, "{name}: {callers:?}");
    }
    for open in OPEN {
        assert_eq!(
            document["paths"][open]["get"]["security"],
            json!([]),
            "{open}"
        );
    }
}

#[tokio::test]
async fn the_list_names_every_method_of_each_path() {
    let app = crate::start().await;
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
