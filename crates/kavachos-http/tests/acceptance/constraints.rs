//! Constraints over HTTP: each stops what it is there to stop, and nothing when it is not there.

use futures_util::future::join_all;
use kavachos_test::{TestAgent, TestApp, may, may_under};
use serde_json::{Value, json};

/// An agent that may `call` everything below `tool:` under these constraints.
async fn agent_under(app: &TestApp, constraints: Value) -> TestAgent {
    let user = app.user().await;
    app.agent(&user, may_under(&["call"], "tool:*", constraints))
        .await
}

/// How many of these parallel calls, each on another resource, are allowed; the others must have this code.
async fn allowed_of(app: &TestApp, agent: &str, calls: usize, code: &str) -> usize {
    let ask = |n: usize| async move { app.decide(agent, "call", &format!("tool:r{n}")).await };
    let replies = join_all((0..calls).map(ask)).await;
    let allowed = replies
        .iter()
        .filter(|reply| reply.code() == "allowed")
        .count();
    for reply in replies
        .into_iter()
        .filter(|reply| reply.code() != "allowed")
    {
        reply.decided(code);
    }
    allowed
}

/// B20, F11.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b20_f11_fifty_parallel_calls_over_varied_resources_with_limit_five_give_five() {
    let app = crate::start().await;
    let limited = agent_under(&app, json!({ "maxCallsPerHour": 5 })).await;
    assert_eq!(allowed_of(&app, &limited.id, 50, "rate_limited").await, 5);
    let reply = app
        .decide(&limited.id, "call", "tool:new")
        .await
        .decided("rate_limited");
    let wait = reply.at("/data/retryAfter").as_u64().unwrap();
    assert!((1..=3_660).contains(&wait), "{reply}");
    app.advance(wait - 1);
    app.decide(&limited.id, "call", "tool:new")
        .await
        .decided("rate_limited");
    app.advance(1);
    app.decide(&limited.id, "call", "tool:new")
        .await
        .decided("allowed");

    let free = agent_under(&app, json!({})).await;
    assert_eq!(allowed_of(&app, &free.id, 50, "rate_limited").await, 50);
}

/// B20, F11: 0 is none, not without limit.
#[tokio::test]
async fn b20_f11_a_limit_of_zero_allows_none() {
    let app = crate::start().await;
    let none = agent_under(&app, json!({ "maxCallsPerHour": 0 })).await;
    assert_eq!(allowed_of(&app, &none.id, 10, "rate_limited").await, 0);
    let one = agent_under(&app, json!({ "maxCallsPerHour": 1 })).await;
    assert_eq!(allowed_of(&app, &one.id, 10, "rate_limited").await, 1);
}

/// F11: only allowed calls are counted.
#[tokio::test]
async fn f11_a_call_denied_for_another_reason_takes_no_slot() {
    let app = crate::start().await;
    let constraints = json!({
        "maxCallsPerHour": 2, "args": { "/n": { "eq": 1 } },
    });
    let agent = agent_under(&app, constraints).await;
    let ask = |n: u64| json!({ "agentId": agent.id, "action": "call", "resource": "tool:x", "arguments": { "n": n } });
    for _ in 0..5 {
        app.ask(ask(2)).await.decided("argument_not_allowed");
    }
    app.ask(ask(1)).await.decided("allowed");
    app.ask(ask(1)).await.decided("allowed");
    app.ask(ask(1)).await.decided("rate_limited");
}

/// F11: everyone below a permission takes from its counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f11_children_together_never_exceed_their_parent() {
    let app = crate::start().await;
    let user = app.user().await;
    for (limit, expected) in [(json!({ "maxCallsPerHour": 7 }), 7), (json!({}), 40)] {
        let parent = app
            .agent(&user, may_under(&["call"], "tool:*", limit))
            .await;
        let mut children = Vec::new();
        for _ in 0..4 {
            children.push(app.agent(&parent.id, may(&["call"], "tool:*")).await);
        }
        let counts = children
            .iter()
            .map(|child| allowed_of(&app, &child.id, 10, "rate_limited"));
        let allowed: usize = join_all(counts).await.iter().sum();
        assert_eq!(allowed, expected);
    }
}

