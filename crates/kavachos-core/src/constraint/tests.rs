//! Tests of constraints as a whole; each kind has its own beside it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(value: &Value) -> Constraints {
    Constraints::deserialize(value).unwrap()
}

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn check(constraints: &Value, arguments: &Value, ip: &str) -> Verdict {
    let call = Call {
        arguments: Some(arguments),
        ip: ip.parse().ok(),
        cost: None,
    };
    read(constraints).check(&call, now())
}

/// Constraints that a call at [`now`] with these arguments from this address fails, from the best verdict to the worst.
fn failing() -> [(Value, Verdict); 10] {
    [
        (json!({"requireApproval": true}), Verdict::ApprovalRequired),
        (
            json!({"rate": {"limit": 0, "per": 60}}),
            Verdict::RateLimited,
        ),
        (
            json!({"budget": {"amount": 0, "unit": "calls"}}),
            Verdict::BudgetExhausted,
        ),
        (
            json!({"budget": {"amount": 9, "unit": "tokens"}}),
            Verdict::BudgetExhausted,
        ),
        (
            json!({"args": {"/path": {"prefix": "/tmp"}}}),
            Verdict::ArgumentNotAllowed,
        ),
        (
            json!({"allowedArgPatterns": ["^/tmp/"]}),
            Verdict::ArgumentNotAllowed,
        ),
        (
            json!({"ipAllowlist": ["10.0.0.0/8"]}),
            Verdict::IpNotAllowed,
        ),
        (
            json!({"timeWindow": {"start": "10:01", "end": "17:00"}}),
            Verdict::OutsideTimeWindow,
        ),
        (
            json!({"notBefore": "2026-11-23T10:00:00.000001Z"}),
            Verdict::OutsideTimeWindow,
        ),
        (
            json!({"expiresAt": "2026-11-23T10:00:00Z"}),
            Verdict::GrantExpired,
        ),
    ]
}

#[test]
fn each_constraint_stops_the_call_and_its_absence_does_not() {
    let arguments = json!({"path": "/etc/passwd"});
    for (constraint, verdict) in failing() {
        assert_eq!(
            check(&constraint, &arguments, "192.0.2.1"),
            verdict,
            "{constraint}"
        );
    }
    assert_eq!(check(&json!({}), &arguments, "192.0.2.1"), Verdict::Allowed);
}

#[test]
fn a_call_that_meets_every_constraint_is_allowed() {
    let constraints = json!({
        "rate": {"limit": 1, "per": 60}, "budget": {"amount": 1, "unit": "calls"},
        "args": {"/path": {"prefix": "/tmp"}}, "allowedArgPatterns": ["^/tmp/"], "ipAllowlist": ["192.0.2.0/24"],
        "timeWindow": {"start": "10:00", "end": "10:01"},
        "notBefore": "2026-11-23T10:00:00Z", "expiresAt": "2026-11-23T10:00:00.000001Z"
    });
    let arguments = json!({"path": "/tmp/a"});
    assert_eq!(
        check(&constraints, &arguments, "192.0.2.1"),
        Verdict::Allowed
    );
    assert_eq!(
        check(&constraints, &arguments, "nowhere"),
        Verdict::IpNotAllowed
    );
    assert_eq!(
        read(&constraints).check(&Call::default(), now()),
        Verdict::IpNotAllowed
    );
}

#[test]
fn the_worst_verdict_counts() {
    let arguments = json!({"path": "/etc/passwd"});
    let all = failing();
    for (left, better) in &all {
        for (right, worse) in &all {
            let (Value::Object(left), Value::Object(mut merged)) = (left.clone(), right.clone())
            else {
                panic!("constraints are objects")
            };
            merged.extend(left);
            let wanted = *better.max(worse);
            // `notBefore` and `expiresAt` together must leave some time.
            if let Ok(both) = Constraints::deserialize(&Value::Object(merged)) {
                let call = Call {
                    arguments: Some(&arguments),
                    ip: "192.0.2.1".parse().ok(),
                    cost: None,
                };
                assert_eq!(both.check(&call, now()), wanted);
            }
        }
    }
}

#[test]
fn a_stated_cost_is_measured_against_the_whole_budget() {
    let constraints = read(&json!({"budget": {"amount": 9, "unit": "tokens"}}));
    for (amount, unit, verdict) in [
        (9, "tokens", Verdict::Allowed),
        (10, "tokens", Verdict::BudgetExhausted),
        (1, "cents", Verdict::BudgetExhausted),
    ] {
        let cost = Cost {
            amount,
            unit: unit.parse().unwrap(),
        };
        let call = Call {
            cost: Some(&cost),
            ..Call::default()
        };
        assert_eq!(constraints.check(&call, now()), verdict, "{amount} {unit}");
    }
}

#[test]
fn max_calls_per_hour_is_stored_as_a_rate() {
    let constraints = read(&json!({"maxCallsPerHour": 5}));
    assert_eq!(constraints.rate(), Some(&Rate::new(5, 3600).unwrap()));
    assert_eq!(
        serde_json::to_value(&constraints).unwrap(),
        json!({"rate": {"limit": 5, "per": 3600}})
    );
}

#[test]
fn what_is_not_known_or_not_clear_is_refused() {
    for value in [
        json!({"maxCallsPerHour": 5, "rate": {"limit": 5, "per": 3600}}),
        json!({"maxCallsPerHour": -1}),
        json!({"maxCallsPerHour": null}),
        json!({"maxCallsPerDay": 5}),
        json!({"max_calls_per_hour": 5}),
        json!({"rate": null}),
        json!({"requireApproval": false}),
        json!({"ipAllowlist": null}),
        json!({"notBefore": "tomorrow"}),
        json!({"notBefore": 5}),
        json!({"notBefore": "2026-11-23T10:00:00Z", "expiresAt": "2026-11-23T10:00:00Z"}),
        json!([]),
        json!(null),
        json!("{}"),
    ] {
        assert!(Constraints::deserialize(&value).is_err(), "{value}");
    }
    assert!(
        serde_json::from_str::<Constraints>(
            r#"{"rate":{"limit":1,"per":1},"rate":{"limit":2,"per":1}}"#
        )
        .is_err()
    );
    assert!(read(&json!({})).is_empty());
    assert!(!read(&json!({"requireApproval": true})).is_empty());
}

