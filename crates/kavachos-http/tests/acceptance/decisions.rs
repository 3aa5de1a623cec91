//! What is allowed, what is denied, and how the answer looks.

use kavachos_test::{TestAgent, TestApp, may};
use serde_json::{Value, json};

/// B4, as far as the answer goes; the record is in `ledger`.
#[tokio::test]
async fn b04_an_allow_is_200_with_its_audit_id() {
    let app = crate::start().await;
    let agent = app
        .agent(&app.user().await, may(&["read"], "mcp:github:*"))
        .await;
    let reply = app.decide(&agent.id, "read", "mcp:github:repos").await;
    assert_eq!(reply.header("kavach-decision"), "allow");
    insta::assert_snapshot!(reply.redacted(), @r#"
    200
    {
      "data": {
        "allowed": true,
        "auditId": "[audit]",
        "code": "allowed",
        "reason": "the request is permitted by the human and every grant down to the agent"
      }
    }
    "#);
}

/// B5.
#[tokio::test]
async fn b05_a_denial_is_200_with_its_code_and_reason() {
    let app = crate::start().await;
    let agent = app
        .agent(&app.user().await, may(&["read"], "mcp:github:*"))
        .await;
    let reply = app.decide(&agent.id, "read", "mcp:slack:send").await;
    assert_eq!(reply.header("kavach-decision"), "deny");
    insta::assert_snapshot!(reply.redacted(), @r#"
    200
    {
      "data": {
        "allowed": false,
        "auditId": "[audit]",
        "code": "permission_denied",
        "reason": "no grant of the agent permits this action on this resource"
      }
    }
    "#);
    app.decide(&agent.id, "write", "mcp:github:repos")
        .await
        .decided("permission_denied");
    app.decide(&agent.id, "read", "mcp:github:repos")
        .await
        .decided("allowed");
}

#[tokio::test]
async fn an_agent_that_does_not_exist_is_a_denial_with_a_record() {
    let app = crate::start().await;
    let unknown = "agent_01h455vb4pex5vsknk084sn02q";
    let reply = app
        .decide(unknown, "read", "mcp:github:repos")
        .await
        .decided("unknown_agent");
    let path = format!("/api/v1/audit/{}", reply.text_at("/data/auditId"));
    let record = app.operator().get(&path).await.expect(200);
    assert_eq!(record.at("/data/code"), "unknown_agent");
}

/// What a pattern allows: the pattern, the resource, and whether it matches.
const MATCHES: [(&str, &str, bool); 16] = [
    ("mcp:github:*", "mcp:github:repos", true),
    ("mcp:github:*", "mcp:github:repos:42", true),
    ("mcp:github:*", "mcp:slack:send", false),
    ("mcp:github:*", "mcp:github", false),
    ("mcp:github:*", "mcp:githubx:repos", false),
    ("mcp:*", "mcp:github:repos", true),
    ("mcp:*", "mcpx:github", false),
    ("*", "anything:at:all", true),
    ("mcp:github:repos", "mcp:github:repos", true),
    ("mcp:github:repos", "mcp:github:Repos", false),
    ("mcp:github:repos", "mcp:github:repos:42", false),
    ("mcp:github", "mcp:github:repos", false),
    ("tool:*:read", "tool:db:read", true),
    ("tool:*:read", "tool:db:drop", false),
    ("tool:*:read", "tool:db:users:read", false),
    ("tool:a%2Fb", "tool:a/b", false),
];

/// B6, B7, F9. Each row that does not match stands beside one that does.
#[tokio::test]
async fn b06_b07_f09_a_pattern_matches_segment_by_segment() {
    let app = crate::start().await;
    let user = app.user().await;
    for (pattern, resource, matches) in MATCHES {
        let agent = app.agent(&user, may(&["read"], pattern)).await;
        let reply = app.decide(&agent.id, "read", resource).await;
        match (matches, resource.contains('/')) {
            (true, _) => reply.decided("allowed"),
            (false, false) => reply.decided("permission_denied"),
            // What is no resource is refused before anything is decided.
            (false, true) => reply.refused(400, "malformed_request"),
        };
    }
    let all = app.agent(&user, may(&["*"], "*")).await;
    app.decide(&all.id, "drop", "tool:db")
        .await
        .decided("allowed");
}

/// F9: what could be read in two ways is refused when it is written.
#[tokio::test]
async fn f09_ambiguous_patterns_are_refused_when_written() {
    let app = crate::start().await;
    let user = app.user().await;
    let create = |pattern: String| json!({ "ownerId": user, "name": "a", "type": "service", "permissions": may(&["read"], &pattern) });
    let long = ["a"; 17].join(":");
    for pattern in [
        "",
        ":",
        "mcp:",
        ":mcp",
        "mcp::x",
        "**",
        "mcp:**",
        "mcp:git*",
        "*hub",
        "mcp: x",
        "mcp:\u{ff1a}x",
        "a/b",
        "mcp:%2f",
        "mcp:%zz",
        "mcp:%41",
        "mcp:\u{0}",
        &long,
        &"x".repeat(513),
    ] {
        let reply = app
            .operator()
            .post("/api/v1/agents", create(pattern.to_owned()))
            .await;
        assert_eq!(reply.status, 400, "{pattern:?}: {reply}");
        assert_eq!(
            reply.field(),
            "permissions[0].resource",
            "{pattern:?}: {reply}"
        );
    }
    for pattern in ["*", "mcp:*", "mcp:*:read", "mcp:%2F", &["a"; 16].join(":")] {
        app.operator()
            .post("/api/v1/agents", create(pattern.to_owned()))
            .await
            .expect(201);
    }
}

/// B6: an empty list of actions grants nothing, so it cannot be written.
#[tokio::test]
async fn b06_an_empty_action_list_never_grants() {
    let app = crate::start().await;
    let user = app.user().await;
    let create = |actions: Value| {
        json!({
            "ownerId": user, "name": "a", "type": "service",
            "permissions": [{ "resource": "mcp:x", "actions": actions }],
        })
    };
    for actions in [
        json!([]),
        json!(null),
        json!("read"),
        json!([""]),
        json!(["*", "read"]),
        json!(["re ad"]),
    ] {
        let reply = app
            .operator()
            .post("/api/v1/agents", create(actions.clone()))
            .await;
        let field = reply.refused(400, "malformed_request").field().to_owned();
        assert!(
            field.starts_with("permissions[0].actions"),
            "{actions}: {field}"
        );
    }
    app.operator()
        .post("/api/v1/agents", create(json!(["read"])))
        .await
        .expect(201);
}

/// B8, F10: every match is looked at, in whatever order they stand.
#[tokio::test]
async fn b08_f10_a_plain_permission_beside_a_constrained_wildcard_allows_in_any_order() {
    let app = crate::start().await;
    let user = app.user().await;
    let exact = json!({ "resource": "mcp:github:repos", "actions": ["read"] });
    let wildcard = json!({
        "resource": "mcp:github:*", "actions": ["read"], "constraints": { "maxCallsPerHour": 0 },
    });
    for permissions in [json!([exact, wildcard]), json!([wildcard, exact])] {
        let agent = app.agent(&user, permissions).await;
        for _ in 0..3 {
            app.decide(&agent.id, "read", "mcp:github:repos")
                .await
                .decided("allowed");
        }
        app.decide(&agent.id, "read", "mcp:github:issues")
            .await
            .decided("rate_limited");
    }
    let constrained = app.agent(&user, json!([wildcard])).await;
    app.decide(&constrained.id, "read", "mcp:github:repos")
        .await
        .decided("rate_limited");
}

/// F36: by id and by key go one way, delegated permissions included.
#[tokio::test]
async fn f36_by_id_and_by_key_the_answer_is_the_same() {
    let app = crate::start().await;
    let user = app.user().await;
    let giver = app.agent(&user, may(&["read"], "mcp:github:*")).await;
    let agent = app.agent(&user, may(&["read"], "mcp:own")).await;
    app.delegate(&giver.id, &agent.id, may(&["read"], "mcp:github:repos"))
        .await
        .expect(201);
    let both = async |resource: &str, code: &str| {
        app.decide(&agent.id, "read", resource).await.decided(code);
        let question = json!({ "action": "read", "resource": resource });
        app.call(&agent.key)
            .post("/api/v1/authorize", question)
            .await
            .decided(code);
    };
    both("mcp:own", "allowed").await;
    both("mcp:github:repos", "allowed").await;
    both("mcp:github:issues", "permission_denied").await;
    app.operator()
        .delete(&format!("/api/v1/agents/{}", giver.id))
        .await
        .expect(200);
    both("mcp:own", "allowed").await;
    both("mcp:github:repos", "ancestor_not_active").await;
}

/// Authority.md, "Decisions": what is asked must be sayable.
#[tokio::test]
async fn a_question_that_cannot_be_read_is_400_and_no_decision() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["*"], "*")).await;
    let size = app.head().size;
    let good = json!({ "agentId": agent.id, "action": "read", "resource": "mcp:x" });
    for (field, value) in [
        ("agentId", json!("user_01h455vb4pex5vsknk084sn02q")),
        ("agentId", json!("agent_x")),
        ("agentId", json!(7)),
        ("action", json!("*")),
        ("action", json!("")),
        ("action", json!("a b")),
        ("action", json!(null)),
        ("resource", json!("mcp:*")),
        ("resource", json!("*")),
        ("resource", json!("mcp:x y")),
        ("resource", json!(["mcp:x"])),
        ("for", json!(agent.id)),
        ("cost", json!({ "amount": -1, "unit": "cent" })),
        ("cost", json!({ "amount": 1 })),
        ("context", json!({ "ip": "10.0.0.01" })),
        ("context", json!({ "ip": "fe80::1%eth0" })),
        ("context", json!({ "host": "x" })),
        ("audience", json!("x")),
    ] {
        let mut question = good.clone();
        question[field] = value.clone();
        let reply = app.ask(question).await.refused(400, "malformed_request");
        assert!(reply.field().starts_with(field), "{field} {value}: {reply}");
        assert_eq!(reply.header("kavach-decision"), "");
    }
    assert_eq!(app.head().size, size, "what cannot be read is no decision");
    app.ask(good).await.decided("allowed");
    assert_eq!(app.head().size, size + 1);
}