/// F18: budgets are per grant, atomic, and part of the decision.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f18_a_hundred_parallel_calls_with_a_budget_of_one_give_one() {
    let app = crate::start().await;
    let agent = agent_under(&app, json!({ "budget": { "amount": 1, "unit": "calls" } })).await;
    assert_eq!(
        allowed_of(&app, &agent.id, 100, "budget_exhausted").await,
        1
    );
    // It is a total: no time brings it back.
    app.advance(400 * 24 * 3_600);
    app.decide(&agent.id, "call", "tool:x")
        .await
        .decided("budget_exhausted");
    let other = agent_under(&app, json!({})).await;
    assert_eq!(
        allowed_of(&app, &other.id, 100, "budget_exhausted").await,
        100
    );
}

/// F18.
#[tokio::test]
async fn f18_a_budget_in_another_unit_needs_the_cost_and_takes_it() {
    let app = crate::start().await;
    let agent = agent_under(&app, json!({ "budget": { "amount": 100, "unit": "cent" } })).await;
    let ask = |cost: Value| json!({ "agentId": agent.id, "action": "call", "resource": "tool:x", "cost": cost });
    app.decide(&agent.id, "call", "tool:x")
        .await
        .decided("cost_required");
    app.ask(ask(json!({ "amount": 1, "unit": "token" })))
        .await
        .decided("cost_required");
    app.ask(ask(json!({ "amount": 101, "unit": "cent" })))
        .await
        .decided("budget_exhausted");
    app.ask(ask(json!({ "amount": 60, "unit": "cent" })))
        .await
        .decided("allowed");
    app.ask(ask(json!({ "amount": 41, "unit": "cent" })))
        .await
        .decided("budget_exhausted");
    app.ask(ask(json!({ "amount": 40, "unit": "cent" })))
        .await
        .decided("allowed");
    app.ask(ask(json!({ "amount": 1, "unit": "cent" })))
        .await
        .decided("budget_exhausted");
    // An agent cannot state a cost, so it cannot use such a permission by itself.
    let question = json!({ "action": "call", "resource": "tool:x" });
    app.call(&agent.key)
        .post("/api/v1/authorize", question)
        .await
        .decided("cost_required");
}

/// An agent that may call from these addresses, and what it asks.
async fn from_addresses(app: &TestApp, addresses: &[&str]) -> (TestAgent, Value) {
    let agent = agent_under(app, json!({ "ipAllowlist": addresses })).await;
    (agent, json!({ "action": "call", "resource": "tool:x" }))
}

/// B21, F15: the address is the peer's, and a header of a stranger says nothing.
#[tokio::test]
async fn b21_f15_the_peer_counts_and_a_spoofed_header_does_not() {
    let app = crate::start().await;
    let (agent, question) = from_addresses(&app, &["127.0.0.1"]).await;
    let path = "/api/v1/authorize";
    let caller = app.call(&agent.key);
    caller.post(path, question.clone()).await.decided("allowed");
    let other = caller.clone().from("127.0.0.2");
    other
        .post(path, question.clone())
        .await
        .decided("ip_not_allowed");
    let spoofed = other.header("x-forwarded-for", "127.0.0.1");
    spoofed
        .post(path, question.clone())
        .await
        .decided("ip_not_allowed");
    // Nor does a header of a stranger take a right away, or make a call fail.
    let noise = caller.header("x-forwarded-for", "10.9.9.9, no address");
    noise.post(path, question).await.decided("allowed");
}

