//! Whatever may be asked can be recorded: the largest requests that are accepted have records that fit.

use serde_json::{Value, json};

use crate::support::world::{Setup, World, reading};
use kavachos_test::blocking::Request;

/// A resource or pattern of the greatest length.
fn longest(tail: &str) -> String {
    format!("mcp:{}{tail}", "x".repeat(508 - tail.len()))
}

/// A text of so many bytes that doubles when it is written as JSON.
fn quotes(bytes: usize) -> String {
    "\"".repeat(bytes)
}

/// A header that is cut when it is recorded, and grows most until then.
fn send(world: &World, method: &str, path: &str, body: &Value) -> kavachos_test::blocking::Answer {
    let (user_agent, body) = (quotes(300), body.to_string());
    let request = Request {
        method,
        target: path.as_bytes(),
        headers: &[("User-Agent", user_agent.as_bytes())],
        body: body.as_bytes(),
    };
    world.operator().send(&request).unwrap()
}

#[test]
fn the_largest_agent_and_the_largest_changes_of_it_are_recorded() {
    let world = World::new();
    let ada = world.user();
    let parent = world.agent(&ada, reading("*"));
    let permissions: Vec<Value> = (0..20)
        .map(|number| json!({ "resource": longest(&format!(":{number}")), "actions": ["read"] }))
        .collect();
    let metadata = json!({ "m": quotes(508) });
    assert_eq!(metadata.to_string().len(), 1_024);
    let body = json!({
        "ownerId": parent.id, "name": quotes(200), "type": "autonomous", "permissions": permissions,
        "metadata": metadata, "expiresAt": "2027-01-01T00:00:00.123456Z",
    });
    let made = send(&world, "POST", "/api/v1/agents", &body).expect(201);
    let path = format!("/api/v1/agents/{}", made.id());
    let change = json!({ "permissions": permissions, "metadata": metadata, "name": quotes(199) });
    send(&world, "PATCH", &path, &change).expect(200);
    let delegation = json!({
        "from": parent.id, "to": made.id(), "permissions": permissions, "reason": quotes(200),
    });
    send(&world, "POST", "/api/v1/delegations", &delegation).expect(201);
    send(&world, "DELETE", &path, &json!({})).expect(200);
}

#[test]
fn numbers_that_grow_in_their_canonical_form_do_not_outgrow_the_record() {
    let world = World::new();
    let ada = world.user();
    let numbers: Vec<Value> = (0..400).map(|_| json!(1e-6)).collect();
    let body = json!({
        "ownerId": ada, "name": "one", "type": "service", "permissions": reading("*"),
        "metadata": { "n": numbers },
    });
    let answer = world.operator().post("/api/v1/agents", &body);
    assert_eq!(
        (answer.status, answer.field()),
        (400, "metadata"),
        "{answer}"
    );
}

#[test]
fn the_largest_user_is_recorded() {
    let world = World::new();
    let label = "y".repeat(63);
    let email = format!("{}@{label}.{label}.{}", "x".repeat(64), "y".repeat(61));
    let user = json!({
        "email": email, "name": quotes(200),
        "external": { "provider": quotes(200), "externalId": quotes(200) },
        "permissions": [{ "resource": longest(":*"), "actions": ["read"] }],
    });
    let made = send(&world, "POST", "/api/v1/users", &user).expect(201);
    let path = format!("/api/v1/users/{}", made.id());
    send(&world, "PATCH", &path, &json!({ "name": quotes(199) })).expect(200);
}

/// An agent with many paths, each through a chain, none of which permits.
fn many_paths(world: &World) -> String {
    let ada = world.user();
    let mut chain = vec![world.agent_with(&ada, reading("*"), &json!({ "maxDepth": 7 }))];
    for _ in 0..6 {
        let owner = &chain.last().unwrap().id;
        chain.push(world.agent(owner, reading("*")));
    }
    let receiver = world.agent(&ada, reading("mcp:nothing"));
    for number in 0..20 {
        let pattern = format!("mcp:other:{number}");
        let delegation = json!({
            "from": chain.last().unwrap().id, "to": receiver.id, "reason": "one of many",
            "permissions": [{ "resource": pattern, "actions": ["read"] }],
        });
        let answer = world.operator().post("/api/v1/delegations", &delegation);
        answer.expect(201);
    }
    receiver.id
}

#[test]
fn the_longest_denial_is_recorded_whatever_the_caller_says_of_itself() {
    let world = Setup::default().start();
    let agent = many_paths(&world);
    let question = json!({
        "agentId": agent, "action": "a".repeat(64), "resource": longest(""), "arguments": { "a": 1 },
        "context": { "ip": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "userAgent": quotes(300) },
    });
    let denied = world.operator().post("/api/v1/authorize", &question);
    let denied = denied.expect(200);
    assert_eq!(denied.code(), "permission_denied");
    let path = format!("/api/v1/audit/{}", denied.text_at("/data/auditId"));
    world.operator().get(&path).expect(200);
}
