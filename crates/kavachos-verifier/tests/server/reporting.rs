//! Decisions of a tool server, told to its server over the network: on record there, and never waited for here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response, StatusCode};
use futures_util::future::BoxFuture;
use kavachos_verifier::{Chunks, Client, Http, Stats};

use crate::process::until;
use crate::tool::Tool;
use crate::world::{TOOLS, World};

const REPORTS: &str = "/api/v1/reports";

/// The network, on which the answers to the first reports are lost after the server has given them.
struct Losing {
    client: Client,
    left: AtomicU64,
}

impl Losing {
    fn answers(count: u64) -> Arc<Self> {
        Arc::new(Self {
            client: Client::new().unwrap(),
            left: AtomicU64::new(count),
        })
    }

    fn loses(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        (self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less))
        .is_ok()
    }
}

impl Http for Losing {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, std::io::Result<Response<Chunks>>> {
        Box::pin(async move {
            let is_report = request.uri().path() == REPORTS;
            let mut answer = self.client.send(request).await?;
            if is_report && self.loses() {
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
            }
            Ok(answer)
        })
    }
}

fn told(stats: &Stats) -> (u64, u64, u64) {
    (stats.reported, stats.reports_refused, stats.reports_dropped)
}

#[tokio::test]
async fn what_a_tool_server_decides_is_on_record_once_also_when_an_answer_is_lost() {
    let world = World::start().await;
    let network = Losing::answers(1);
    let builder = world
        .verifier()
        .report()
        .http(Arc::clone(&network) as Arc<dyn Http>);
    let tool = Tool::of(builder.build().await.unwrap()).await;
    let token = world.token().await;
    tool.search(&token).await.expect(200);
    let other = tool.call(&token, "delete").await;
    other.refused(403, "insufficient_scope");
    let verifier = &tool.verifier;
    until("all is told", || verifier.stats().reported == 2).await;
    assert_eq!(
        network.left.load(Ordering::Relaxed),
        0,
        "an answer was lost"
    );
    assert_eq!(told(&verifier.stats()), (2, 0, 0));
    let records = world.audit("kind=decision.reported").await;
    let outcomes: Vec<_> = records.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["denied", "allowed"]);
    assert!(records.iter().all(|record| record["reportedBy"] == TOOLS));
}

#[tokio::test]
async fn nothing_is_reported_unless_it_is_asked_for() {
    let world = World::start().await;
    let tool = Tool::of(world.verifier().build().await.unwrap()).await;
    tool.search(&world.token().await).await.expect(200);
    // A kill that is heard here came after whatever was told before.
    let before = tool.verifier.stats().revocations;
    world.kill(&world.stranger().await).await;
    until("the kill", || tool.verifier.stats().revocations > before).await;
    assert!(world.audit("kind=decision.reported").await.is_empty());
    assert_eq!(told(&tool.verifier.stats()), (0, 0, 0));
}

/// More decisions than may wait: what finds no room is counted, and no call waits for any of it.
#[tokio::test]
async fn without_its_server_a_tool_server_drops_reports_and_counts_them_and_holds_up_no_call() {
    const CALLS: u64 = 10_300;
    let world = World::start().await;
    let lease = Duration::from_secs(60);
    let builder = world.verifier().report().lease(lease);
    let verifier = builder.build().await.unwrap();
    let token = world.token().await;
    let tool = Tool::of(verifier.clone()).await;
    tool.search(&token).await.expect(200);
    until("the first is told", || verifier.stats().reported == 1).await;
    world.end().await;
    let caller = verifier.verify(&crate::tool::bearer(&token)).unwrap();
    for _ in 0..CALLS {
        let decided = caller.authorize("call", "tools:call:search", None, None);
        decided.await.unwrap();
    }
    let dropped = verifier.stats().reports_dropped;
    assert!((1..=300).contains(&dropped), "{dropped} found no room");
    assert_eq!(verifier.stats().allowed, CALLS + 1);
    tool.search(&token).await.expect(200);
}