/// B21, F15: the twin of the spoofed header, with the proxy named in the configuration.
#[tokio::test]
async fn b21_f15_a_trusted_proxy_says_where_the_call_came_from() {
    let app = crate::setup()
        .trusting(&["127.0.0.2/32", "10.0.0.0/8"])
        .start()
        .await;
    let (agent, question) = from_addresses(&app, &["203.0.113.7", "2001:db8::/32"]).await;
    let proxy = app.call(&agent.key).from("127.0.0.2");
    for (header, code) in [
        ("203.0.113.7", "allowed"),
        ("2001:db8::5", "allowed"),
        ("[2001:db8::5]:443", "allowed"),
        ("::ffff:203.0.113.7", "allowed"),
        ("2001:db9::5", "ip_not_allowed"),
        ("203.0.113.8", "ip_not_allowed"),
        // The list is read from its end: what stands before the last stranger was written by strangers.
        ("203.0.113.7, 198.51.100.1", "ip_not_allowed"),
        ("198.51.100.1, 203.0.113.7", "allowed"),
        ("198.51.100.1, 203.0.113.7, 10.1.2.3", "allowed"),
        ("10.1.2.3", "ip_not_allowed"),
    ] {
        let reply = proxy
            .clone()
            .header("x-forwarded-for", header)
            .post("/api/v1/authorize", question.clone())
            .await;
        assert_eq!(reply.code(), code, "{header}: {reply}");
    }
    let two = proxy
        .clone()
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-forwarded-for", "198.51.100.1");
    two.post("/api/v1/authorize", question.clone())
        .await
        .decided("ip_not_allowed");
    let broken = proxy.clone().header("x-forwarded-for", "203.0.113.7, what");
    let reply = broken.post("/api/v1/authorize", question.clone()).await;
    assert_eq!(
        reply.refused(400, "malformed_request").field(),
        "X-Forwarded-For"
    );
    proxy
        .post("/api/v1/authorize", question.clone())
        .await
        .decided("ip_not_allowed");
    // The same header from a peer that is no proxy.
    let stranger = app
        .call(&agent.key)
        .header("x-forwarded-for", "203.0.113.7");
    stranger
        .post("/api/v1/authorize", question)
        .await
        .decided("ip_not_allowed");
}

/// B21: an operator states the address of the call that it asks about; its own says nothing.
#[tokio::test]
async fn b21_an_operator_states_the_address_of_the_call() {
    let app = crate::start().await;
    let (agent, _) = from_addresses(&app, &["127.0.0.1", "198.51.100.0/24", "2001:db8::/48"]).await;
    let ask = |ip: &str| json!({ "agentId": agent.id, "action": "call", "resource": "tool:x", "context": { "ip": ip } });
    app.decide(&agent.id, "call", "tool:x")
        .await
        .decided("ip_not_allowed");
    for (ip, code) in [
        ("127.0.0.1", "allowed"),
        ("198.51.100.255", "allowed"),
        ("::ffff:198.51.100.1", "allowed"),
        ("198.51.101.0", "ip_not_allowed"),
        ("2001:db8:0:ffff::1", "allowed"),
        ("2001:db8:1::1", "ip_not_allowed"),
    ] {
        assert_eq!(app.ask(ask(ip)).await.code(), code, "{ip}");
    }
}

/// B22, F14.
#[tokio::test]
async fn b22_f14_a_window_over_midnight_is_judged_in_its_zone() {
    let app = crate::start().await;
    let window =
        json!({ "start": "22:00", "end": "06:00", "timezone": "Europe/Berlin", "days": ["sat"] });
    let agent = agent_under(&app, json!({ "timeWindow": window })).await;
    let free = agent_under(&app, json!({})).await;
    for (utc, code) in [
        ("2026-11-21T20:59:59Z", "outside_time_window"), // Saturday 21:59:59 in Berlin
        ("2026-11-21T21:00:00Z", "allowed"),
        ("2026-11-22T04:59:59Z", "allowed"), // Sunday, but the window began on Saturday
        ("2026-11-22T05:00:00Z", "outside_time_window"),
        ("2026-11-22T21:00:00Z", "outside_time_window"), // Sunday 22:00
        ("2027-07-03T20:00:00Z", "allowed"),             // Saturday 22:00 in summer time
        ("2027-07-04T04:00:00Z", "outside_time_window"), // Sunday 06:00 in summer time
    ] {
        app.clock().set(utc);
        assert_eq!(
            app.decide(&agent.id, "call", "tool:x").await.code(),
            code,
            "{utc}"
        );
        app.decide(&free.id, "call", "tool:x")
            .await
            .decided("allowed");
    }
}

/// Arguments and whether they pass `^/tmp/` everywhere.
fn arguments() -> Vec<(Value, bool)> {
    vec![
        (json!({ "path": "/tmp/a" }), true),
        (json!({ "path": ["/tmp/a", { "deep": "/tmp/b" }] }), true),
        (json!({ "path": "/tmp/a", "n": 1 }), true),
        (json!({ "path": "/etc/passwd" }), false),
        (json!({ "path": ["/etc/passwd"] }), false),
        (json!({ "path": { "x": { "y": ["/etc/passwd"] } } }), false),
        (json!({ "path": "/tmp/a", "other": "/etc/passwd" }), false),
        (json!({ "path": 5 }), false),
        (json!({ "path": "x/tmp/" }), false),
        (json!({}), false),
        (json!(null), false),
    ]
}

