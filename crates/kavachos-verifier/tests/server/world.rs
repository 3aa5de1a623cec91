//! A server in a process of its own, and in it a human, an orchestrator, a researcher and a tool server.

use std::net::{SocketAddr, TcpListener as Port};
use std::sync::Arc;

use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::token::FeedRoot;
use kavachos_test::kavachos::engine::KeyPurpose;
use kavachos_test::kavachos::{Kavach, NewKey};
use kavachos_test::{Call, Client, Reply, SeededRng, TestAgent, may, may_under};
use kavachos_verifier::{Builder, Verifier};
use serde_json::{Value, json};

use crate::process::Process;

/// The tool server, as callers know it.
pub(crate) const TOOLS: &str = "https://tools.example.com/mcp";

/// How a server is set up besides.
#[derive(Default, Clone)]
pub(crate) struct Terms {
    /// What it calls itself, if not by its own address.
    pub(crate) issuer: Option<String>,
    /// Who alone replaces the keys of its feed.
    pub(crate) root: Option<FeedRoot>,
    /// Where its randomness begins: two servers of one seed make the same first keys.
    pub(crate) seed: Option<u64>,
}

/// A running server with the system's clock.
pub(crate) struct World {
    process: Process,
    address: SocketAddr,
    operator: String,
    /// The human.
    pub(crate) user: String,
    /// May call every tool, by the human's grant.
    pub(crate) orchestrator: TestAgent,
    /// Belongs to the orchestrator, and may search.
    pub(crate) researcher: TestAgent,
    /// The tool server's own.
    pub(crate) resource_key: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::under(Terms::default()).await
    }

    pub(crate) async fn under(terms: Terms) -> Self {
        let process = Process::start();
        let port = Port::bind(("127.0.0.1", 0)).unwrap();
        let address = port.local_addr().unwrap();
        let operator = process.run(serve(port, terms)).await;
        let call = Client::under_contract(address).call(&operator);
        let resource_key = register(&call, TOOLS).await;
        let user = human(&call).await;
        let orchestrator = agent(&call, &user, "tools:call:*").await;
        let researcher = agent(&call, &orchestrator.id, "tools:call:search").await;
        Self {
            process,
            address,
            operator,
            user,
            orchestrator,
            researcher,
            resource_key,
        }
    }

    /// A verifier of the tool server is about to be built.
    pub(crate) fn verifier(&self) -> Builder {
        Verifier::builder(self.issuer(), TOOLS)
            .resource_key(&self.resource_key)
            .scopes(["tools:call:*"])
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whoever has this credential.
    pub(crate) fn call(&self, credential: &str) -> Call {
        Client::under_contract(self.address).call(credential)
    }

    /// An operator that may do everything.
    pub(crate) fn operator(&self) -> Call {
        self.call(&self.operator)
    }

    /// One more tool server.
    pub(crate) async fn register(&self, audience: &str) {
        register(&self.operator(), audience).await;
    }

    /// One more agent of the human, which has nothing to do with the others.
    pub(crate) async fn stranger(&self) -> TestAgent {
        agent(&self.operator(), &self.user, "other:thing").await
    }

    /// One more human.
    pub(crate) async fn another_user(&self) -> String {
        human(&self.operator()).await
    }

    /// The researcher's token to search.
    pub(crate) async fn token(&self) -> String {
        self.token_for(TOOLS).await
    }

    /// The same for another tool server.
    pub(crate) async fn token_for(&self, audience: &str) -> String {
        let wanted = json!({
            "agent": self.researcher.id, "audience": audience, "reason": "find sources",
            "permissions": may(&["call"], "tools:call:search"),
        });
        let researcher = self.call(&self.researcher.key);
        let reply: Reply = researcher.post("/api/v1/delegate", wanted).await;
        reply.expect(200).text_at("/data/token").to_owned()
    }

    /// A token to fetch, of an agent of the human that may do so once in an hour.
    pub(crate) async fn token_for_one_call(&self) -> String {
        self.token_under(json!({ "maxCallsPerHour": 1 })).await
    }

    /// A token to fetch, of an agent of the human whose grant is under these constraints.
    pub(crate) async fn token_under(&self, constraints: Value) -> String {
        self.token_of("fetch", constraints).await
    }

    /// The same for another tool.
    pub(crate) async fn token_of(&self, tool: &str, constraints: Value) -> String {
        let tool = format!("tools:call:{tool}");
        let once = may_under(&["call"], &tool, constraints);
        let new = json!({ "ownerId": self.user, "name": "fetcher", "type": "autonomous", "permissions": once });
        let made = self.operator().post("/api/v1/agents", new).await;
        let fetcher = TestAgent::of(&made.expect(201));
        let wanted = json!({
            "agent": fetcher.id, "audience": TOOLS, "reason": "fetch",
            "permissions": may(&["call"], &tool),
        });
        let fetcher = self.call(&fetcher.key);
        let reply: Reply = fetcher.post("/api/v1/delegate", wanted).await;
        reply.expect(200).text_at("/data/token").to_owned()
    }

    /// The ledger's records under these filters, the newest first.
    pub(crate) async fn audit(&self, filters: &str) -> Vec<Value> {
        let path = format!("/api/v1/audit?{filters}");
        let reply = self.operator().get(&path).await.expect(200);
        reply.rows().to_vec()
    }

    /// Approves a call, as an operator does.
    pub(crate) async fn approve(&self, id: &str) {
        let path = format!("/api/v1/approvals/{id}");
        let asked = self.operator().get(&path).await.expect(200);
        let digest = json!({ "digest": asked.text_at("/data/digest") });
        let approve = format!("{path}/approve");
        self.operator().post(&approve, digest).await.expect(200);
    }

    /// Takes an agent's authority away, for good.
    pub(crate) async fn kill(&self, agent: &TestAgent) {
        let path = format!("/api/v1/agents/{}", agent.id);
        self.operator().delete(&path).await.expect(200);
    }

    /// Stops the server.
    pub(crate) async fn end(self) {
        self.process.stop().await;
    }
}

