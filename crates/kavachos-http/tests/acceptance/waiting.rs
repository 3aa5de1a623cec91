//! Calls that wait for answers to requests for approval: a tool server for those of its own questions; one human's agents
//! leave places to others.

use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kavachos_engine::actor::Actor;
use kavachos_engine::{Approval, Error, MAX_WAIT};
use kavachos_test::{Call, Reply, TestAgent, TestApp, may_under};
use serde_json::json;

use crate::tokens::register;

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

/// Two tool servers of the same scopes, and an agent that may call a tool when its human approves.
struct Tools {
    app: TestApp,
    server: Call,
    other: Call,
    agent: TestAgent,
}

impl Tools {
    async fn new() -> Self {
        let app = crate::start().await;
        let server = app.call(&register(&app, json!({})).await);
        let other = json!({ "audience": "https://other.example.com" });
        let other = app.call(&register(&app, other).await);
        let user = app.user().await;
        let agent = agent(&app, &user).await;
        Self {
            app,
            server,
            other,
            agent,
        }
    }

    /// A new request for approval, of this caller's question about the agent.
    async fn asked(&self, caller: &Call, tool: &str) -> String {
        let agent = asked(caller, &self.agent, tool).await;
        agent.text_at("/data/approvalId").to_owned()
    }

    async fn answer(&self, id: &str, verb: &str) {
        let operator = self.app.operator();
        let asked = operator.get(&path(id)).await.expect(200);
        let body = match verb {
            "approve" => json!({ "digest": asked.at("/data/digest") }),
            _ => json!({}),
        };
        let answer = format!("{}/{verb}", path(id));
        operator.post(&answer, body).await.expect(200);
    }
}

async fn agent(app: &TestApp, user: &str) -> TestAgent {
    let asks = may_under(
        &["call"],
        "tools:call:*",
        json!({ "requireApproval": true }),
    );
    app.agent(user, asks).await
}

async fn asked(caller: &Call, agent: &TestAgent, tool: &str) -> Reply {
    let call =
        json!({ "agentId": agent.id, "action": "call", "resource": format!("tools:call:{tool}") });
    let asked = caller.post("/api/v1/authorize", call).await;
    asked.decided("approval_required")
}

fn path(id: &str) -> String {
    format!("/api/v1/approvals/{id}")
}

#[tokio::test]
async fn a_tool_server_sees_how_far_its_own_questions_came_and_nothing_else() {
    let tools = Tools::new().await;
    let id = tools.asked(&tools.server, "search").await;
    let seen = tools.server.get(&path(&id)).await.expect(200);
    assert_eq!(seen.at("/data"), &json!({ "id": id, "status": "pending" }));
    // Of a request of another tool server's question, of the agent's own, and of none it is told the same.
    let others = tools.asked(&tools.other, "fetch").await;
    let agent = tools.app.call(&tools.agent.key);
    let agents = tools.asked(&agent, "delete").await;
    let none = "approval_01m7yw4nvqf69a541nr13qmn5z".to_owned();
    let mut told = Vec::new();
    for id in [&others, &agents, &none] {
        for wait in ["", "?wait=0", "?wait=30"] {
            let reply = tools.server.get(&format!("{}{wait}", path(id))).await;
            let reply = reply.refused(404, "not_found");
            told.push(reply.text_at("/error/message").to_owned());
        }
    }
    told.dedup();
    let words = "there is no such request for approval, or it is not yours to see";
    assert_eq!(told, [words]);
    // It neither lists nor answers.
    let list = tools.server.get("/api/v1/approvals").await;
    list.refused(403, "forbidden");
    let digest = tools.app.operator().get(&path(&id)).await.expect(200);
    for (verb, body) in [
        ("approve", json!({ "digest": digest.at("/data/digest") })),
        ("deny", json!({})),
    ] {
        let answer = format!("{}/{verb}", path(&id));
        let reply = tools.server.post(&answer, body).await;
        reply.refused(403, "forbidden");
    }
    // The twins: who asked sees it, and the agent sees the whole of all three.
    let seen = tools.other.get(&path(&others)).await.expect(200);
    assert_eq!(seen.at("/data/status"), "pending");
    for id in [&id, &others, &agents] {
        let seen = agent.get(&path(id)).await.expect(200);
        assert!(seen.at("/data/document").is_string(), "{seen}");
    }
}

#[tokio::test]
async fn a_tool_server_that_waits_is_told_of_the_answer_unless_it_was_stopped() {
    let tools = Tools::new().await;
    let waiting = |id: &str| {
        let (server, path) = (tools.server.clone(), format!("{}?wait=30", path(id)));
        tokio::spawn(async move { server.get(&path).await })
    };
    for (tool, verb, status) in [("one", "approve", "approved"), ("two", "deny", "denied")] {
        let id = tools.asked(&tools.server, tool).await;
        let waiting = waiting(&id);
        tools.answer(&id, verb).await;
        let told = waiting.await.unwrap().expect(200);
        assert_eq!(told.at("/data"), &json!({ "id": id, "status": status }));
    }
    let id = tools.asked(&tools.server, "three").await;
    let waiting = waiting(&id);
    let operator = tools.app.operator();
    let listed = operator.get("/api/v1/resources").await.expect(200);
    for row in listed.rows() {
        let server = format!("/api/v1/resources/{}", row["id"].as_str().unwrap());
        operator.delete(&server).await.expect(200);
    }
    tools.answer(&id, "approve").await;
    waiting.await.unwrap().refused(401, "unauthenticated");
}

/// How many calls of one tool server wait for one human's answer.
const OF_HUMAN: usize = 16;

#[tokio::test]
async fn calls_of_a_tool_server_that_wait_for_one_human_leave_places_to_others() {
    let tools = Tools::new().await;
    // Each of the first four humans takes all that one has; there is no place for the fifth, nor for one more of the first.
    for (humans, more) in [(1, 0), (5, 4)] {
        let mut requests = Vec::new();
        for number in 0..humans {
            let user = tools.app.user().await;
            let agent = agent(&tools.app, &user).await;
            let asked = asked(&tools.server, &agent, &format!("tool{humans}{number}")).await;
            requests.push(asked.text_at("/data/approvalId").to_owned());
        }
        let waits = |request: &String| {
            let (server, path) = (tools.server.clone(), format!("{}?wait=30", path(request)));
            async move { server.get(&path).await }
        };
        let all = requests
            .iter()
            .take(4)
            .flat_map(|request| [request; OF_HUMAN]);
        let mut waiting: FuturesUnordered<_> = all.chain([&requests[more]]).map(waits).collect();
        // Nothing was answered: the first who is told anything is refused.
        let refused = waiting.next().await.unwrap();
        refused.refused(429, "too_many_requests");
        for request in &requests {
            tools.answer(request, "deny").await;
        }
        // The twin: all others wait until they are told.
        let told: Vec<Reply> = waiting.collect().await;
        assert!(told.iter().all(|told| told.status == 200), "{told:?}");
    }
}
