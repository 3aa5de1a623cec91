//! Several questions in one request.

use kavachos_test::{Reply, TestApp, may};
use serde_json::{Value, json};

const BATCH: &str = "/api/v1/authorize/batch";

fn question(agent: &str, resource: &str) -> Value {
    json!({ "agentId": agent, "action": "read", "resource": resource })
}

async fn ask(app: &TestApp, questions: Vec<Value>) -> Reply {
    let body = json!({ "requests": questions });
    app.operator().post(BATCH, body).await
}

fn codes(reply: &Reply) -> Vec<&str> {
    let rows = reply.rows().iter();
    rows.map(|row| row["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_question_of_a_batch_is_answered_in_its_order_with_a_record_of_its_own() {
    let app = crate::start().await;
    let user = app.user().await;
    let github = app.agent(&user, may(&["read"], "mcp:github:*")).await;
    let slack = app.agent(&user, may(&["read"], "mcp:slack:*")).await;
    let reply = ask(
        &app,
        vec![
            question(&github.id, "mcp:github:repos"),
            question(&github.id, "mcp:slack:send"),
            question(&slack.id, "mcp:slack:send"),
            question("agent_01h455vb4pex5vsknk084sn02q", "mcp:slack:send"),
        ],
    )
    .await
    .expect(200);
    assert_eq!(
        codes(&reply),
        ["allowed", "permission_denied", "allowed", "unknown_agent"]
    );
    let answered = reply.rows().iter().rev();
    let answered: Vec<_> = answered.map(|row| row["auditId"].clone()).collect();
    let records = app.audit("kind=decision").await;
    let recorded: Vec<_> = records.iter().map(|record| record["id"].clone()).collect();
    assert_eq!(answered, recorded);
    // All of them came with one request.
    assert!(
        records
            .iter()
            .all(|record| record["requestId"] == records[0]["requestId"])
    );
}

/// A limit gives to the first questions, as if they had been asked one after the other.
#[tokio::test]
async fn a_batch_takes_from_a_limit_in_its_order() {
    let app = crate::start().await;
    let agent = async |limit: u32| {
        let permissions = json!([{
            "resource": "mcp:*", "actions": ["read"],
            "constraints": { "budget": { "amount": limit, "unit": "calls" } },
        }]);
        app.agent(&app.user().await, permissions).await
    };
    let (three, six) = (agent(3).await, agent(6).await);
    let six_times = |id: &str| vec![question(id, "mcp:a"); 6];
    let reply = ask(&app, six_times(&three.id)).await.expect(200);
    let (taken, full) = ("allowed", "budget_exhausted");
    assert_eq!(codes(&reply), [taken, taken, taken, full, full, full]);
    // The twin: the same batch with room for all.
    let reply = ask(&app, six_times(&six.id)).await.expect(200);
    assert_eq!(codes(&reply), [taken; 6]);
}

#[tokio::test]
async fn a_batch_holds_one_to_a_hundred_questions() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    for count in [0, 101, 500] {
        let reply = ask(&app, vec![question(&agent.id, "mcp:a"); count]).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), "requests");
    }
    assert_eq!(app.audit("kind=decision").await.len(), 0);
    for count in [1, 100] {
        let reply = ask(&app, vec![question(&agent.id, "mcp:a"); count]).await;
        assert_eq!(reply.expect(200).rows().len(), count);
    }
    assert_eq!(app.audit("kind=decision&limit=1000").await.len(), 101);
}

#[tokio::test]
async fn one_question_that_cannot_be_read_or_asked_and_none_is_decided() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["*"], "*")).await;
    let good = question(&agent.id, "mcp:github:repos");
    let mut nobody = good.clone();
    nobody.as_object_mut().unwrap().remove("agentId");
    for (bad, field) in [
        (question(&agent.id, "mcp::"), "requests[1].resource"),
        (
            json!({ "agentId": agent.id, "action": "read" }),
            "requests[1].resource",
        ),
        (nobody, "requests[1].agentId"),
    ] {
        let reply = ask(&app, vec![good.clone(), bad]).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), field);
    }
    let key = app
        .key(json!({ "name": "k", "scopes": ["authorize:any"], "ceiling": may(&["read"], "mcp:github:*") }))
        .await;
    let both = json!({ "requests": [good, question(&agent.id, "mcp:slack:send")] });
    let refused = app.call(&key).post(BATCH, both.clone()).await;
    refused.refused(403, "forbidden");
    assert_eq!(app.audit("kind=decision&outcome=allowed").await.len(), 0);
    assert_eq!(app.audit("kind=decision&outcome=denied").await.len(), 1);
    // The twin: a key without a ceiling gets both.
    let reply = app.operator().post(BATCH, both).await.expect(200);
    assert_eq!(codes(&reply), ["allowed", "allowed"]);
}

#[tokio::test]
async fn an_agent_asks_a_batch_for_itself_alone_and_a_dead_key_is_told_so() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    let other = app.agent(&user, may(&["read"], "mcp:*")).await;
    let own = json!({ "requests": [{ "action": "read", "resource": "mcp:a" }] });
    let reply = app.call(&agent.key).post(BATCH, own.clone()).await;
    assert_eq!(codes(&reply.expect(200)), ["allowed"]);
    let others = json!({ "requests": [question(&other.id, "mcp:a")] });
    let reply = app.call(&agent.key).post(BATCH, others).await;
    reply.refused(403, "forbidden");
    app.operator()
        .post(&format!("/api/v1/agents/{}/rotate", agent.id), json!({}))
        .await
        .expect(201);
    let reply = app.call(&agent.key).post(BATCH, own).await.expect(200);
    assert_eq!(codes(&reply), ["key_revoked"]);
}
