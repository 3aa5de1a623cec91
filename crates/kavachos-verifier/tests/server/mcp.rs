//! The example of an MCP server, as a client of the Model Context Protocol finds it.

use kavachos_test::{Call, Client, Reply, Server};
use serde_json::{Value, json};

use crate::process::LONGEST;
use crate::world::{TOOLS, World};

#[expect(dead_code, reason = "its `main` is for whoever runs it")]
#[path = "../../../../examples/mcp_server.rs"]
pub(crate) mod example;

async fn start(world: &World) -> Server {
    let verifier = world.verifier().build().await.unwrap();
    Server::serving(example::app(&verifier)).await
}

/// One message, and what comes back.
async fn say(caller: &Call, method: &str, params: Value) -> Reply {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let caller = (caller.clone())
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18");
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

    let refused = call(&caller, "delete", json!({})).await.expect(200);
    assert_eq!(
        refused.at("/error/data/code"),
        "insufficient_scope",
        "{refused}"
    );
    assert!(refused.at("/result").is_null());
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
    let refused = tokio::time::timeout(LONGEST, refused).await.unwrap();
    refused.refused(401, "revoked");
}
