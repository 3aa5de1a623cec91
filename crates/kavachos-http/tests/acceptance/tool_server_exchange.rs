//! A tool server exchanges what it was shown for a token for the next one: only along grants that name it.

use kavachos_core::token::Code;
use kavachos_test::{Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::exchange::{Ask, TOKEN, proof, refused};
use crate::tokens::{TOOLS, decide, judged, opened, register};

const LEAF: &str = "urn:ietf:params:oauth:token-type:access_token";
const NEXT: &str = "https://next.example.com";

struct World {
    app: TestApp,
    agent: TestAgent,
    /// The keys of the tool server that is shown tokens, and of the next one.
    server: String,
    next: String,
}

async fn world(uses: Value) -> World {
    let app = crate::start().await;
    let server = register(&app, json!({})).await;
    let next = register(&app, json!({ "audience": NEXT })).await;
    let user = app.user().await;
    let agent = app
        .agent_with(&user, may(&["*"], "tools:call:*"), uses)
        .await;
    World {
        app,
        agent,
        server,
        next,
    }
}

fn named() -> Value {
    json!({ "exchangeBy": [TOOLS] })
}

fn text(reply: &Reply) -> String {
    reply.text_at("/access_token").to_owned()
}

impl World {
    /// What the first tool server is shown.
    async fn shown(&self) -> String {
        text(&Ask::agent(&self.agent).send(&self.app).await.expect(200))
    }

    async fn exchange(&self, key: &str, ask: &Ask<'_>) -> Reply {
        self.app.call(key).post_form(TOKEN, &ask.0).await
    }
}

fn ask(token: &str) -> Ask<'_> {
    Ask::of(LEAF, token).with("audience", NEXT)
}

#[tokio::test]
async fn a_tool_server_that_is_named_gets_a_token_for_the_next_one_and_for_the_same_agent() {
    let world = world(named()).await;
    let (app, shown) = (&world.app, world.shown().await);
    let reply = world
        .exchange(&world.server, &ask(&shown))
        .await
        .expect(200);
    let (old, new) = (opened(app, &shown).await, opened(app, &text(&reply)).await);
    assert_eq!(new.audience.as_str(), NEXT);
    assert_eq!(new.authority.agent(), old.authority.agent());
    assert_eq!(new.authority.chain, old.authority.chain);
    assert_eq!(new.authority.subject, old.authority.subject);
    assert!(new.life.expires_at <= old.life.expires_at);
    decide(app, &world.next, &text(&reply), "search")
        .await
        .decided("allowed");
    let record = app
        .audit("kind=token.issued&outcome=allowed")
        .await
        .remove(0);
    assert_eq!(record["details"]["exchanged"], json!(old.life.id));
    assert_eq!(record["agent"], world.agent.id.as_str());
    // The twins: nobody is named, and another one is.
    for uses in [json!({}), json!({ "exchangeBy": [NEXT] })] {
        let world = self::world(uses).await;
        let shown = world.shown().await;
        refused(
            &world.exchange(&world.server, &ask(&shown)).await,
            "invalid_grant",
        );
        let denied = world.app.audit("kind=token.issued&outcome=denied").await;
        assert_eq!(denied.len(), 1);
    }
}

#[tokio::test]
async fn only_the_tool_server_that_a_token_is_for_exchanges_it() {
    let world = world(named()).await;
    let (app, shown) = (&world.app, world.shown().await);
    let ask = ask(&shown);
    refused(&world.exchange(&world.next, &ask).await, "invalid_request");
    // Whoever tries with what another one was shown is on record.
    let denied = app.audit("kind=token.issued&outcome=denied").await;
    assert_eq!(denied.len(), 1);
    refused(&ask.send(app).await, "invalid_request");
    for key in [app.operator_key(), &world.agent.key, "kv_res_x"] {
        let reply = world.exchange(key, &ask).await;
        assert_eq!(
            (reply.status, reply.code()),
            (401, "invalid_client"),
            "{reply}"
        );
    }
    world.exchange(&world.server, &ask).await.expect(200);
}

#[tokio::test]
async fn what_a_tool_server_gets_is_no_wider_than_what_it_was_shown() {
    let world = world(named()).await;
    let shown = world.shown().await;
    let wide = ask(&shown).with("scope", "tools:call:fetch");
    refused(&world.exchange(&world.server, &wide).await, "invalid_scope");
    let own = ask(&shown).with("audience", TOOLS);
    refused(&world.exchange(&world.server, &own).await, "invalid_target");
    let root = ask(&shown).with(
        "requested_token_type",
        "urn:kavachos:params:oauth:token-type:root",
    );
    refused(
        &world.exchange(&world.server, &root).await,
        "invalid_request",
    );
    // What it got is not exchanged on: the next one is not named.
    let got = world
        .exchange(&world.server, &ask(&shown))
        .await
        .expect(200);
    let got = text(&got);
    let back = Ask::of(LEAF, &got).with("audience", TOOLS);
    refused(&world.exchange(&world.next, &back).await, "invalid_grant");
}

