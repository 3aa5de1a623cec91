//! Bad patterns, regexes, zones, addresses, depths, dates and the like: refused with the reason and the field.

use serde_json::{Value, json};

use super::{Site, check};
use crate::support::world::{reading, reading_under};

/// A permission with this resource.
fn pattern(text: &str) -> Value {
    json!([{ "resource": text, "actions": ["read"] }])
}

/// Creates an agent with these members; it must be refused with this field, and say why.
fn refused(site: &Site, members: Value, field: &str) {
    let mut body = json!({
        "ownerId": site.ada, "name": "one", "type": "service", "permissions": reading("mcp:x"),
    });
    let Value::Object(members) = members else {
        panic!("members are an object")
    };
    body.as_object_mut().unwrap().extend(members.clone());
    let answer = site.world.operator().post("/api/v1/agents", &body);
    check(&answer, &members);
    assert_eq!(
        (answer.status, answer.code(), answer.field()),
        (400, "malformed_request", field),
        "{answer}\nto {members:?}"
    );
    let message = answer.text_at("/error/message");
    assert!(message.len() > 10 && !message.ends_with('.'), "{message}");
}

fn constrained(constraints: &Value) -> Value {
    json!({ "permissions": reading_under("mcp:x", constraints) })
}

#[test]
fn bad_patterns_are_refused() {
    let site = Site::new();
    let long = "x".repeat(513);
    let deep = ["a"; 17].join(":");
    for text in [
        "",
        ":",
        "a:",
        ":a",
        "a::b",
        "**",
        "mcp:**",
        "git*",
        "mcp:git*:x",
        "mcp:*b",
        "a b",
        "a/b",
        "a\u{0}b",
        "a%2fb",
        "a%zz",
        "a%",
        "ünïcode",
        "a:\n",
        "\u{202e}a",
        &long,
        &deep,
    ] {
        refused(
            &site,
            json!({ "permissions": pattern(text) }),
            "permissions[0].resource",
        );
        let question = json!({ "agentId": site.agent.id, "action": "read", "resource": text });
        let answer = site.world.operator().post("/api/v1/authorize", &question);
        assert_eq!(
            (answer.status, answer.field()),
            (400, "resource"),
            "{answer}"
        );
    }
    for text in ["*", "mcp:*", "mcp:*:read"] {
        let question = json!({ "agentId": site.agent.id, "action": "read", "resource": text });
        let answer = site.world.operator().post("/api/v1/authorize", &question);
        assert_eq!(
            (answer.status, answer.field()),
            (400, "resource"),
            "a request names one resource"
        );
    }
    site.is_well();
}

#[test]
fn bad_actions_and_sets_of_permissions_are_refused() {
    let site = Site::new();
    let actions =
        |actions: Value| json!({ "permissions": [{ "resource": "mcp:x", "actions": actions }] });
    let long = "x".repeat(65);
    for (list, field) in [
        (json!([]), "permissions[0].actions"),
        (json!("read"), "permissions[0].actions"),
        (json!([""]), "permissions[0].actions"),
        (json!(["read", "a b"]), "permissions[0].actions"),
        (json!(["read", long]), "permissions[0].actions"),
        (json!([1]), "permissions[0].actions[0]"),
    ] {
        refused(&site, actions(list), field);
    }
    refused(&site, json!({ "permissions": [] }), "permissions");
    refused(&site, json!({ "permissions": {} }), "permissions");
    refused(&site, json!({ "permissions": [1] }), "permissions[0]");
    refused(
        &site,
        json!({ "permissions": [{ "resource": "mcp:x" }] }),
        "permissions[0].actions",
    );
    let many: Vec<Value> = (0..1_001)
        .map(|number| json!({ "resource": format!("mcp:{number}"), "actions": ["read"] }))
        .collect();
    refused(&site, json!({ "permissions": many }), "permissions");
    site.is_well();
}

