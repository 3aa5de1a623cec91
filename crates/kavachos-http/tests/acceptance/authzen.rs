//! OpenID AuthZEN Authorization API 1.0: the same decisions, the same records, in another form.

use http::Method;
use kavachos_test::{Call, Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

fn subject(agent: &TestAgent) -> Value {
    json!({ "type": "agent", "id": agent.id })
}

fn evaluation(agent: &TestAgent, id: &str) -> Value {
    json!({
        "subject": subject(agent), "action": { "name": "read" },
        "resource": { "type": "mcp:github", "id": id },
    })
}

async fn reader(app: &TestApp) -> TestAgent {
    app.agent(&app.user().await, may(&["read"], "mcp:github:repos"))
        .await
}

fn decisions(reply: &Reply) -> Vec<bool> {
    let rows = reply.at("/evaluations").as_array().unwrap().iter();
    rows.map(|row| row["decision"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn an_evaluation_is_a_decision_with_the_same_record() {
    let app = crate::start().await;
    let agent = reader(&app).await;
    let reply = app.operator().post(ONE, evaluation(&agent, "repos")).await;
    insta::assert_snapshot!(reply.redacted(), @r#"
    200
    {
      "context": {
        "auditId": "[audit]",
        "code": "allowed",
        "reason": "the request is permitted by the human and every grant down to the agent"
      },
      "decision": true
    }
    "#);
    let denied = app.operator().post(ONE, evaluation(&agent, "issues")).await;
    assert_eq!(denied.expect(200).at("/decision"), false);
    // The twin: the same questions at the other door leave the same records.
    app.decide(&agent.id, "read", "mcp:github:repos")
        .await
        .decided("allowed");
    app.decide(&agent.id, "read", "mcp:github:issues")
        .await
        .decided("permission_denied");
    let records = app.audit("kind=decision").await;
    let same = |one: &Value, other: &Value| {
        let members = [
            "outcome",
            "code",
            "agent",
            "subject",
            "action",
            "resource",
            "reason",
            "grantPath",
            "actor",
            "details",
        ];
        members.iter().all(|name| one[name] == other[name])
    };
    assert!(
        same(&records[0], &records[2]) && same(&records[1], &records[3]),
        "{records:?}"
    );
}

#[tokio::test]
async fn arguments_address_cost_and_human_are_where_the_standard_has_room_for_them() {
    let app = crate::start().await;
    let (ada, bob) = (app.user().await, app.user().await);
    let constrained = json!([{
        "resource": "mcp:github:repos", "actions": ["read"],
        "constraints": {
            "args": { "/path": { "prefix": "/srv" } }, "ipAllowlist": ["192.0.2.0/24"],
            "budget": { "amount": 10, "unit": "tokens" },
        },
    }]);
    let agent = app.agent(&ada, constrained).await;
    let ask = async |path: &str, ip: &str, amount: u64, human: &str| {
        let mut evaluation = evaluation(&agent, "repos");
        evaluation["subject"]["properties"] = json!({ "for": human, "department": "sales" });
        evaluation["action"]["properties"] = json!({ "path": path });
        evaluation["context"] =
            json!({ "ip": ip, "cost": { "amount": amount, "unit": "tokens" }, "time": "now" });
        let reply = app.operator().post(ONE, evaluation).await.expect(200);
        reply.text_at("/context/code").to_owned()
    };
    for (path, ip, amount, human, code) in [
        ("/srv/a", "192.0.2.1", 6, &ada, "allowed"),
        ("/etc", "192.0.2.1", 1, &ada, "argument_not_allowed"),
        ("/srv/a", "198.51.100.1", 1, &ada, "ip_not_allowed"),
        ("/srv/a", "192.0.2.1", 6, &ada, "budget_exhausted"),
        ("/srv/a", "192.0.2.1", 1, &bob, "subject_required"),
    ] {
        assert_eq!(ask(path, ip, amount, human).await, code);
    }
}

#[tokio::test]
async fn unknown_members_are_ignored_and_missing_ones_are_400_with_a_plain_message() {
    let app = crate::start().await;
    let agent = reader(&app).await;
    let mut extra = evaluation(&agent, "repos");
    extra["future"] = json!([1]);
    extra["resource"]["properties"] = json!({ "owner": "ada" });
    let reply = app.operator().post(ONE, extra).await.expect(200);
    assert_eq!(reply.at("/decision"), true);
    for (member, value) in [
        ("subject", Value::Null),
        ("action", Value::Null),
        ("resource", Value::Null),
        ("subject", json!({ "type": "user", "id": agent.id })),
        ("subject", json!({ "type": "agent", "id": "alice" })),
        ("subject", json!({ "type": "agent" })),
        ("action", json!({ "name": "" })),
        ("resource", json!({ "type": "mcp", "id": "a/b" })),
        ("resource", json!({ "type": "mcp", "id": "*" })),
        ("context", json!({ "ip": "nowhere" })),
    ] {
        let mut wrong = evaluation(&agent, "repos");
        match value {
            Value::Null => drop(wrong.as_object_mut().unwrap().remove(member)),
            ref value => wrong[member] = value.clone(),
        }
        let reply = app.operator().post(ONE, wrong).await.expect(400);
        assert!(reply.text.contains(member), "{member} {value}: {reply}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
    assert_eq!(app.audit("kind=decision").await.len(), 1);
}

#[tokio::test]
async fn evaluations_take_what_they_do_not_say_from_the_top() {
    let app = crate::start().await;
    let agent = reader(&app).await;
    let other = app
        .agent(&app.user().await, may(&["write"], "mcp:github:*"))
        .await;
    let body = json!({
        "subject": subject(&agent), "action": { "name": "read" },
        "evaluations": [
            { "resource": { "type": "mcp:github", "id": "repos" } },
            { "resource": { "type": "mcp:github", "id": "issues" } },
            {
                "resource": { "type": "mcp:github", "id": "issues" },
                "subject": subject(&other), "action": { "name": "write" },
            },
        ],
    });
    let reply = app.operator().post(MANY, body).await.expect(200);
    assert_eq!(decisions(&reply), [true, false, true]);
    assert_eq!(reply.at("/decision"), &Value::Null);
    let records = app.audit("kind=decision").await;
    let ids: Vec<_> = records
        .iter()
        .rev()
        .map(|record| record["id"].clone())
        .collect();
    let answered: Vec<_> = (0..3)
        .map(|index| {
            reply
                .at(&format!("/evaluations/{index}/context/auditId"))
                .clone()
        })
        .collect();
    assert_eq!(ids, answered);
    // Without a list it is a single evaluation.
    for body in [evaluation(&agent, "repos"), {
        let mut empty = evaluation(&agent, "repos");
        empty["evaluations"] = json!([]);
        empty
    }] {
        let reply = app.operator().post(MANY, body).await.expect(200);
        assert_eq!(reply.at("/decision"), true);
    }
}

#[tokio::test]
async fn evaluations_stop_where_they_are_asked_to_and_what_is_not_asked_is_not_recorded() {
    let app = crate::start().await;
    let agent = reader(&app).await;
    let ask = async |semantic: &str, ids: [&str; 3]| {
        let evaluations = ids.map(|id| json!({ "resource": { "type": "mcp:github", "id": id } }));
        let body = json!({
            "subject": subject(&agent), "action": { "name": "read" }, "evaluations": evaluations,
            "options": { "evaluations_semantic": semantic, "another": 1 },
        });
        let before = app.head().size;
        let reply = app.operator().post(MANY, body).await;
        (app.head().size - before, reply)
    };
    for (semantic, ids, expected) in [
        (
            "execute_all",
            ["repos", "issues", "repos"],
            vec![true, false, true],
        ),
        (
            "deny_on_first_deny",
            ["repos", "issues", "repos"],
            vec![true, false],
        ),
        ("deny_on_first_deny", ["a/b", "repos", "repos"], vec![false]),
        (
            "permit_on_first_permit",
            ["issues", "repos", "issues"],
            vec![false, true],
        ),
        (
            "permit_on_first_permit",
            ["a/b", "repos", "issues"],
            vec![false, true],
        ),
    ] {
        let (records, reply) = ask(semantic, ids).await;
        assert_eq!(
            decisions(&reply.expect(200)),
            expected,
            "{semantic} {ids:?}"
        );
        let unreadable = u64::from(ids.contains(&"a/b"));
        assert_eq!(records, expected.len() as u64 - unreadable);
    }
    let (_, reply) = ask("whatever", ["a", "b", "c"]).await;
    assert!(reply.expect(400).text.contains("evaluations_semantic"));
}

#[tokio::test]
async fn one_evaluation_that_cannot_be_read_or_asked_denies_itself_alone() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["*"], "*")).await;
    let key = app
        .key(json!({ "name": "k", "scopes": ["authorize:any"], "ceiling": may(&["read"], "mcp:github:*") }))
        .await;
    let mut above = evaluation(&agent, "send");
    above["resource"]["type"] = json!("mcp:slack");
    let mut wrong = evaluation(&agent, "repos");
    wrong["subject"]["id"] = json!("alice");
    let body = json!({ "evaluations": [evaluation(&agent, "repos"), above, wrong] });
    let reply = app.call(&key).post(MANY, body.clone()).await.expect(200);
    assert_eq!(decisions(&reply), [true, false, false]);
    let status = |index: u32| {
        reply
            .at(&format!("/evaluations/{index}/context/error/status"))
            .clone()
    };
    assert_eq!(
        (status(0), status(1), status(2)),
        (Value::Null, json!(403), json!(400))
    );
    assert_eq!(app.audit("kind=decision").await.len(), 2);
    // The twin: without the ceiling the second is allowed.
    let reply = app.operator().post(MANY, body).await.expect(200);
    assert_eq!(decisions(&reply), [true, true, false]);
    let many = vec![evaluation(&agent, "repos"); 101];
    let reply = app
        .operator()
        .post(MANY, json!({ "evaluations": many }))
        .await;
    assert!(reply.expect(400).text.contains("100"));
}

#[tokio::test]
async fn only_operators_and_tool_servers_ask_and_refusals_are_plain_messages_on_record() {
    let app = crate::start().await;
    let agent = reader(&app).await;
    for path in [ONE, MANY] {
        let ask = async |call: Call| call.post(path, evaluation(&agent, "repos")).await;
        let reply = ask(app.anonymous()).await.expect(401);
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"kavach\"");
        ask(app.call(&agent.key)).await.expect(403);
        ask(app.operator()).await.expect(200);
        let server = json!({
            "audience": format!("https://a.example{path}"), "name": "s",
            "scopes": [{ "name": "mcp:github:*", "description": "d" }],
        });
        let server = app
            .operator()
            .post("/api/v1/resources", server)
            .await
            .expect(201);
        let server = server.text_at("/data/token").to_owned();
        ask(app.call(&server)).await.expect(200);
    }
    let refused = app.audit("kind=decision&outcome=denied").await;
    assert_eq!(refused.len(), 2);
}

#[tokio::test]
async fn a_clients_request_id_comes_back_and_records_have_ours() {
    let app = crate::start().await;
    let agent = reader(&app).await;
    let named = app.operator().header("x-request-id", "bfe9eb29");
    let reply = named
        .post(ONE, evaluation(&agent, "repos"))
        .await
        .expect(200);
    assert_eq!(reply.header("x-request-id"), "bfe9eb29");
    let records = app.audit("kind=decision").await;
    assert!(
        records[0]["requestId"]
            .as_str()
            .unwrap()
            .starts_with("req_")
    );
    // Also on an error; an id without end is not given back, and elsewhere none is.
    let reply = named.post(ONE, json!({})).await.expect(400);
    assert_eq!(reply.header("x-request-id"), "bfe9eb29");
    for reply in [
        app.operator()
            .header("x-request-id", &"x".repeat(201))
            .post(ONE, json!({}))
            .await,
        named.post("/api/v1/authorize", json!({})).await,
    ] {
        assert!(reply.header("x-request-id").starts_with("req_"));
    }
}

#[tokio::test]
async fn the_configuration_names_the_endpoints() {
    let app = crate::start().await;
    let reply = app
        .anonymous()
        .get("/.well-known/authzen-configuration")
        .await;
    insta::assert_snapshot!(reply.redacted(), @r#"
    200
    {
      "access_evaluation_endpoint": "http://localhost:3000/access/v1/evaluation",
      "access_evaluations_endpoint": "http://localhost:3000/access/v1/evaluations",
      "policy_decision_point": "http://localhost:3000"
    }
    "#);
    let agent = reader(&app).await;
    for member in ["access_evaluation_endpoint", "access_evaluations_endpoint"] {
        let path = reply
            .text_at(&format!("/{member}"))
            .trim_start_matches("http://localhost:3000");
        let body = evaluation(&agent, "repos").to_string().into_bytes();
        let asked = app.operator().send(Method::POST, path, Some(body)).await;
        asked.expect(200);
    }
}