#[tokio::test]
async fn nothing_comes_of_a_token_that_is_dead_or_over_and_what_came_of_it_dies_with_it() {
    for kill in ["agent", "server", "time"] {
        let world = world(named()).await;
        let (app, shown) = (&world.app, world.shown().await);
        let got = world
            .exchange(&world.server, &ask(&shown))
            .await
            .expect(200);
        let agent = format!("/api/v1/agents/{}", world.agent.id);
        match kill {
            "agent" => drop(app.operator().delete(&agent).await.expect(200)),
            "server" => {
                let servers = app.operator().get("/api/v1/resources").await.expect(200);
                let first = servers
                    .rows()
                    .iter()
                    .find(|row| row["audience"] == TOOLS)
                    .unwrap();
                let path = format!("/api/v1/resources/{}", first["id"].as_str().unwrap());
                let change = json!({ "maxTtlSeconds": 60 });
                app.operator().patch(&path, change).await.expect(200);
            }
            _ => app.advance(300),
        }
        let reply = world.exchange(&world.server, &ask(&shown)).await;
        assert_ne!(reply.status, 200, "{kill}: {reply}");
        if kill != "time" {
            // It is for another tool server, so the audience is looked at first.
            let failure = judged(app, &text(&got)).await.unwrap_err();
            assert_eq!(failure.code, Code::AudienceMismatch, "{kill}");
            let decided = decide(app, &world.next, &text(&got), "search").await;
            assert_ne!(decided.code(), "allowed", "{kill}: {decided}");
        }
    }
}

#[tokio::test]
async fn what_comes_of_a_bound_token_is_bound_to_a_key_of_the_tool_server() {
    let world = world(named()).await;
    let app = &world.app;
    let (text_of, key) = proof(app, 7, "one");
    let call = app.anonymous().header("dpop", &text_of);
    let shown = text(
        &call
            .post_form(TOKEN, &Ask::agent(&world.agent).0)
            .await
            .expect(200),
    );
    let print = key.thumbprint().to_string();
    refused(
        &world.exchange(&world.server, &ask(&shown)).await,
        "invalid_request",
    );
    let said = ask(&shown).with("proven", &print);
    refused(
        &world.exchange(&world.server, &said).await,
        "invalid_dpop_proof",
    );
    let (own, own_key) = proof(app, 8, "two");
    let call = app.call(&world.server).header("dpop", &own);
    let got = call.post_form(TOKEN, &said.0).await.expect(200);
    let leaf = opened(app, &text(&got)).await;
    assert_eq!(leaf.bound_to, Some(own_key.thumbprint()));
    // The twin: a bearer token is exchanged for one.
    let bearer = world.shown().await;
    let got = world
        .exchange(&world.server, &ask(&bearer))
        .await
        .expect(200);
    assert_eq!(opened(app, &text(&got)).await.bound_to, None);
}

#[tokio::test]
async fn others_tool_servers_learn_no_session_by_an_exchange() {
    const THIRD: &str = "https://third.example.org";
    let app = crate::start().await;
    let server = register(&app, json!({})).await;
    register(&app, json!({ "audience": THIRD, "party": "third" })).await;
    let user = app.user().await;
    let agent = app
        .agent_with(&user, may(&["*"], "tools:call:*"), named())
        .await;
    let session = app.session(&user).await;
    let mut body = json!({ "audience": TOOLS, "scopes": ["tools:call:search"], "reason": "r" });
    body["agent"] = json!(agent.id);
    let (human, own) = (app.call(&session.token), app.call(&agent.key));
    let of_session = human.post("/api/v1/delegate", body.clone()).await;
    let of_agent = own.post("/api/v1/delegate", body).await;
    let (of_session, of_agent) = (of_session.expect(200), of_agent.expect(200));
    let exchange = async |reply: &Reply| {
        let ask = Ask::of(LEAF, reply.text_at("/data/token")).with("audience", THIRD);
        app.call(&server).post_form(TOKEN, &ask.0).await
    };
    refused(&exchange(&of_session).await, "invalid_target");
    // The twin: no session asked for it.
    exchange(&of_agent).await.expect(200);
}

/// What they are shown names the human for them alone; what others are shown does not.
#[tokio::test]
async fn others_tool_servers_exchange_nothing() {
    for (party, status) in [("third", 400), ("first", 200)] {
        let app = crate::start().await;
        let server = register(&app, json!({ "party": party })).await;
        register(&app, json!({ "audience": NEXT })).await;
        let user = app.user().await;
        let agent = app
            .agent_with(&user, may(&["*"], "tools:call:*"), named())
            .await;
        let shown = text(&Ask::agent(&agent).send(&app).await.expect(200));
        let reply = app.call(&server).post_form(TOKEN, &ask(&shown).0).await;
        assert_eq!(reply.status, status, "{reply}");
    }
}