/// The last agent of the longest chain that there can be, with more paths than a record has room for.
async fn at_the_end_of_many_long_chains(app: &TestApp) -> TestAgent {
    let user = app.user().await;
    let all = || may(&["read"], "mcp:*");
    let mut giver = app.agent_with(&user, all(), json!({ "maxDepth": 7 })).await;
    for _ in 1..7 {
        let next = app.agent(&user, may(&["read"], "mcp:none")).await;
        app.delegate(&giver.id, &next.id, all()).await.expect(201);
        giver = next;
    }
    let last = app.agent(&user, may(&["read"], "mcp:none")).await;
    for _ in 0..20 {
        app.delegate(&giver.id, &last.id, all()).await.expect(201);
    }
    last
}

/// Ledger.md: every decision is a record, whatever its caller does to make it long.
#[tokio::test]
async fn a_decision_with_the_longest_record_is_still_a_decision() {
    let app = crate::start().await;
    let agent = at_the_end_of_many_long_chains(&app).await;
    let user_agent = "\"".repeat(300);
    let caller = app.call(&agent.key).header("user-agent", &user_agent);
    for (start, code) in [("other:", "permission_denied"), ("mcp:", "allowed")] {
        let resource = format!("{start}{}", "%2F".repeat(168));
        let question = json!({ "action": "read", "resource": resource });
        caller
            .post("/api/v1/authorize", question)
            .await
            .decided(code);
        let asked = json!({
            "agentId": agent.id, "action": "read", "resource": resource, "context": { "userAgent": user_agent },
        });
        let reply = app.ask(asked).await.decided(code);
        let path = format!("/api/v1/audit/{}", reply.text_at("/data/auditId"));
        let record = app.operator().get(&path).await.expect(200);
        assert_eq!(record.text_at("/data/resource"), resource);
        if code != "allowed" {
            let paths = record
                .at("/data/details/paths")
                .as_array()
                .map_or(0, Vec::len);
            let more = record.at("/data/details/morePaths").as_u64().unwrap();
            assert_eq!(u64::try_from(paths).unwrap() + more, 21, "{record}");
        }
    }
    let control = json!({
        "agentId": agent.id, "action": "read", "resource": "mcp:x", "context": { "userAgent": "\u{1b}[31m" },
    });
    assert_eq!(
        app.ask(control)
            .await
            .refused(400, "malformed_request")
            .field(),
        "context.userAgent"
    );
}