/// B23, F12: a pattern looks at every string, and a call without one fails.
#[tokio::test]
async fn b23_f12_a_pattern_cannot_be_passed_by_nesting_or_leaving_out() {
    let app = crate::start().await;
    let agent = agent_under(&app, json!({ "allowedArgPatterns": ["^/tmp/"] })).await;
    let free = agent_under(&app, json!({})).await;
    for (arguments, passes) in arguments() {
        let ask = |agent: &str| json!({ "agentId": agent, "action": "call", "resource": "tool:x", "arguments": arguments });
        let code = if passes {
            "allowed"
        } else {
            "argument_not_allowed"
        };
        assert_eq!(app.ask(ask(&agent.id)).await.code(), code, "{arguments}");
        app.ask(ask(&free.id)).await.decided("allowed");
    }
    app.decide(&agent.id, "call", "tool:x")
        .await
        .decided("argument_not_allowed");
}

/// B23, F12: rules on named arguments fail closed.
#[tokio::test]
async fn b23_f12_a_rule_on_an_argument_fails_when_it_is_missing_or_of_another_type() {
    let app = crate::start().await;
    let rules = json!({ "/path": { "prefix": "/tmp" }, "/n": { "range": { "min": 1, "max": 9 } } });
    let agent = agent_under(&app, json!({ "args": rules })).await;
    let ask = |arguments: Value| json!({ "agentId": agent.id, "action": "call", "resource": "tool:x", "arguments": arguments });
    for good in [
        json!({ "path": "/tmp/a", "n": 1 }),
        json!({ "path": "/tmp", "n": 9, "more": [] }),
    ] {
        app.ask(ask(good)).await.decided("allowed");
    }
    for bad in [
        json!({ "path": "/tmpx/a", "n": 1 }),
        json!({ "path": "/tmp/../etc/passwd", "n": 1 }),
        json!({ "path": "/tmp/%2e%2e/etc", "n": 1 }),
        json!({ "path": "/tmp\\..\\x", "n": 1 }),
        json!({ "path": ["/tmp/a"], "n": 1 }),
        json!({ "path": "/tmp/a" }),
        json!({ "path": "/tmp/a", "n": 10 }),
        json!({ "path": "/tmp/a", "n": "1" }),
        json!({ "Path": "/tmp/a", "n": 1 }),
        json!([]),
    ] {
        let reply = app.ask(ask(bad.clone())).await;
        assert_eq!(reply.code(), "argument_not_allowed", "{bad}: {reply}");
    }
}

/// B23, F13: the engine is linear in time, so the words that stopped the original for half a minute are nothing.
#[tokio::test]
async fn b23_f13_a_pathological_pattern_is_answered() {
    let app = crate::start().await;
    let agent = agent_under(&app, json!({ "allowedArgPatterns": ["^(a+)+$"] })).await;
    let ask = |text: String| json!({ "agentId": agent.id, "action": "call", "resource": "tool:x", "arguments": { "a": text } });
    app.ask(ask(format!("{}!", "a".repeat(2_000))))
        .await
        .decided("argument_not_allowed");
    app.ask(ask("a".repeat(2_000))).await.decided("allowed");
}