/// Constraints, and the member of them that is at fault.
type Bad = Vec<(Value, &'static str)>;

fn bad_counters() -> Bad {
    let rate = |limit: Value, per: Value| json!({ "rate": { "limit": limit, "per": per } });
    let budget = |amount: i64, unit: &str| json!({ "budget": { "amount": amount, "unit": unit } });
    vec![
        (json!({ "unknown": 1 }), ".unknown"),
        (json!({ "rate": null }), ".rate"),
        (rate(json!(-1), json!(60)), ".rate.limit"),
        (rate(json!(1.5), json!(60)), ".rate.limit"),
        (rate(json!(1), json!(0)), ".rate"),
        (json!({ "rate": { "limit": 1 } }), ".rate.per"),
        (json!({ "maxCallsPerHour": "5" }), ".maxCallsPerHour"),
        (
            json!({ "rate": { "limit": 1, "per": 60 }, "maxCallsPerHour": 1 }),
            "",
        ),
        (budget(-1, "calls"), ".budget.amount"),
        (budget(1, "US Dollars"), ".budget.unit"),
        (json!({ "requireApproval": false }), ".requireApproval"),
        (
            json!({ "requireApproval": { "ttlSeconds": 0 } }),
            ".requireApproval",
        ),
    ]
}

fn bad_times() -> Bad {
    let window = |member: &str, value: Value| {
        let mut window = json!({ "start": "09:00", "end": "17:00" });
        window[member] = value;
        json!({ "timeWindow": window })
    };
    let zone = |name: &str| window("timezone", json!(name));
    let never = json!({ "notBefore": "2027-01-01T00:00:00Z", "expiresAt": "2026-01-01T00:00:00Z" });
    vec![
        (window("start", json!("24:00")), ".timeWindow"),
        (window("start", json!("9:00")), ".timeWindow.start"),
        (window("end", json!("17:60")), ".timeWindow.end"),
        (window("days", json!(["funday"])), ".timeWindow.days[0]"),
        (window("days", json!([])), ".timeWindow.days"),
        (zone("Mars/Olympus"), ".timeWindow.timezone"),
        (zone("../../etc/localtime"), ".timeWindow.timezone"),
        (zone(""), ".timeWindow.timezone"),
        (json!({ "notBefore": "yesterday" }), ".notBefore"),
        (json!({ "expiresAt": "2026-02-30T00:00:00Z" }), ".expiresAt"),
        (json!({ "expiresAt": 1_800_000_000 }), ".expiresAt"),
        (never, ""),
    ]
}

fn bad_addresses() -> Bad {
    let list = |items: &[&str]| json!({ "ipAllowlist": items });
    vec![
        (list(&[]), ".ipAllowlist"),
        (list(&["10.0.0.0/33"]), ".ipAllowlist[0]"),
        (list(&["10.0.0.1", "010.0.0.1"]), ".ipAllowlist[1]"),
        (list(&["1.2.3"]), ".ipAllowlist[0]"),
        (list(&["fe80::1%eth0"]), ".ipAllowlist[0]"),
        (list(&["localhost"]), ".ipAllowlist[0]"),
    ]
}

fn bad_regexes() -> Bad {
    let list = |items: &[&str]| json!({ "allowedArgPatterns": items });
    let deep = "(".repeat(60) + "a" + &")".repeat(60);
    let long = "a".repeat(513);
    let first = ".allowedArgPatterns[0]";
    vec![
        (list(&[]), ".allowedArgPatterns"),
        (list(&["a", "("]), ".allowedArgPatterns[1]"),
        (list(&[r"(a)\1"]), first),
        (list(&["(?=a)b"]), first),
        (list(&["[a"]), first),
        (list(&["((a{1000}){1000}){1000}"]), first),
        (list(&[&deep]), first),
        (list(&[&long]), first),
    ]
}

fn bad_arguments() -> Bad {
    let args = |pointer: &str, rules: Value| json!({ "args": { pointer: rules } });
    let range = json!({ "range": { "min": 2, "max": 1 } });
    vec![
        (json!({ "args": {} }), ".args"),
        (args("path", json!({ "eq": 1 })), ".args.path"),
        (args("/a~2b", json!({ "eq": 1 })), ".args./a~2b"),
        (args("/a", json!({})), ".args./a"),
        (
            args("/a", json!({ "matches": ["a)|(?:b"] })),
            ".args./a.matches[0]",
        ),
        (args("/a", range), ".args./a.range"),
        (args("/a", json!({ "prefix": "" })), ".args./a.prefix"),
        (args("/a", json!({ "maxLength": -1 })), ".args./a.maxLength"),
        (args("/a", json!({ "unknown": 1 })), ".args./a.unknown"),
    ]
}

#[test]
fn bad_constraints_are_refused_where_they_stand() {
    let site = Site::new();
    let tables = [
        bad_counters(),
        bad_times(),
        bad_addresses(),
        bad_regexes(),
        bad_arguments(),
    ];
    for (constraints, field) in tables.into_iter().flatten() {
        let place = format!("permissions[0].constraints{field}");
        refused(&site, constrained(&constraints), &place);
        // The same constraints as guards have the same field there.
        let guards = json!({ "guards": constraints });
        refused(&site, guards, &format!("guards{field}"));
    }
    site.is_well();
}

#[test]
fn bad_names_depths_dates_and_owners_are_refused() {
    let site = Site::new();
    let long = "x".repeat(201);
    for name in ["", " ", "a\nb", "a\u{0}", "\u{202e}evil", long.as_str()] {
        refused(&site, json!({ "name": name }), "name");
    }
    for depth in [json!(8), json!(256), json!(-1), json!(1.5), json!("3")] {
        refused(&site, json!({ "maxDepth": depth }), "maxDepth");
    }
    for date in [
        json!("yesterday"),
        json!(""),
        json!("2026-11-21"),
        json!("2026-02-30T00:00:00Z"),
        json!("2026-11-21T25:00:00Z"),
        json!("99999-01-01T00:00:00Z"),
        json!(0),
    ] {
        refused(&site, json!({ "expiresAt": date }), "expiresAt");
    }
    for ttl in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(9_007_199_254_740_992_u64),
    ] {
        refused(&site, json!({ "keyTtlSeconds": ttl }), "keyTtlSeconds");
    }
    for owner in [
        "",
        "ada",
        "user_",
        "grant_01h455vb4pex5vsknk084sn02q",
        "user_81h455vb4pex5vsknk084sn02q",
    ] {
        refused(&site, json!({ "ownerId": owner }), "ownerId");
    }
    refused(&site, json!({ "type": "human" }), "type");
    refused(&site, json!({ "metadata": [] }), "metadata");
    refused(
        &site,
        json!({ "metadata": { "a": "x".repeat(2_100) } }),
        "metadata",
    );
    let external = json!({ "owner": { "provider": "clerk", "externalId": "" }, "ownerId": null });
    refused(&site, external, "owner.externalId");
    site.is_well();
}