/// The same for what is written: the largest agent that is accepted has its record.
#[tokio::test]
async fn the_largest_agent_has_its_record() {
    let app = crate::start().await;
    // At the end of the longest row of owners.
    let user = app.user().await;
    let mut owner = app
        .agent_with(&user, may(&["*"], "*"), json!({ "maxDepth": 7 }))
        .await;
    for _ in 1..7 {
        owner = app.agent(&owner.id, may(&["*"], "*")).await;
    }
    let permission =
        |n: usize| json!({ "resource": format!("m{n}:{}", "%2F".repeat(169)), "actions": ["*"] });
    let permissions: Vec<Value> = (0..10).map(permission).collect();
    let body = json!({
        "ownerId": owner.id, "name": "\"".repeat(200), "type": "service", "permissions": permissions,
        "metadata": { "x": "y".repeat(2_000) },
    });
    let caller = app.operator().header("user-agent", &"\"".repeat(300));
    let made = caller
        .post("/api/v1/agents", body.clone())
        .await
        .expect(201);
    assert_eq!(app.audit(&format!("agentId={}", made.id())).await.len(), 1);
    let path = format!("/api/v1/agents/{}", made.id());
    caller
        .patch(&path, json!({ "metadata": body["metadata"] }))
        .await
        .expect(200);
    let to = app.agent(&user, may(&["read"], "mcp:none")).await;
    let give = json!({
        "from": owner.id, "to": to.id, "permissions": permissions, "reason": "\"".repeat(200),
    });
    caller.post("/api/v1/delegations", give).await.expect(201);
}