/// B23, F13: what cannot be judged is refused when it is written, with its place.
#[tokio::test]
async fn b23_f13_what_cannot_be_judged_is_refused_when_written() {
    let app = crate::start().await;
    let user = app.user().await;
    let long = "x".repeat(5_000);
    for (constraints, field) in [
        (json!({ "allowedArgPatterns": ["("] }), "allowedArgPatterns"),
        (
            json!({ "allowedArgPatterns": ["(?=x)"] }),
            "allowedArgPatterns",
        ),
        (
            json!({ "allowedArgPatterns": [long] }),
            "allowedArgPatterns",
        ),
        (json!({ "allowedArgPatterns": [] }), "allowedArgPatterns"),
        (json!({ "args": { "/a": { "matches": "[" } } }), "args"),
        (json!({ "args": { "a": { "eq": 1 } } }), "args"),
        (json!({ "args": { "/a": { "almost": 1 } } }), "args"),
        (json!({ "ipAllowlist": [] }), "ipAllowlist"),
        (json!({ "ipAllowlist": ["10.0.0.0/33"] }), "ipAllowlist"),
        (json!({ "ipAllowlist": ["10.0.0.01"] }), "ipAllowlist"),
        (json!({ "ipAllowlist": ["fe80::1%eth0"] }), "ipAllowlist"),
        (
            json!({ "timeWindow": { "start": "25:00", "end": "06:00" } }),
            "timeWindow",
        ),
        (
            json!({ "timeWindow": { "start": "22:00", "end": "06:00", "timezone": "Mars/Base" } }),
            "timeWindow",
        ),
        (
            json!({ "timeWindow": { "start": "22:00", "end": "06:00", "days": ["someday"] } }),
            "timeWindow",
        ),
        (json!({ "rate": { "limit": -1, "per": 60 } }), "rate"),
        (json!({ "rate": { "limit": 1, "per": 0 } }), "rate"),
        (json!({ "maxCallsPerHour": 1.5 }), "maxCallsPerHour"),
        (
            json!({ "maxCallsPerHour": 1, "rate": { "limit": 1, "per": 60 } }),
            "",
        ),
        (json!({ "budget": { "amount": 1 } }), "budget"),
        (json!({ "expiresAt": "tomorrow" }), "expiresAt"),
        (json!({ "maxCallsPerDay": 1 }), ""),
        (json!({ "requireApproval": "yes" }), "requireApproval"),
        (json!(null), ""),
        (json!([]), ""),
    ] {
        let body = json!({
            "ownerId": user, "name": "a", "type": "service",
            "permissions": may_under(&["call"], "tool:*", constraints.clone()),
        });
        let reply = app.operator().post("/api/v1/agents", body).await;
        assert_eq!(reply.status, 400, "{constraints}: {reply}");
        let expected = format!("permissions[0].constraints.{field}");
        let expected = expected.trim_end_matches('.');
        assert!(
            reply.field().starts_with(expected),
            "{constraints}: {reply}"
        );
    }
}

/// B24; what comes after the answer is in `approvals.rs`.
#[tokio::test]
async fn b24_f08_a_call_that_needs_approval_is_not_allowed() {
    let app = crate::start().await;
    for approval in [json!(true), json!({ "ttlSeconds": 60 })] {
        let agent = agent_under(&app, json!({ "requireApproval": approval })).await;
        app.decide(&agent.id, "call", "tool:x")
            .await
            .decided("approval_required");
        let question = json!({ "action": "call", "resource": "tool:x" });
        let caller = app.call(&agent.key);
        caller
            .post("/api/v1/authorize", question)
            .await
            .decided("approval_pending");
    }
    let free = agent_under(&app, json!({})).await;
    app.decide(&free.id, "call", "tool:x")
        .await
        .decided("allowed");
}

#[tokio::test]
async fn guards_hold_for_everything_in_a_grant() {
    let app = crate::start().await;
    let user = app.user().await;
    let permissions = json!([
        { "resource": "tool:a", "actions": ["call"] }, { "resource": "tool:b", "actions": ["call"] },
    ]);
    for (guards, second) in [
        (json!({ "maxCallsPerHour": 1 }), "rate_limited"),
        (json!({}), "allowed"),
    ] {
        let agent = app
            .agent_with(&user, permissions.clone(), json!({ "guards": guards }))
            .await;
        app.decide(&agent.id, "call", "tool:a")
            .await
            .decided("allowed");
        app.decide(&agent.id, "call", "tool:b")
            .await
            .decided(second);
    }
}

#[tokio::test]
async fn a_permission_begins_and_ends_when_it_says() {
    let app = crate::start().await;
    let agent = agent_under(
        &app,
        json!({ "notBefore": "2026-11-21T11:00:00Z", "expiresAt": "2026-11-21T12:00:00Z" }),
    )
    .await;
    for (time, code) in [
        ("2026-11-21T10:59:59.999999Z", "outside_time_window"),
        ("2026-11-21T11:00:00Z", "allowed"),
        ("2026-11-21T11:59:59.999999Z", "allowed"),
        ("2026-11-21T12:00:00Z", "grant_expired"),
    ] {
        app.clock().set(time);
        assert_eq!(
            app.decide(&agent.id, "call", "tool:x").await.code(),
            code,
            "{time}"
        );
    }
}
