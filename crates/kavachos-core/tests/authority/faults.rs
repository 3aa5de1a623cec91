//! What is decided where the TypeScript original decides wrongly (lessons A), as far as pure rules show it, each with
//! its twin: the same scenario without the control gives the opposite answer, so that no test passes for another reason.

use std::time::Duration;

use kavachos_core::decide::{Code, Facts, MAX_VERDICTS};
use serde_json::json;

use crate::naive;
use crate::scene::{ADA, BOB, NOW, ask, chain, code, decide, decide_facts, grant, permission};
use crate::world::{
    From, Grant, Holder, Party, Permission, Question, World, grant_id, key, user_id,
};

#[test]
fn f1_whatever_is_not_live_above_the_agent_stops_it() {
    type Change = fn(&mut World);
    let cases: [(Change, Code); 12] = [
        (|_| {}, Code::Allowed),
        (|w| w.users[BOB].status = "banned", Code::Allowed),
        (|w| w.users[ADA].status = "banned", Code::OwnerNotActive),
        (|w| w.agents[0].status = "revoked", Code::AncestorNotActive),
        (
            |w| w.agents[0].status = "suspended",
            Code::AncestorNotActive,
        ),
        (|w| w.agents[0].expires = Some(NOW), Code::AncestorNotActive),
        (|w| w.agents[1].status = "revoked", Code::AncestorNotActive),
        (|w| w.grants[0].status = "revoked", Code::AncestorNotActive),
        (|w| w.grants[0].expires = Some(NOW), Code::GrantExpired),
        (|w| w.grants[2].status = "revoked", Code::AncestorNotActive),
        (|w| w.agents[2].status = "revoked", Code::AgentRevoked),
        (|w| w.agents[2].status = "suspended", Code::AgentSuspended),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut world = chain();
        change(&mut world);
        assert_eq!(code(&world, 2), expected, "case {number}");
    }
}

#[test]
fn f1_an_owner_at_any_level_counts_and_so_does_the_owner_of_a_giver() {
    let owned = |agent: usize, owner: usize| {
        let mut world = chain();
        world.agents.push(world.agents[0].clone());
        world.agents[agent].owner = Party::Agent(owner);
        world
    };
    for (agent, expected) in [(2, Code::OwnerNotActive), (0, Code::AncestorNotActive)] {
        let mut world = owned(agent, 3);
        assert_eq!(code(&world, 2), Code::Allowed);
        world.agents[3].status = "suspended";
        assert_eq!(code(&world, 2), expected);
    }
}

#[test]
fn f2_every_constraint_of_an_ancestor_binds_the_child_that_leaves_it_out() {
    for (constraint, expected) in [
        (json!({}), Code::Allowed),
        (json!({"requireApproval": true}), Code::ApprovalRequired),
        (json!({"ipAllowlist": ["10.0.0.0/8"]}), Code::IpNotAllowed),
        (json!({"rate": {"limit": 0, "per": 60}}), Code::RateLimited),
        (
            json!({"budget": {"amount": 0, "unit": "calls"}}),
            Code::BudgetExhausted,
        ),
        (
            json!({"timeWindow": {"start": "11:00", "end": "12:00"}}),
            Code::OutsideTimeWindow,
        ),
        (
            json!({"args": {"/path": {"prefix": "/tmp"}}}),
            Code::ArgumentNotAllowed,
        ),
        (
            json!({"allowedArgPatterns": ["^/tmp/"]}),
            Code::ArgumentNotAllowed,
        ),
        (
            json!({"expiresAt": "2026-11-23T10:00:00Z"}),
            Code::GrantExpired,
        ),
    ] {
        for hop in 0..3 {
            let mut world = chain();
            world.grants[hop].permissions[0].constraints = constraint.clone();
            assert_eq!(code(&world, 2), expected, "{constraint} at hop {hop}");
            let mut world = chain();
            world.grants[hop].guards = constraint.clone();
            assert_eq!(code(&world, 2), expected, "{constraint} guards hop {hop}");
        }
        let mut world = chain();
        world.users[ADA].permissions[0].constraints = constraint.clone();
        assert_eq!(code(&world, 2), expected, "{constraint} of the human");
    }
}