#[test]
fn a_kind_is_inherited_added_or_narrowed() {
    let parent = json!({"rate": {"limit": 5, "per": 60}, "expiresAt": "2026-12-01T00:00:00Z"});
    for (child, fault) in [
        (json!({}), None),
        (json!({"requireApproval": true}), None),
        (json!({"rate": {"limit": 4, "per": 60}}), None),
        (json!({"rate": {"limit": 6, "per": 60}}), Some("rate.limit")),
        (json!({"rate": {"limit": 1, "per": 30}}), Some("rate.per")),
        (
            json!({"expiresAt": "2026-12-01T00:00:00Z", "notBefore": "2026-11-30T00:00:00Z"}),
            None,
        ),
        (
            json!({"expiresAt": "2026-12-01T00:00:00.000001Z"}),
            Some("expiresAt"),
        ),
    ] {
        let verdict = read(&child).narrower_than(&read(&parent));
        let field = verdict.as_ref().err().map(Invalid::field);
        assert_eq!(field, fault, "{child}");
    }
    let early = read(&json!({"notBefore": "2026-11-01T00:00:00Z"}));
    let late = read(&json!({"notBefore": "2026-11-02T00:00:00Z"}));
    assert!(late.narrower_than(&early).is_ok());
    assert_eq!(early.narrower_than(&late).unwrap_err().field(), "notBefore");
    let nested = read(&json!({"args": {"/a~1b": {"maxLength": 9}}}));
    let outer = read(&json!({"args": {"/a~1b": {"maxLength": 8}}}));
    assert_eq!(
        nested.narrower_than(&outer).unwrap_err().field(),
        "args./a~1b.maxLength"
    );
}

/// One value of each kind from a small world, so that many pairs are related.
fn some_constraints() -> impl Strategy<Value = Constraints> {
    let stated = |values: Vec<Value>| prop::option::of(prop::sample::select(values));
    let calls = |amount: u64| json!({"amount": amount, "unit": "calls"});
    let tokens = |amount: u64| json!({"amount": amount, "unit": "tokens"});
    let window = |start: &str, end: &str| json!({"start": start, "end": end});
    let limited = (
        stated(vec![
            json!({"limit": 0, "per": 60}),
            json!({"limit": 5, "per": 60}),
            json!({"limit": 0, "per": 30}),
        ]),
        stated(vec![calls(0), calls(5), tokens(0), tokens(3), tokens(5)]),
        stated(vec![
            json!(true),
            json!({"ttlSeconds": 60}),
            json!({"ttlSeconds": 600}),
        ]),
    );
    let placed = (
        stated(vec![
            window("09:00", "17:00"),
            window("10:00", "11:00"),
            window("22:00", "06:00"),
        ]),
        stated(vec![
            json!(["10.0.0.0/8"]),
            json!(["10.0.0.1"]),
            json!(["10.0.0.1", "::1"]),
        ]),
        stated(vec![
            json!("2026-11-23T10:00:00Z"),
            json!("2026-11-24T00:00:00Z"),
        ]),
        stated(vec![
            json!("2026-11-24T10:00:00Z"),
            json!("2026-11-25T00:00:00Z"),
        ]),
    );
    let argued = (
        stated(vec![
            json!({"/x": {"prefix": "/a"}}),
            json!({"/x": {"prefix": "/a/b"}}),
            json!({"/x": {"eq": "/a/b"}}),
        ]),
        stated(vec![json!(["^/a"]), json!(["^/a", "b$"])]),
    );
    (limited, placed, argued).prop_map(|(limited, placed, argued)| {
        let members = [
            ("rate", limited.0),
            ("budget", limited.1),
            ("requireApproval", limited.2),
            ("timeWindow", placed.0),
            ("ipAllowlist", placed.1),
            ("notBefore", placed.2),
            ("expiresAt", placed.3),
            ("args", argued.0),
            ("allowedArgPatterns", argued.1),
        ];
        let stated = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        read(&Value::Object(stated.collect()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_passes_a_narrower_child_with_what_it_inherits_passes_the_parent(
        child in some_constraints(),
        parent in some_constraints(),
        path in prop::sample::select(vec!["/a", "/a/b", "/a/c/../b", "/c"]),
        ip in prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "::1"]),
        tokens in prop::option::of(0_u64..7),
        hours in 0_i64..60,
    ) {
        let arguments = json!({"x": path});
        let cost = tokens.map(|amount| Cost { amount, unit: "tokens".parse().unwrap() });
        let call = Call { arguments: Some(&arguments), ip: ip.parse().ok(), cost: cost.as_ref() };
        let now = Timestamp::from_micros(now().as_micros() + hours * 3_600_000_000);
        if child.narrower_than(&parent).is_ok() {
            let whole = child.clone().inheriting(&parent);
            let verdict = whole.check(&call, now);
            prop_assert_eq!(verdict, child.check(&call, now).max(parent.check(&call, now)));
            prop_assert!(whole.narrower_than(&parent).is_ok());
        }
    }

    #[test]
    fn stored_constraints_read_back(constraints in some_constraints()) {
        let stored = serde_json::to_value(&constraints).unwrap();
        prop_assert_eq!(read(&stored), constraints);
    }
}
