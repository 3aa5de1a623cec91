//! The faults of the TypeScript original (lessons A), as far as pure rules show them, each with its twin: the same
//! scenario without the control gives the opposite answer, so that no test passes for another reason.

use std::time::Duration;

use kavachos_core::decide::{Code, Decision, Facts, Known, MAX_VERDICTS, decide_with};
use kavachos_core::grant::{
    DEFAULT_MAX_DEPTH, MAX_DEPTH, NewGrant, Path, Reach, Refusal, Source, Standing, Terms,
    choose_parent, derive, still_covers,
};
use serde_json::{Value, json};

use crate::naive;
use crate::random::{MINUTE, MONDAY};
use crate::world::{
    Agent, From, Grant, Holder, Party, Permission, Question, User, World, agent_id, grant_id, key,
    set, time, user_id,
};

const NOW: i64 = MONDAY + 10 * 60 * MINUTE;
const ADA: usize = 0;
const BOB: usize = 1;

fn permission(resource: &str, constraints: Value) -> Permission {
    Permission {
        resource: resource.to_owned(),
        actions: vec!["*"],
        constraints,
    }
}

fn anything() -> Vec<Permission> {
    vec![permission("*", json!({}))]
}

fn grant(from: From, to: usize) -> Grant {
    Grant {
        from,
        to,
        permissions: vec![permission("gh:*", json!({}))],
        guards: json!({}),
        status: "active",
        expires: None,
    }
}

/// Ada, and Bob who is nobody's concern; agents 0, 1, 2 of Ada. Grant 0 is Ada's to agent 0, grant 1 delegates it to
/// agent 1, grant 2 that to agent 2. Agents 1 and 2 own nothing of their own.
fn chain() -> World {
    let user = User {
        status: "active",
        permissions: anything(),
    };
    let agent = Agent {
        owner: Party::User(ADA),
        status: "active",
        expires: None,
    };
    World {
        users: vec![user.clone(), user],
        agents: vec![agent.clone(), agent.clone(), agent],
        grants: vec![
            grant(From::Human(ADA), 0),
            grant(From::Grant(0), 1),
            grant(From::Grant(1), 2),
        ],
    }
}

fn ask(agent: usize) -> Question {
    Question {
        agent: Some(agent),
        key: "live",
        subject: None,
        action: "r",
        resource: "gh:repo".to_owned(),
        arguments: None,
        ip: None,
        cost: None,
        now: NOW,
        full: Vec::new(),
        approvals: Vec::new(),
    }
}

fn decide(world: &World, question: &Question) -> Decision {
    decide_facts(&world.facts(question), question)
}

fn decide_facts(facts: &Facts, question: &Question) -> Decision {
    let known = Known {
        full: &question.full(),
        approvals: &question.approvals(facts),
    };
    decide_with(facts, &question.request(), known, time(question.now))
}

fn code(world: &World, agent: usize) -> Code {
    decide(world, &ask(agent)).code
}

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

fn new_grant(to: usize) -> NewGrant {
    NewGrant {
        to: agent_id(to),
        to_root: user_id(ADA),
        permissions: set(&[permission("gh:repo", json!({}))]),
        guards: None,
        max_depth: None,
        expires_at: None,
        reach: Reach::SameHuman,
    }
}

/// What agent `giver` may give from its grant of the same position.
fn delegate(world: &World, giver: usize, ask: &NewGrant) -> Result<Terms, Refusal> {
    let root = world.user(world.root(giver));
    let source = Source::Agent {
        giver: &world.agent(giver),
        owners: &world.owners(giver),
        user: Some(&root),
        path: &world.path(giver),
    };
    derive(source, ask, time(NOW))
}

#[test]
fn f3_nobody_gives_to_itself_or_back_up_the_chain() {
    let mut world = chain();
    world.agents.push(world.agents[0].clone());
    assert_eq!(delegate(&world, 2, &new_grant(2)), Err(Refusal::SelfGrant));
    assert_eq!(delegate(&world, 2, &new_grant(1)), Err(Refusal::Cycle));
    assert_eq!(delegate(&world, 2, &new_grant(0)), Err(Refusal::Cycle));
    assert!(delegate(&world, 2, &new_grant(3)).is_ok());
}

