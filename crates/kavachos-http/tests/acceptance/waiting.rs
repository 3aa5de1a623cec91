//! Calls that wait for answers to requests for approval: one human's agents leave places to others.

use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kavachos_engine::actor::Actor;
use kavachos_engine::{Approval, Error, MAX_WAIT};
use kavachos_test::may_under;
use serde_json::json;

/// How many calls wait for each of four agents: fewer than one caller may have, and together more than one human.
const EACH: usize = 63;

/// What four agents of so many humans are told who each wait for an answer; the first request is denied meanwhile where
/// it says so. Only the first of what is told is looked at.
async fn told_to_four_agents(
    humans: usize,
    denies: bool,
    first: usize,
) -> Vec<Result<Approval, Error>> {
    let app = crate::start().await;
    let engine = app.kavach().engine().clone();
    let mut users = Vec::new();
    for _ in 0..humans {
        users.push(app.user().await);
    }
    let mut waiting = FuturesUnordered::new();
    let mut requests = Vec::new();
    let deploy = json!({ "action": "run", "resource": "mcp:deploy:site" });
    let asks = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
    for number in 0..4 {
        let agent = app.agent(&users[number % humans], asks.clone()).await;
        let asked = app
            .call(&agent.key)
            .post("/api/v1/authorize", deploy.clone())
            .await;
        let id = asked
            .decided("approval_required")
            .text_at("/data/approvalId")
            .to_owned();
        let actor = Actor {
            caller: engine.authenticate(&agent.key).await.unwrap(),
            ..Actor::local(engine.id())
        };
        for _ in 0..EACH {
            let (engine, actor, id) = (engine.clone(), actor.clone(), id.parse().unwrap());
            waiting.push(async move { engine.answered_approval(&actor, id, MAX_WAIT).await });
        }
        requests.push(id);
    }
    let answer = async {
        if denies {
            let path = format!("/api/v1/approvals/{}/deny", requests[0]);
            app.operator().post(&path, json!({})).await.expect(200);
        }
    };
    join(answer, waiting.by_ref().take(first).collect()).await.1
}

#[tokio::test]
async fn those_who_wait_for_one_human_leave_places_to_others() {
    // A quarter of a thousand places, and two calls more.
    let told = told_to_four_agents(1, false, 4 * EACH - 250).await;
    for refused in &told {
        let is_told = matches!(refused, Err(Error::TooManyOpen { retry_after }) if *retry_after > Duration::ZERO);
        assert!(is_told, "{refused:?}");
    }
    assert_eq!(told.len(), 2);
    // The twin: as many for two humans all wait until they are answered.
    let told = told_to_four_agents(2, true, EACH).await;
    assert!(
        told.iter()
            .all(|told| told.as_ref().is_ok_and(|told| told.status == "denied")),
        "{told:?}"
    );
}