/// Serves a tenant here, under the address of this port; gives an operator's key.
async fn serve(port: Port, terms: Terms) -> String {
    port.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(port).unwrap();
    let own = format!("http://{}", listener.local_addr().unwrap());
    let mut builder = Kavach::builder()
        .master_key(Some(Secret::new(SecretKind::Master, [7; 32])))
        .public_url(&terms.issuer.unwrap_or(own));
    if let Some(root) = terms.root {
        builder = builder.feed_root(root);
    }
    if let Some(seed) = terms.seed {
        builder = builder.rng(Arc::new(SeededRng::new(seed)));
    }
    let kavach = builder.build().await.unwrap();
    // Made before anything else draws.
    let made = kavach.engine().key_set(KeyPurpose::Feed).await;
    assert!(made.is_ok());
    let key = kavach.keys().create(NewKey::new("tests", &["*"])).await;
    let operator = key.unwrap().token.unwrap().reveal().to_owned();
    let service = (kavach.service()).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    operator
}

async fn register(operator: &Call, audience: &str) -> String {
    let server = json!({
        "audience": audience, "name": "tools", "party": "first", "kind": "kavach",
        "scopes": [{ "name": "tools:call:*", "description": "call tools" }],
    });
    let reply = operator.post("/api/v1/resources", server).await.expect(201);
    reply.text_at("/data/token").to_owned()
}

async fn human(operator: &Call) -> String {
    let new = json!({ "name": "Ada" });
    let reply = operator.post("/api/v1/users", new).await.expect(201);
    reply.id().to_owned()
}

async fn agent(operator: &Call, owner: &str, resource: &str) -> TestAgent {
    let new: Value = json!({
        "ownerId": owner, "name": "agent", "type": "autonomous", "permissions": may(&["*"], resource),
    });
    TestAgent::of(&operator.post("/api/v1/agents", new).await.expect(201))
}
