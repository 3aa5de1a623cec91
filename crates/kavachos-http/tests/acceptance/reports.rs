//! What tool servers decided by themselves and tell afterwards: on record as theirs, once, and only of their own tokens.

use kavachos_test::{Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::routes;

const REPORTS: &str = "/api/v1/reports";
const TOOLS: &str = "https://tools.example.com/mcp";
const OTHERS: &str = "https://other.example.com/mcp";

/// A tool server, a human, an orchestrator, a researcher, and the name of the researcher's token.
struct World {
    app: TestApp,
    server: String,
    user: String,
    orchestrator: TestAgent,
    researcher: TestAgent,
    token: String,
}

async fn register(app: &TestApp, audience: &str) -> String {
    let server = json!({
        "audience": audience, "name": "tools", "party": "first", "kind": "kavach",
        "scopes": [{ "name": "tools:call:*", "description": "call tools" }],
    });
    let made = app.operator().post("/api/v1/resources", server).await;
    made.expect(201).text_at("/data/token").to_owned()
}

async fn made(app: &TestApp, agent: &TestAgent, audience: &str) -> Reply {
    let wanted = json!({
        "agent": agent.id, "audience": audience, "reason": "find sources",
        "permissions": may(&["call"], "tools:call:search"),
    });
    let made = app.call(&agent.key).post("/api/v1/delegate", wanted).await;
    made.expect(200)
}

/// The name of a new token.
async fn token(app: &TestApp, agent: &TestAgent, audience: &str) -> String {
    made(app, agent, audience)
        .await
        .text_at("/data/id")
        .to_owned()
}

async fn world() -> World {
    world_of(crate::setup()).await
}

async fn world_of(setup: kavachos_test::Setup) -> World {
    let app = setup.start().await;
    let server = register(&app, TOOLS).await;
    let user = app.user().await;
    let orchestrator = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let researcher = may(&["*"], "tools:call:search");
    let researcher = app.agent(&orchestrator.id, researcher).await;
    let token = token(&app, &researcher, TOOLS).await;
    World {
        app,
        server,
        user,
        orchestrator,
        researcher,
        token,
    }
}

impl World {
    /// What the tool server tells of a search that it allowed just now.
    fn search(&self) -> Value {
        json!({
            "tokenId": self.token, "action": "call", "resource": "tools:call:search", "allowed": true,
            "code": "allowed", "time": self.ago(0), "proven": false,
        })
    }

    fn with(&self, member: &str, value: Value) -> Value {
        let mut item = self.search();
        item[member] = value;
        item
    }

    fn ago(&self, seconds: i64) -> Value {
        let now = self.app.kavach().engine().now().as_micros();
        let time = kavachos_core::time::Timestamp::from_micros(now - seconds * 1_000_000);
        json!(time)
    }

    async fn report(&self, name: &str, decisions: &[Value]) -> Reply {
        let caller = self.app.call(&self.server).header("idempotency-key", name);
        caller
            .post(REPORTS, json!({ "decisions": decisions }))
            .await
    }

    async fn records(&self) -> Vec<Value> {
        self.app.audit("kind=decision.reported").await
    }
}

#[tokio::test]
async fn a_report_is_on_record_under_its_chain_and_as_the_word_of_its_tool_server() {
    let world = world().await;
    let mut refused = world.with("code", json!("insufficient_scope"));
    refused["allowed"] = json!(false);
    refused["resource"] = json!("tools:call:delete");
    let reply = world.report("one", &[world.search(), refused]).await;
    let reply = reply.expect(200);
    assert_eq!(reply.at("/data"), &json!({ "recorded": 2, "refused": [] }));

    let filters = [
        "kind=decision.reported".to_owned(),
        format!("kind=decision.reported&agentId={}", world.researcher.id),
        format!("kind=decision.reported&userId={}", world.user),
        format!("kind=decision.reported&member={}", world.orchestrator.id),
    ];
    for filter in filters {
        assert_eq!(world.app.audit(&filter).await.len(), 2, "{filter}");
    }
    let records = world.records().await;
    let (denied, allowed) = (&records[0], &records[1]);
    assert_eq!(allowed["reportedBy"], TOOLS);
    assert_eq!(allowed["outcome"], "allowed");
    assert_eq!(allowed["subject"], world.user);
    assert_eq!(allowed["chain"], json!([world.orchestrator.id]));
    assert_eq!(allowed["details"]["token"], world.token);
    assert_eq!(allowed["details"]["proven"], false);
    assert!(allowed["details"]["count"].is_null());
    assert!(allowed["ip"].is_null());
    assert_eq!(
        (&denied["code"], &denied["resource"]),
        (&json!("insufficient_scope"), &json!("tools:call:delete"))
    );
    let issued = &world.app.audit("kind=token.issued").await[0];
    assert_eq!(allowed["grantPath"], issued["grantPath"]);

    let path = format!("/api/v1/explain/{}", allowed["id"].as_str().unwrap());
    let told = world.app.operator().get(&path).await.expect(200);
    assert_eq!(told.text_at("/data/reportedBy"), TOOLS);
    // The twin: what this server decides is nobody's report, and no report is a decision of this server.
    world
        .app
        .decide(&world.researcher.id, "call", "tools:call:search")
        .await
        .decided("allowed");
    let own = world.app.audit("kind=decision").await;
    assert_eq!((own.len(), &own[0]["reportedBy"]), (1, &Value::Null));
    assert_eq!(world.records().await.len(), 2);
}

#[tokio::test]
async fn a_batch_is_recorded_once_however_often_it_is_sent() {
    let world = world().await;
    let unknown = world.with("tokenId", json!("token_01jd6zc5g0e8srqv1pgs6wqr3h"));
    let batch = [world.search(), unknown];
    let first = world.report("one", &batch).await.expect(200);
    let again = world.report("one", &batch).await.expect(200);
    assert_eq!(first.at("/data/refused"), again.at("/data/refused"));
    assert_eq!(again.at("/data/replayed"), true);
    assert_eq!(world.records().await.len(), 1);
    let other = world.report("one", &[world.search()]).await;
    other.refused(409, "idempotency_mismatch");
    // The twin: under another name it is another batch.
    world.report("two", &batch).await.expect(200);
    assert_eq!(world.records().await.len(), 2);
    let unnamed = world.app.call(&world.server);
    let unnamed = unnamed.post(REPORTS, json!({ "decisions": batch })).await;
    assert_eq!(
        unnamed.refused(400, "malformed_request").field(),
        "Idempotency-Key"
    );
}

#[tokio::test]
async fn a_report_stands_for_as_many_as_it_says() {
    let world = world().await;
    let mut refused = world.with("code", json!("insufficient_scope"));
    refused["allowed"] = json!(false);
    refused["count"] = json!(99);
    let reply = world.report("one", &[refused.clone()]).await;
    reply.expect(200);
    assert_eq!(world.records().await[0]["details"]["count"], 99);
    for wrong in [
        json!(0),
        json!(-1),
        json!("2"),
        json!(u64::MAX),
        json!(null),
    ] {
        refused["count"] = wrong;
        let reply = world.report("two", &[refused.clone()]).await;
        reply.refused(400, "malformed_request");
    }
}

/// A tool server says what it did with a token, not what became of a human long after.
#[tokio::test]
async fn nothing_is_reported_of_a_time_when_the_token_was_over() {
    let world = world().await;
    world.app.advance(600);
    let late = world.report("late", &[world.search()]).await.expect(200);
    assert_eq!(late.at("/data/refused/0/code"), "time_out_of_range");
    // The twin: told as late, of a moment when it was live.
    let in_time = world.with("time", world.ago(590));
    let told = world.report("in time", &[in_time]).await.expect(200);
    assert_eq!(told.at("/data/recorded"), 1);
}

#[tokio::test]
async fn what_cannot_be_reported_is_refused_by_itself_and_the_rest_recorded() {
    let world = world().await;
    let other_server = register(&world.app, OTHERS).await;
    let elsewhere = token(&world.app, &world.researcher, OTHERS).await;
    world.app.advance(120);
    let contradicted = world.with("allowed", json!(false));
    let items = [
        (
            world.with("tokenId", json!("token_01jd6zc5g0e8srqv1pgs6wqr3h")),
            "unknown_token",
        ),
        (world.with("tokenId", json!(elsewhere)), "unknown_token"),
        (world.with("time", world.ago(-31)), "time_out_of_range"),
        (world.with("time", world.ago(151)), "time_out_of_range"),
        (world.with("code", json!("fine")), "unknown_code"),
        (
            world.with("code", json!("insufficient_scope")),
            "unknown_code",
        ),
        (contradicted, "unknown_code"),
        (world.with("resource", json!("mail:send")), "not_covered"),
    ];
    let batch: Vec<Value> = items.iter().map(|(item, _)| item.clone()).collect();
    let reply = world.report("one", &batch).await.expect(200);
    let refused = |index: usize, code: &str| json!({ "index": index, "code": code });
    let expected: Vec<Value> = (items.iter().enumerate())
        .map(|(index, (_, code))| refused(index, code))
        .collect();
    assert_eq!(
        reply.at("/data"),
        &json!({ "recorded": 0, "refused": expected })
    );
    assert!(world.records().await.is_empty());
    // The twins: in time to the second; a refusal outside of its scopes; the other's token by the other.
    let mut outside = world.with("resource", json!("mail:send"));
    outside["allowed"] = json!(false);
    outside["code"] = json!("insufficient_scope");
    let good = [
        world.with("time", world.ago(-30)),
        world.with("time", world.ago(149)),
        outside,
    ];
    let reply = world.report("two", &good).await.expect(200);
    assert_eq!(reply.at("/data/recorded"), 3, "{reply}");
    let caller = world
        .app
        .call(&other_server)
        .header("idempotency-key", "one");
    let own = json!({ "decisions": [world.with("tokenId", json!(elsewhere))] });
    let reply = caller.post(REPORTS, own).await.expect(200);
    assert_eq!(reply.at("/data/recorded"), 1, "{reply}");
}

#[tokio::test]
async fn what_was_decided_an_hour_ago_comes_too_late() {
    let world = world().await;
    let item = world.search();
    world.app.advance(3_600);
    let reply = world
        .report("one", std::slice::from_ref(&item))
        .await
        .expect(200);
    assert_eq!(reply.at("/data/recorded"), 1, "the twin: the last second");
    world.app.advance(1);
    let reply = world.report("two", &[item]).await.expect(200);
    assert_eq!(reply.at("/data/refused/0/code"), "time_out_of_range");
}

#[tokio::test]
async fn a_batch_has_a_hundred_decisions_of_known_members_and_no_more() {
    let world = world().await;
    for (count, field) in [(0, "decisions"), (101, "decisions")] {
        let reply = world.report("one", &vec![world.search(); count]).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), field);
    }
    let mut more = world.search();
    more["more"] = json!(1);
    for (wrong, field) in [
        (more, "decisions[0].more"),
        (world.with("action", json!("")), "decisions[0].action"),
        (
            world.with("resource", json!("x".repeat(513))),
            "decisions[0].resource",
        ),
        (world.with("time", json!("soon")), "decisions[0].time"),
        (
            world.with("tokenId", json!(world.user)),
            "decisions[0].tokenId",
        ),
    ] {
        let reply = world.report("one", &[wrong]).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), field);
    }
    // The twin.
    let reply = world.report("one", &vec![world.search(); 100]).await;
    assert_eq!(reply.expect(200).at("/data/recorded"), 100);
}