#[test]
fn f4_a_parent_gives_only_what_it_covers() {
    for (parent, child, covered) in [
        ("mcp:github", "mcp:github:*", false),
        ("mcp:github", "mcp:github:secrets", false),
        ("mcp:github", "mcp:github", true),
        ("mcp:github:*", "mcp:github", false),
        ("mcp:github:*", "mcp:github:*", true),
        ("mcp:github:*", "mcp:*", false),
        ("*", "mcp:github:*", true),
    ] {
        let mut world = chain();
        world.grants[0].permissions[0].resource = parent.to_owned();
        let mut ask = new_grant(1);
        ask.permissions = set(&[permission(child, json!({}))]);
        let refused = |result: Result<Terms, Refusal>| match result {
            Ok(_) => false,
            Err(Refusal::NotNarrower(error)) => error.field() == "permissions.resource",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(
            refused(delegate(&world, 0, &ask)),
            !covered,
            "{parent} {child}"
        );
        world.users[ADA].permissions[0].resource = parent.to_owned();
        let human = derive(Source::Human(&world.user(ADA)), &ask, time(NOW));
        assert_eq!(refused(human), !covered, "{parent} {child}");
    }
}

#[test]
fn f4_what_failed_at_the_closest_parent_is_named() {
    let mut world = chain();
    let rate = |limit: u32| json!({"rate": {"limit": limit, "per": 60}});
    world.grants[0].permissions = vec![
        permission("gh:*", rate(5)),
        Permission {
            actions: vec!["r"],
            ..permission("gl:*", json!({}))
        },
    ];
    for (resource, constraints, field) in [
        (
            "gh:repo",
            rate(6),
            Some("permissions.constraints.rate.limit"),
        ),
        ("gh:repo", rate(5), None),
        ("gh:repo", json!({}), None),
        ("gl:repo", json!({}), Some("permissions.actions")),
        ("gx:repo", json!({}), Some("permissions.resource")),
    ] {
        let mut ask = new_grant(1);
        ask.permissions = set(&[permission(resource, constraints)]);
        let failed = match delegate(&world, 0, &ask) {
            Err(Refusal::NotNarrower(error)) => Some(error.field().to_owned()),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        };
        assert_eq!(failed.as_deref(), field, "{resource}");
    }
    world.grants[0].guards = rate(5);
    let guarded = |limit| {
        let guards = serde_json::from_value(rate(limit)).unwrap();
        let mut ask = new_grant(1);
        ask.guards = Some(Box::new(guards));
        delegate(&world, 0, &ask)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(guarded(5), Ok(()));
    assert!(guarded(6).is_err());
}

#[test]
fn f5_depth_and_expiry_only_ever_shrink() {
    let mut world = chain();
    world.agents.push(world.agents[0].clone());
    world.grants.push(grant(From::Grant(2), 3));
    world.grants[2].expires = Some(NOW + 60 * MINUTE);
    // Grants of these worlds say 7; a wish is clamped, never raised.
    for (wish, given) in [(None, 7), (Some(200), 7), (Some(3), 3)] {
        let ask = NewGrant {
            max_depth: wish,
            ..new_grant(3)
        };
        let terms = delegate(&world, 2, &ask).unwrap();
        assert_eq!((terms.depth, terms.max_depth), (3, given));
    }
    for (wish, given) in [(None, 60), (Some(90), 60), (Some(30), 30)] {
        let expires_at = wish.map(|minutes: i64| time(NOW + minutes * MINUTE));
        let ask = NewGrant {
            expires_at,
            ..new_grant(3)
        };
        let terms = delegate(&world, 2, &ask).unwrap();
        assert_eq!(terms.expires_at, Some(time(NOW + given * MINUTE)));
    }
    let over = NewGrant {
        expires_at: Some(time(NOW)),
        ..new_grant(3)
    };
    assert_eq!(delegate(&world, 2, &over), Err(Refusal::AlreadyOver));
}

#[test]
fn f5_at_the_maximum_depth_is_allowed_and_below_it_is_not() {
    let world = chain();
    let (human, root) = (world.user(ADA), Source::Human);
    for (wish, given) in [
        (None, DEFAULT_MAX_DEPTH),
        (Some(0), 0),
        (Some(200), MAX_DEPTH),
    ] {
        let ask = NewGrant {
            max_depth: wish,
            ..new_grant(0)
        };
        let terms = derive(root(&human), &ask, time(NOW)).unwrap();
        assert_eq!((terms.depth, terms.max_depth), (0, given));
    }
    let mut path = world.path(0);
    for (deepest, allowed) in [(0, false), (1, true)] {
        let mut grant = (*path.hops[0].grant).clone();
        grant.max_depth = deepest;
        path.hops[0].grant = grant.into();
        let source = Source::Agent {
            giver: &world.agent(0),
            owners: &[],
            user: Some(&human),
            path: &path,
        };
        let result = derive(source, &new_grant(1), time(NOW));
        let exceeded = Refusal::DepthExceeded {
            depth: 1,
            max_depth: deepest,
        };
        assert_eq!(
            result.map(|terms| terms.depth),
            if allowed { Ok(1) } else { Err(exceeded) }
        );
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
fn f6b_agents_of_two_humans_are_joined_by_operators_only() {
    let mut world = chain();
    world.agents[1].owner = Party::User(BOB);
    let ask_for = |reach| NewGrant {
        to_root: user_id(BOB),
        reach,
        ..new_grant(1)
    };
    let result = delegate(&world, 0, &ask_for(Reach::SameHuman));
    assert_eq!(result, Err(Refusal::OtherHuman));
    let terms = delegate(&world, 0, &ask_for(Reach::AnyHuman)).unwrap();
    assert_eq!(terms.root, user_id(ADA));
    // And then a request is made for one human: Ada's mail is not read in a task of Bob's.
    assert_eq!(code(&world, 1), Code::SubjectRequired);
    let for_ada = Question {
        subject: Some(ADA),
        ..ask(1)
    };
    assert_eq!(decide(&world, &for_ada).code, Code::Allowed);
    world.users[BOB].status = "banned";
    assert_eq!(decide(&world, &for_ada).code, Code::OwnerNotActive);
    // Bob is above a giver of agent 2, although neither he is the human of the path nor agent 2 is his.
    let below = Question {
        subject: Some(ADA),
        ..ask(2)
    };
    assert_eq!(decide(&world, &below).code, Code::AncestorNotActive);
    world.users[BOB].status = "active";
    assert_eq!(decide(&world, &below).code, Code::Allowed);
}

#[test]
fn f6b_who_is_not_live_gives_nothing() {
    type Change = fn(&mut World);
    let changes: [Change; 5] = [
        |w| w.agents[1].status = "suspended",
        |w| w.agents[1].expires = Some(NOW),
        |w| w.users[ADA].status = "banned",
        |w| w.grants[0].status = "revoked",
        |w| w.agents[0].status = "revoked",
    ];
    assert!(delegate(&chain(), 1, &new_grant(2)).is_ok());
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = chain();
        change(&mut world);
        let result = delegate(&world, 1, &new_grant(2));
        assert_eq!(result, Err(Refusal::NotActive), "case {number}");
    }
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
    let answered = |approvals: &[(usize, &'static str)]| {
        let question = Question {
            approvals: approvals.to_vec(),
            ..ask(2)
        };
        decide(&world, &question)
    };
    let asked = answered(&[]);
    assert_eq!(asked.code, Code::ApprovalRequired);
    assert_eq!(asked.approval_ttl, Some(Duration::from_secs(60)));
    assert!(asked.takes.is_empty() && !asked.reads.is_empty());
    assert_eq!(answered(&[(2, "pending")]).code, Code::ApprovalPending);
    assert_eq!(answered(&[(2, "denied")]).code, Code::ApprovalDenied);
    assert_eq!(answered(&[(1, "approved")]).code, Code::ApprovalRequired);
    let approved = answered(&[(2, "approved")]);
    assert!(approved.allowed());
    assert_eq!(approved.takes.len(), 1);
    let mut world = world;
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

#[test]
fn the_parent_is_chosen_that_covers_all_lives_longest_and_then_has_the_lowest_id() {
    let mut world = chain();
    world.grants.truncate(1);
    let hour = NOW + 60 * MINUTE;
    for (resource, expires, status) in [
        ("gh:*", Some(hour), "active"),
        ("gl:*", None, "active"),
        ("gh:*", None, "revoked"),
        ("gh:*", None, "active"),
    ] {
        world.grants.push(Grant {
            permissions: vec![permission(resource, json!({}))],
            expires,
            status,
            ..grant(From::Human(ADA), 0)
        });
    }
    world.grants[0].expires = Some(hour - 1);
    let chosen = |world: &World, asked: &[&str]| {
        let asked: Vec<_> = asked
            .iter()
            .map(|text| permission(text, json!({})))
            .collect();
        let mut paths: Vec<Path> = (0..world.grants.len())
            .map(|leaf| world.path(leaf))
            .collect();
        let leaf = |paths: &[Path]| {
            let path = choose_parent(paths, &set(&asked), time(NOW));
            path.map(|path| path.leaf().unwrap().id)
        };
        let found = leaf(&paths);
        paths.reverse();
        assert_eq!(found, leaf(&paths));
        found
    };
    assert_eq!(chosen(&world, &["gh:repo"]), Some(grant_id(4)));
    assert_eq!(chosen(&world, &["gl:repo"]), Some(grant_id(2)));
    assert_eq!(chosen(&world, &["gh:repo", "gl:repo"]), None);
    world.grants[4].expires = Some(hour);
    let lowest = grant_id(1).min(grant_id(4));
    assert_eq!(chosen(&world, &["gh:repo"]), Some(lowest));
}

#[test]
fn only_a_change_that_takes_something_away_raises_the_generation() {
    let world = chain();
    let path = world.path(1);
    assert_eq!(path.standing(time(NOW)), Standing::Live);
    let old = path.leaf().unwrap().terms();
    let constraints = |value: Value| Some(Box::new(serde_json::from_value(value).unwrap()));
    let rate = |limit: u32| json!({"rate": {"limit": limit, "per": 60}});
    let with = |list: &[Permission]| Terms {
        permissions: set(list),
        ..old.clone()
    };
    let gh = || permission("gh:*", json!({}));
    let five = Terms {
        guards: constraints(rate(5)),
        ..old.clone()
    };
    let limited = with(&[permission("gh:*", rate(5))]);
    let cases = [
        (old.clone(), &old, true),
        (with(&[gh(), permission("gl:*", json!({}))]), &old, true),
        (with(&anything()), &old, true),
        (with(&[permission("gh:repo", json!({}))]), &old, false),
        (with(&[permission("gh:*", rate(5))]), &old, false),
        (with(&[permission("gh:*", rate(6))]), &limited, true),
        (with(&[permission("gh:*", rate(4))]), &limited, false),
        (with(&[gh()]), &limited, true),
        (five.clone(), &old, false),
        (old.clone(), &five, true),
        (
            Terms {
                guards: constraints(rate(6)),
                ..old.clone()
            },
            &five,
            true,
        ),
        (
            Terms {
                guards: constraints(rate(4)),
                ..old.clone()
            },
            &five,
            false,
        ),
        (
            Terms {
                expires_at: Some(time(NOW)),
                ..old.clone()
            },
            &old,
            false,
        ),
        (
            Terms {
                max_depth: 2,
                ..old.clone()
            },
            &old,
            false,
        ),
        (
            Terms {
                to: agent_id(2),
                ..old.clone()
            },
            &old,
            false,
        ),
    ];
    for (number, (new, old, expected)) in cases.into_iter().enumerate() {
        assert_eq!(still_covers(&new, old), expected, "case {number}");
    }
}
