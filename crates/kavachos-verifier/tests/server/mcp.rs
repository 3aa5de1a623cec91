//! The example of an MCP server, as a client of the Model Context Protocol finds it.

use std::time::Duration;

use futures_util::future::join;
use kavachos_test::{Call, Client, Reply, Server};
use kavachos_verifier::{Builder, Verifier};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::process::LONGEST;
use crate::world::{TOOLS, World};

#[expect(dead_code, reason = "its `main` is for whoever runs it")]
#[path = "../../../../examples/mcp_server.rs"]
pub(crate) mod example;

async fn start(world: &World) -> Server {
    let (_, server) = started(world, |builder| builder).await;
    server
}

async fn started(world: &World, told: impl FnOnce(Builder) -> Builder) -> (Verifier, Server) {
    let builder = told(example::with_tools(world.verifier()));
    let verifier = builder.build().await.unwrap();
    let server = Server::serving(example::app(&verifier)).await;
    (verifier, server)
}

/// One message, and what comes back.
async fn say(caller: &Call, method: &str, params: Value) -> Reply {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let caller = (caller.clone())
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18");
    caller.post("/mcp", message).await
}

/// A call in the revision of 2026-07-28, of a client that can this, and answers this to what it was asked before.
async fn call_lately(caller: &Call, capabilities: Value, responses: Value) -> Reply {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    let mut params = json!({ "name": "search", "arguments": { "query": "tea" }, "_meta": meta });
    if responses.is_object() {
        params["inputResponses"] = responses;
    }
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let caller = (caller.clone())
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "search");
    caller.post("/mcp", message).await
}

async fn call(caller: &Call, tool: &str, arguments: Value) -> Reply {
    say(
        caller,
        "tools/call",
        json!({ "name": tool, "arguments": arguments }),
    )
    .await
}

#[tokio::test]
async fn an_agent_lists_the_tools_calls_its_own_and_is_refused_the_other() {
    let world = World::start().await;
    let server = start(&world).await;
    let caller = Client::new(server.address()).call(&world.token().await);
    let hello = json!({
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let hello = say(&caller, "initialize", hello).await.expect(200);
    assert!(
        hello.at("/result/capabilities/tools").is_object(),
        "{hello}"
    );

    let listed = say(&caller, "tools/list", json!({})).await.expect(200);
    let mut names: Vec<_> = (listed.at("/result/tools").as_array().unwrap().iter())
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["delete", "search"]);

    let found = call(&caller, "search", json!({ "query": "tea" })).await;
    let found = found.expect(200);
    let text = found.text_at("/result/content/0/text");
    assert!(
        text.contains(&world.researcher.id) && text.contains(&world.user),
        "{text}"
    );

    let refused = call(&caller, "delete", json!({})).await;
    let refused = refused.refused(403, "insufficient_scope");
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("scope=\"tools:call:*\""), "{challenge}");
}

#[tokio::test]
async fn where_the_layer_knows_no_tools_the_refusal_is_an_error_that_says_the_scope() {
    let world = World::start().await;
    let verifier = world.verifier().build().await.unwrap();
    let server = Server::serving(example::app(&verifier)).await;
    let caller = Client::new(server.address()).call(&world.token().await);
    let refused = call(&caller, "delete", json!({})).await.expect(200);
    assert_eq!(
        refused.at("/error/data/code"),
        "insufficient_scope",
        "{refused}"
    );
    let message = refused.text_at("/error/message");
    assert!(
        message.ends_with("with the scope `tools:call:*`"),
        "{message}"
    );
    assert!(refused.at("/result").is_null());
}