#[test]
fn f6_agents_that_own_nothing_pass_on_what_they_were_given() {
    let world = chain();
    for agent in 0..3 {
        assert_eq!(code(&world, agent), Code::Allowed, "{agent}");
    }
    let mut cut = chain();
    cut.grants.remove(2);
    assert_eq!(code(&cut, 2), Code::PermissionDenied);
}

#[test]
fn f6_a_kill_follows_the_edge_and_leaves_other_paths_alone() {
    let mut world = chain();
    world.grants[1].status = "revoked";
    assert_eq!(code(&world, 2), Code::AncestorNotActive);
    world.grants.push(grant(From::Human(ADA), 2));
    assert_eq!(code(&world, 2), Code::Allowed);
    assert_eq!(decide(&world, &ask(2)).winner, Some(1));
}

#[test]
fn f7_an_agent_is_over_at_the_very_microsecond() {
    for (expires, expected) in [(NOW, Code::AgentExpired), (NOW + 1, Code::Allowed)] {
        for key in ["none", "live"] {
            let mut world = chain();
            world.agents[2].expires = Some(expires);
            let question = Question { key, ..ask(2) };
            assert_eq!(decide(&world, &question).code, expected, "{key}");
        }
    }
}

#[test]
fn f8_an_approval_counts_for_its_path_only_and_stops_nothing_else() {
    let mut world = chain();
    world.grants[1].guards = json!({"requireApproval": {"ttlSeconds": 60}});
    world.grants[2].guards = json!({"requireApproval": true, "rate": {"limit": 5, "per": 60}});
    let answered = |world: &World, approvals: &[(usize, &'static str)]| {
        let question = Question {
            approvals: approvals.to_vec(),
            ..ask(2)
        };
        decide(world, &question)
    };
    let asked = answered(&world, &[]);
    assert_eq!(asked.code, Code::ApprovalRequired);
    assert_eq!(asked.approval_ttl, Some(Duration::from_secs(60)));
    assert!(asked.takes.is_empty() && !asked.reads.is_empty());
    for (answer, code) in [
        ("pending", Code::ApprovalPending),
        ("denied", Code::ApprovalDenied),
    ] {
        let answered = answered(&world, &[(2, answer)]);
        assert_eq!(answered.code, code);
        assert_eq!(answered.approval_ttl, asked.approval_ttl);
    }
    assert_eq!(
        answered(&world, &[(1, "approved")]).code,
        Code::ApprovalRequired
    );
    let approved = answered(&world, &[(2, "approved")]);
    assert!(approved.allowed());
    assert_eq!(approved.takes.len(), 1);
    world.grants[0].guards = json!({"ipAllowlist": ["10.0.0.0/8"]});
    let question = Question {
        approvals: vec![(2, "approved")],
        ..ask(2)
    };
    assert_eq!(decide(&world, &question).code, Code::IpNotAllowed);
}

#[test]
fn f9_a_star_inside_is_one_segment() {
    for (pattern, resource, expected) in [
        ("tool:*:read", "tool:db:drop", Code::PermissionDenied),
        ("tool:*:read", "tool:db:read", Code::Allowed),
        ("mcp:github:*", "mcp:github", Code::PermissionDenied),
        ("mcp:github:*", "mcp:github:repos", Code::Allowed),
        ("*", "mcp:github", Code::Allowed),
    ] {
        let mut world = chain();
        world.grants[0].permissions[0].resource = pattern.to_owned();
        let question = Question {
            resource: resource.to_owned(),
            ..ask(0)
        };
        assert_eq!(
            decide(&world, &question).code,
            expected,
            "{pattern} {resource}"
        );
    }
}

#[test]
fn f10_a_plain_permission_beside_a_constrained_one_decides_in_any_order() {
    let wide = permission(
        "gh:*",
        json!({"requireApproval": true, "rate": {"limit": 1, "per": 60}}),
    );
    let plain = permission("gh:repo", json!({}));
    for order in [vec![wide.clone(), plain.clone()], vec![plain, wide.clone()]] {
        let mut world = chain();
        world.grants[0].permissions = order;
        let decision = decide(&world, &ask(0));
        assert!(decision.allowed() && decision.takes.is_empty());
    }
    let mut world = chain();
    world.grants[0].permissions = vec![wide];
    assert_eq!(code(&world, 0), Code::ApprovalRequired);
}

#[test]
fn f11_a_rate_counts_every_resource_of_its_permission_together() {
    let mut world = chain();
    world.grants[0].permissions[0].constraints = json!({"rate": {"limit": 5, "per": 60}});
    let takes = |resource: &str| {
        let question = Question {
            resource: resource.to_owned(),
            ..ask(0)
        };
        decide(&world, &question).takes
    };
    assert_eq!(takes("gh:r1").len(), 1);
    assert_eq!(takes("gh:r1"), takes("gh:r2"));
}

#[test]
fn f11_every_hop_is_taken_from_so_children_share_what_the_parent_has() {
    let rate = json!({"rate": {"limit": 5, "per": 60}});
    let mut world = chain();
    world.users[ADA].permissions[0].constraints =
        json!({"budget": {"amount": 9, "unit": "tokens"}});
    world.grants[0].permissions[0].constraints = rate.clone();
    world.grants[1].guards = rate;
    let question = Question {
        cost: Some((4, "tokens")),
        ..ask(2)
    };
    let decision = decide(&world, &question);
    let id = |p: &Permission| naive::id(p);
    let expected = [
        (
            Holder::User(ADA),
            id(&world.users[ADA].permissions[0]),
            "budget tokens",
            4,
        ),
        (
            Holder::Grant(0),
            id(&world.grants[0].permissions[0]),
            "rate 60",
            1,
        ),
        (Holder::Grant(1), "guards".to_owned(), "rate 60", 1),
    ];
    let expected =
        expected.map(|(holder, what, kind, n)| (key(&(holder, what, kind.to_owned())), n));
    let takes: Vec<_> = decision
        .takes
        .iter()
        .map(|take| (take.key, take.n))
        .collect();
    assert_eq!(takes, expected);
    // A call without its cost, and one of a sibling: nothing is guessed, and the same counters are taken from.
    assert_eq!(code(&world, 2), Code::CostRequired);
    let sibling = Question {
        agent: Some(1),
        ..question
    };
    assert_eq!(decide(&world, &sibling).takes, decision.takes);
}

#[test]
fn f11_a_full_counter_stops_every_resource_and_a_denial_takes_nothing() {
    let mut world = chain();
    world.grants[0].permissions[0].constraints = json!({"rate": {"limit": 5, "per": 60}});
    let counter = (
        Holder::Grant(0),
        naive::id(&world.grants[0].permissions[0]),
        "rate 60".to_owned(),
    );
    let wait = Duration::from_millis(2500);
    let question = Question {
        full: vec![(counter, Some(wait))],
        ..ask(2)
    };
    let decision = decide(&world, &question);
    assert_eq!(decision.code, Code::RateLimited);
    assert_eq!(decision.retry_after, Some(wait));
    assert!(decision.takes.is_empty());
    assert!(decision.reason().ends_with("try again in 3 s"));
    // Twins: the counter of another grant stops nothing, and a plain permission beside the full one is used.
    let other = (
        Holder::Grant(1),
        naive::id(&world.grants[0].permissions[0]),
        "rate 60".to_owned(),
    );
    let elsewhere = Question {
        full: vec![(other, Some(wait))],
        ..ask(2)
    };
    assert!(decide(&world, &elsewhere).allowed());
    world.grants[0]
        .permissions
        .push(permission("gh:repo", json!({})));
    assert!(decide(&world, &question).allowed());
    // A denial for another reason takes nothing either.
    world.grants[2].guards = json!({"ipAllowlist": ["10.0.0.0/8"]});
    assert!(decide(&world, &ask(2)).takes.is_empty());
}

#[test]
fn facts_that_do_not_fit_together_permit_nothing() {
    let world = chain();
    type Change = fn(&mut Facts, &World);
    let changes: [(Change, Code); 11] = [
        (|_, _| {}, Code::Allowed),
        (|f, _| f.user = None, Code::OwnerNotActive),
        (|f, w| f.user = Some(w.user(BOB)), Code::OwnerNotActive),
        (|f, w| f.owners = vec![w.agent(0)], Code::OwnerNotActive),
        (|f, _| f.agent = None, Code::UnknownAgent),
        (|f, _| f.paths.clear(), Code::PermissionDenied),
        (|f, _| f.paths[0].hops.clear(), Code::AncestorNotActive),
        (
            |f, _| drop(f.paths[0].hops.remove(1)),
            Code::AncestorNotActive,
        ),
        (|f, _| drop(f.paths[0].hops.pop()), Code::AncestorNotActive),
        (
            |f, _| f.paths[0].hops[1].giver.clear(),
            Code::AncestorNotActive,
        ),
        (
            |f, w| f.paths[0].hops[2].giver = vec![w.agent(0)],
            Code::AncestorNotActive,
        ),
    ];
    for (number, (change, expected)) in changes.into_iter().enumerate() {
        let mut facts = world.facts(&ask(2));
        change(&mut facts, &world);
        assert_eq!(
            decide_facts(&facts, &ask(2)).code,
            expected,
            "case {number}"
        );
    }
}

#[test]
fn a_grant_of_another_human_or_too_many_hops_permit_nothing() {
    let mut facts = chain().facts(&ask(2));
    let mut grant = facts.paths[0].hops[1].grant.clone();
    grant.root = user_id(BOB);
    facts.paths[0].hops[1].grant = grant;
    let decision = decide_facts(&facts, &ask(2));
    assert_eq!(decision.code, Code::AncestorNotActive);

    let mut world = chain();
    for (hops, expected) in [(8, Code::Allowed), (9, Code::AncestorNotActive)] {
        while world.grants.len() < hops {
            let from = From::Grant(world.grants.len() - 1);
            let next = grant_to_next(&mut world, from);
            world.grants.push(next);
        }
        assert_eq!(code(&world, hops - 1), expected, "{hops}");
    }
}

/// A grant to an agent that has none yet.
fn grant_to_next(world: &mut World, from: From) -> Grant {
    while world.agents.len() <= world.grants.len() {
        world.agents.push(world.agents[0].clone());
    }
    grant(from, world.grants.len())
}

#[test]
fn the_best_sixteen_paths_are_told_and_the_others_counted() {
    let mut world = chain();
    world.grants.truncate(1);
    for _ in 0..19 {
        let mut other = grant(From::Human(ADA), 0);
        other.status = "revoked";
        world.grants.push(other);
    }
    let decision = decide(&world, &ask(0));
    assert!(decision.allowed());
    assert_eq!(decision.verdicts.len(), MAX_VERDICTS);
    assert_eq!(decision.more, 4);
    assert_eq!(decision.winner, Some(decision.verdicts[0].path));
    assert_eq!(decision.verdicts[0].code, Code::Allowed);
    let mut leaves: Vec<_> = decision.verdicts[1..]
        .iter()
        .map(|v| grant_id(v.path))
        .collect();
    let told = leaves.clone();
    leaves.extend((1..20).map(grant_id));
    leaves.sort_unstable();
    leaves.dedup();
    assert_eq!(told, leaves[..15]);
}

/// F13, from the other side: patterns are linear, and so many of them over so much text fail instead of costing more.
#[test]
fn f13_what_patterns_may_read_in_one_decision_is_bounded() {
    let mut world = chain();
    let hostile = |n: usize| {
        let patterns = [format!("b{n}"), "^a+$".to_owned()];
        permission("gh:*", json!({ "allowedArgPatterns": patterns }))
    };
    let plain = permission("gh:*", json!({ "allowedArgPatterns": ["^a+$"] }));
    let mut long = ask(0);
    long.arguments = Some(json!({ "text": "a".repeat(16 * 1024) }));
    let mut short = long.clone();
    short.arguments = Some(json!({ "text": "a".repeat(16) }));

    world.grants[0].permissions = (0..20).map(hostile).collect();
    world.grants.push(grant(From::Human(ADA), 0));
    world.grants[3].permissions = vec![plain];
    assert!(decide(&world, &short).allowed());
    assert_eq!(decide(&world, &long).code, Code::ArgumentNotAllowed);
    // The twin: where there are few, the same text is read.
    world.grants[0].permissions.truncate(2);
    assert!(decide(&world, &long).allowed());
    assert!(decide(&world, &short).allowed());
}