#[tokio::test]
async fn nobody_but_a_tool_server_reports_and_a_refusal_is_on_record() {
    let world = world().await;
    let batch = json!({ "decisions": [world.search()] });
    let session = world.app.session(&world.user).await;
    for caller in [
        world.app.operator(),
        world.app.call(&world.researcher.key),
        world.app.call(&session.token),
    ] {
        let caller = caller.header("idempotency-key", "one");
        let reply = caller.post(REPORTS, batch.clone()).await;
        reply.refused(403, "forbidden");
    }
    let stranger = world.app.anonymous().post(REPORTS, batch).await;
    stranger.refused(401, "unauthenticated");
    let refused = world.records().await;
    assert_eq!(refused.len(), 3);
    assert!(
        refused
            .iter()
            .all(|record| record["code"] == "forbidden" && record["reportedBy"].is_null())
    );
    // The twin.
    world.report("one", &[world.search()]).await.expect(200);
}

/// Lessons, row 58: what is for a tool server opens no route here.
#[tokio::test]
async fn a_token_is_no_credential_of_any_route() {
    let app = crate::start().await;
    register(&app, OTHERS).await;
    let researcher = may(&["*"], "tools:call:search");
    let researcher = app.agent(&app.user().await, researcher).await;
    let token = made(&app, &researcher, OTHERS).await;
    let token = app.call(token.text_at("/data/token"));
    let world = routes::World::new(&app).await;
    for route in routes::routes() {
        let reply = route.call(&token, &world).await;
        route.refused(&reply, 401, "unauthenticated");
    }
    for path in [REPORTS, "/api/v1/delegate"] {
        let reply = token.post(path, json!({})).await;
        reply.refused(401, "unauthenticated");
    }
    // The twin: the key of the agent whose token it is.
    let own = app.call(&researcher.key);
    own.get(&format!("/api/v1/agents/{}", researcher.id))
        .await
        .expect(200);
}