#[tokio::test]
async fn a_human_approves_at_the_page_that_the_client_opens_or_is_told() {
    let world = World::start().await;
    let (_, server) = started(&world, |builder| builder.wait_for_approval(Duration::ZERO)).await;
    let token = world
        .token_of("search", json!({ "requireApproval": true }))
        .await;
    let caller = Client::new(server.address()).call(&token);
    let opens = || json!({ "elicitation": { "url": {} } });

    let asked = call_lately(&caller, opens(), Value::Null).await.expect(200);
    assert_eq!(asked.at("/result/resultType"), "input_required", "{asked}");
    let asked = asked.at("/result/inputRequests/approval");
    assert_eq!(asked["method"], "elicitation/create");
    let page = asked["params"]["url"].as_str().unwrap().to_owned();
    let id = page.strip_prefix(&format!("{}/account/approvals/", world.issuer()));
    let id = id.unwrap().to_owned();
    // The twin: a client that opens no pages, and one whose human would not.
    let declined = json!({ "approval": { "action": "decline" } });
    for (can, said) in [(json!({}), Value::Null), (opens(), declined)] {
        let told = call_lately(&caller, can, said).await;
        assert!(told.at("/result").is_null());
        let message = told.text_at("/error/message");
        assert!(message.ends_with(&page), "{message}");
        assert_eq!(told.at("/error/data/approvalId"), id.as_str());
    }
    let legacy = call(&caller, "search", json!({ "query": "tea" })).await;
    assert_eq!(legacy.at("/error/data/approvalPage"), page.as_str());

    // What the client says of it is no approval.
    let accepted = || json!({ "approval": { "action": "accept" } });
    let again = call_lately(&caller, opens(), accepted()).await.expect(200);
    assert_eq!(again.at("/result/resultType"), "input_required");
    world.approve(&id).await;
    let found = call_lately(&caller, opens(), accepted()).await.expect(200);
    assert!(found.at("/result/content/0/text").is_string(), "{found}");
}

#[tokio::test]
async fn a_call_that_is_made_again_while_the_human_reads_waits_for_the_answer() {
    let world = World::start().await;
    let (verifier, server) = started(&world, |builder| builder).await;
    let token = world
        .token_of("search", json!({ "requireApproval": true }))
        .await;
    let caller = Client::new(server.address()).call(&token);
    let arguments = json!({ "query": "tea" });
    let asked = call(&caller, "search", arguments.clone()).await;
    let id = asked.text_at("/error/data/approvalId").to_owned();
    let approve = async {
        while verifier.stats().waited == 0 {
            tokio::task::yield_now().await;
        }
        world.approve(&id).await;
    };
    let again = join(call(&caller, "search", arguments), approve);
    let (found, ()) = timeout(LONGEST, again).await.unwrap();
    assert!(found.at("/result/content/0/text").is_string(), "{found}");
}

#[tokio::test]
async fn without_a_token_the_protocol_is_not_even_spoken_and_the_answer_says_where_to_get_one() {
    let world = World::start().await;
    let server = start(&world).await;
    let anonymous = Client::new(server.address()).anonymous();
    for method in ["initialize", "tools/list", "tools/call"] {
        let refused = say(&anonymous, method, json!({})).await;
        let refused = refused.refused(401, "unauthenticated");
        let challenge = refused.header("www-authenticate");
        let metadata = "https://tools.example.com/.well-known/oauth-protected-resource/mcp";
        assert!(challenge.contains(metadata), "{challenge}");
    }
    for path in ["", "/mcp"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let document = anonymous.get(&path).await.expect(200);
        assert_eq!(document.text_at("/resource"), TOOLS);
        assert_eq!(document.text_at("/authorization_servers/0"), world.issuer());
        assert_eq!(document.at("/scopes_supported/0"), "tools:call:*");
    }
}

#[tokio::test]
async fn a_killed_agent_is_not_even_told_which_tools_there_are() {
    let world = World::start().await;
    let server = start(&world).await;
    let caller = Client::new(server.address()).call(&world.token().await);
    say(&caller, "tools/list", json!({})).await.expect(200);
    world.kill(&world.researcher).await;
    let refused = async {
        loop {
            let reply = say(&caller, "tools/list", json!({})).await;
            if reply.status != 200 {
                return reply;
            }
        }
    };
    let refused = timeout(LONGEST, refused).await.unwrap();
    refused.refused(401, "revoked");
}
