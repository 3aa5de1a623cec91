//! A human, an orchestrator, a researcher, a tool: what passes, what does not, and what ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kavachos_test::Reply;
use kavachos_verifier::{Clock, Reading, SystemClock};
use tokio::time::timeout;

use crate::process::{LONGEST, until};
use crate::tool::Tool;
use crate::world::{TOOLS, World};

async fn tool(world: &World) -> Tool {
    Tool::of(world.verifier().build().await.unwrap()).await
}

/// Calls until the answer has this status.
async fn search_until(tool: &Tool, token: &str, status: u16) -> Reply {
    let calls = async {
        loop {
            let reply = tool.search(token).await;
            if reply.status == status {
                return reply;
            }
        }
    };
    let answered = timeout(LONGEST, calls).await;
    answered.unwrap_or_else(|_| panic!("no {status} came within {LONGEST:?}"))
}

#[tokio::test]
async fn a_token_of_the_whole_chain_calls_its_tool_and_no_other() {
    let world = World::start().await;
    let tool = tool(&world).await;
    let token = world.token().await;
    let told = tool.search(&token).await.expect(200).text;
    let (user, first, second) = (&world.user, &world.orchestrator.id, &world.researcher.id);
    assert_eq!(told, format!("{user} > {first} > {second}"));

    let other = tool.call(&token, "delete").await;
    let other = other.refused(403, "insufficient_scope");
    let challenge = other.header("www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert_eq!(tool.verifier.stats().asked, 0);
}

#[tokio::test]
async fn without_a_token_or_with_one_for_another_tool_server_nothing_passes() {
    const OTHERS: &str = "https://other.example.com/mcp";
    let world = World::start().await;
    let tool = tool(&world).await;
    let anonymous = tool.client().anonymous();
    let none = anonymous.post("/tools/search", serde_json::json!({})).await;
    let none = none.refused(401, "unauthenticated");
    let metadata = "/.well-known/oauth-protected-resource/mcp";
    let challenge = none.header("www-authenticate");
    let pointer = format!("resource_metadata=\"https://tools.example.com{metadata}\"");
    assert!(challenge.contains(&pointer), "{challenge}");
    let document = anonymous.get(metadata).await.expect(200);
    assert_eq!(document.text_at("/resource"), TOOLS);
    assert_eq!(document.text_at("/authorization_servers/0"), world.issuer());

    world.register(OTHERS).await;
    let token = world.token_for(OTHERS).await;
    tool.search(&token).await.refused(401, "audience_mismatch");
    // The twin: the same agent's token that is for this one.
    tool.search(&world.token().await).await.expect(200);
}

#[tokio::test]
async fn a_rate_is_counted_by_the_server_which_is_asked_about_it_alone() {
    let world = World::start().await;
    let tool = tool(&world).await;
    let token = world.token_for_one_call().await;
    tool.call(&token, "fetch").await.expect(200);
    let second = tool.call(&token, "fetch").await;
    let second = second.refused(429, "rate_limited");
    assert!(!second.header("retry-after").is_empty());
    assert_eq!(tool.verifier.stats().asked, 2);
    // The twin: without a rate nobody is asked, and nothing is counted.
    let unlimited = world.token().await;
    for _ in 0..3 {
        tool.search(&unlimited).await.expect(200);
    }
    assert_eq!(tool.verifier.stats().asked, 2);
}

#[tokio::test]
async fn a_killed_parent_stops_the_next_call_of_its_child() {
    let world = World::start().await;
    let tool = tool(&world).await;
    let token = world.token().await;
    tool.search(&token).await.expect(200);

    // The twin first: a kill that has nothing to do with it is heard as well, and stops nothing.
    let known = || tool.verifier.stats().revocations;
    let before = known();
    world.kill(&world.stranger().await).await;
    until("the first kill", || known() > before).await;
    tool.search(&token).await.expect(200);

    let before = known();
    world.kill(&world.orchestrator).await;
    until("the second kill", || known() > before).await;
    tool.search(&token).await.refused(401, "revoked");
    assert!(tool.verifier.stats().pushes > 0, "it came by the stream");
}

/// The machine's clock, put forward by the test.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn read(&self) -> Reading {
        let ahead = Duration::from_secs(self.0.load(Ordering::Relaxed));
        let now = SystemClock.read();
        Reading {
            boot: now.boot + ahead,
            wall: now.wall.plus(ahead),
        }
    }
}

#[tokio::test]
async fn without_its_server_a_tool_server_goes_on_for_the_lease_and_not_longer() {
    const LEASE: u64 = 10;
    let world = World::start().await;
    let clock = Arc::new(Ahead::default());
    let builder = world.verifier().lease(Duration::from_secs(LEASE));
    let verifier = builder.clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let tool = Tool::of(verifier.build().await.unwrap()).await;
    let token = world.token().await;
    tool.search(&token).await.expect(200);

    // The twin: the lease runs out while the server lives, and the next answer opens it again.
    clock.0.fetch_add(LEASE + 1, Ordering::Relaxed);
    world.kill(&world.stranger().await).await;
    search_until(&tool, &token, 200).await;

    world.end().await;
    tool.search(&token).await.expect(200);
    clock.0.fetch_add(LEASE + 1, Ordering::Relaxed);
    for _ in 0..20 {
        let stale = tool.search(&token).await.refused(503, "revocation_stale");
        assert!(!stale.header("retry-after").is_empty());
    }
    assert!(tool.verifier.trouble().is_some());
}