#[tokio::test]
async fn what_a_tool_server_reports_too_much_is_refused_and_counted_and_can_come_later() {
    let world =
        world_of(crate::setup().settings(|settings| settings.reports_per_minute = 150)).await;
    let (one, many) = (vec![world.search()], vec![world.search(); 100]);
    world.report("first", &many).await.expect(200);
    let refused = world.report("second", &many).await;
    let refused = refused.refused(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), "60");
    world
        .report("second", &many)
        .await
        .refused(429, "too_many_requests");
    // What fits still comes, and what was taken before is answered as before.
    world.report("third", &one).await.expect(200);
    world.report("first", &many).await.expect(200);
    world.app.kavach().engine().flush_refusals().await;
    let summaries = world.app.audit("kind=refusals").await;
    assert_eq!(summaries.len(), 1);
    assert_eq!(summaries[0]["details"]["count"], 2);
    assert_eq!(summaries[0]["code"], "too_many_requests");
    assert!(
        summaries[0]["actor"].as_str().unwrap().starts_with("res"),
        "{}",
        summaries[0]
    );
    // The twins: another tool server has its own part, and so has the next minute.
    let other = register(&world.app, OTHERS).await;
    let caller = world.app.call(&other).header("idempotency-key", "one");
    caller
        .post(REPORTS, json!({ "decisions": many }))
        .await
        .expect(200);
    world.app.advance(60);
    world.report("second", &many).await.expect(200);
    let records = world.app.audit("kind=decision.reported&limit=1000").await;
    assert_eq!(records.len(), 201);
}

/// What whoever stole a tool server's key may have recorded is bounded, by whatever call.
#[tokio::test]
async fn refusals_of_a_tool_server_count_as_its_reports_do() {
    let few = |settings: &mut kavachos_test::kavachos::Settings| settings.reports_per_minute = 100;
    let world = world_of(crate::setup().settings(few)).await;
    let other = register(&world.app, OTHERS).await;
    let tried = async |key: &str| {
        let ask = [
            ("grant_type", crate::exchange::GRANT),
            ("subject_token", "x"),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("audience", OTHERS),
            ("reason", "next"),
        ];
        let call = world.app.call(key);
        call.post_form(crate::exchange::TOKEN, &ask).await.status
    };
    for _ in 0..100 {
        assert_eq!(tried(&world.server).await, 400);
    }
    assert_eq!(tried(&world.server).await, 429);
    let denied = "kind=token.issued&outcome=denied&limit=1000";
    assert_eq!(world.app.audit(denied).await.len(), 100);
    // The twins: another one's, and the next minute.
    assert_eq!(tried(&other).await, 400);
    world.app.advance(60);
    assert_eq!(tried(&world.server).await, 400);
    assert_eq!(world.app.audit(denied).await.len(), 102);
}