#[test]
fn a_pathological_pattern_is_judged_in_time() {
    let site = Site::new();
    let patterns = [
        "^(a+)+$",
        "^(a|aa)+$",
        "(.*a){20}",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
    ];
    for pattern in patterns {
        for constraints in [
            json!({ "allowedArgPatterns": [pattern] }),
            json!({ "args": { "/text": { "matches": [pattern] } } }),
        ] {
            let agent = site
                .world
                .agent(&site.ada, reading_under("mcp:x", &constraints));
            for length in [30, 16_000, 200_000] {
                let question = json!({
                    "agentId": agent.id, "action": "read", "resource": "mcp:x",
                    "arguments": { "text": "a".repeat(length) + "!" },
                });
                let answer = site.world.operator().post("/api/v1/authorize", &question);
                // `(.*a){20}` is found in it; what is longer than a limit is not looked at.
                let searched = pattern == "(.*a){20}" && length < 16_384;
                let expected = if searched && constraints["args"].is_null() {
                    "allowed"
                } else {
                    "argument_not_allowed"
                };
                assert_eq!(answer.code(), expected, "{pattern} {length}: {answer}");
            }
        }
    }
    site.is_well();
}

#[test]
fn members_that_a_route_does_not_take_are_refused() {
    let site = Site::new();
    let mut operator = site.world.operator();
    // A parameter where there is none to give.
    for path in ["agents", "authorize", "delegations", "users", "keys"] {
        let answer = operator.post(&format!("/api/v1/{path}?dry=1"), &json!({}));
        assert_eq!(
            (answer.status, answer.field()),
            (400, "dry"),
            "{path}: {answer}"
        );
    }
    let answer = operator.patch(&format!("/api/v1/agents/{}?x=1", site.agent.id), &json!({}));
    assert_eq!((answer.status, answer.field()), (400, "x"), "{answer}");
    let answer = operator.get(&format!("/api/v1/delegations/{}?x=1", site.delegation));
    assert_eq!((answer.status, answer.field()), (400, "x"), "{answer}");
    // What an agent may not say about itself.
    let mut own = site.world.client(&site.agent.key);
    for member in [
        json!({ "context": { "ip": "192.0.2.1" } }),
        json!({ "cost": { "amount": 1, "unit": "tokens" } }),
    ] {
        let mut question = json!({ "action": "read", "resource": "mcp:x" });
        let Value::Object(member) = member else {
            panic!("a member is an object")
        };
        question.as_object_mut().unwrap().extend(member.clone());
        let answer = own.post("/api/v1/authorize", &question);
        let name = member.keys().next().unwrap();
        assert_eq!(
            (answer.status, answer.field()),
            (400, name.as_str()),
            "{answer}"
        );
    }
    site.is_well();
}
