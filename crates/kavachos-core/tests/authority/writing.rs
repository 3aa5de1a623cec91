//! Which grants may be written, and what they then give: faults F3 to F6b of the original (lessons A), each with its
//! twin, and the rules for choosing a parent and for raising a generation.

use std::sync::Arc;

use kavachos_core::constraint::Constraints;
use kavachos_core::decide::Code;
use kavachos_core::grant::{
    DEFAULT_MAX_DEPTH, MAX_DEPTH, NewGrant, Path, Reach, Refusal, Source, Standing, Terms,
    TokenUses, choose_parent, derive, still_covers,
};
use serde_json::{Value, json};

use crate::random::MINUTE;
use crate::scene::{ADA, BOB, NOW, anything, ask, chain, code, decide, grant, permission};
use crate::world::{
    From, Grant, Party, Permission, Question, World, agent_id, grant_id, set, time, user_id,
};

fn new_grant(to: usize) -> NewGrant {
    NewGrant {
        to: agent_id(to),
        to_root: user_id(ADA),
        permissions: set(&[permission("gh:repo", json!({}))]),
        guards: None,
        uses: TokenUses::default(),
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
        ask.guards = Some(Arc::new(guards));
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
        let mut grant = path.hops[0].grant.clone();
        grant.max_depth = deepest;
        path.hops[0].grant = grant;
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

/// What grant 1 of the chain gives.
fn terms() -> Terms {
    let path = chain().path(1);
    assert_eq!(path.standing(time(NOW)), Standing::Live);
    path.leaf().unwrap().terms()
}

fn rate(limit: u32) -> Value {
    json!({"rate": {"limit": limit, "per": 60}})
}

#[test]
fn only_a_change_that_takes_permissions_away_raises_the_generation() {
    let with = |list: &[Permission]| Terms {
        permissions: set(list),
        ..terms()
    };
    let gh = |constraints: Value| permission("gh:*", constraints);
    let (old, limited) = (terms(), with(&[gh(rate(5))]));
    let cases = [
        (with(&[gh(json!({}))]), &old, true),
        (
            with(&[gh(json!({})), permission("gl:*", json!({}))]),
            &old,
            true,
        ),
        (with(&anything()), &old, true),
        (with(&[permission("gh:repo", json!({}))]), &old, false),
        (with(&[gh(rate(5))]), &old, false),
        (with(&[gh(rate(6))]), &limited, true),
        (with(&[gh(rate(4))]), &limited, false),
        (with(&[gh(json!({}))]), &limited, true),
    ];
    for (number, (new, old, expected)) in cases.into_iter().enumerate() {
        assert_eq!(still_covers(&new, old), expected, "case {number}");
    }
}

#[test]
fn only_a_change_that_takes_life_or_depth_away_or_adds_guards_raises_the_generation() {
    let old = terms();
    type Change = fn(&mut Terms);
    let changes: [(Change, bool); 8] = [
        (|_| {}, true),
        (|t| t.max_depth = 8, true),
        (|t| t.max_depth = 2, false),
        (|t| t.expires_at = Some(time(NOW)), false),
        (|t| t.to = agent_id(2), false),
        (|t| t.parent = None, false),
        (|t| t.depth = 0, false),
        (|t| t.guards = guards(rate(5)), false),
    ];
    for (number, (change, expected)) in changes.into_iter().enumerate() {
        let mut new = old.clone();
        change(&mut new);
        assert_eq!(still_covers(&new, &old), expected, "case {number}");
    }
    let guarded = |guards| Terms {
        guards,
        ..old.clone()
    };
    for (new, expected) in [
        (None, true),
        (guards(rate(6)), true),
        (guards(rate(4)), false),
    ] {
        assert_eq!(
            still_covers(&guarded(new), &guarded(guards(rate(5)))),
            expected
        );
    }
}

fn guards(value: Value) -> Option<Arc<Constraints>> {
    Some(Arc::new(serde_json::from_value(value).unwrap()))
}

#[test]
fn a_grant_lets_its_tokens_be_used_for_no_more_than_its_parent_does() {
    let bearer = TokenUses {
        bearer: true,
        ..TokenUses::default()
    };
    let world = chain();
    let ask = NewGrant {
        uses: bearer.clone(),
        ..new_grant(3)
    };
    let refused = delegate(&world, 2, &ask);
    assert!(
        matches!(&refused, Err(Refusal::NotNarrower(field)) if field.field() == "bearer"),
        "{refused:?}"
    );
    // The twins: nothing is asked for, and a human may say so.
    assert!(delegate(&world, 2, &new_grant(3)).is_ok());
    let from_human = derive(Source::Human(&world.user(ADA)), &ask, time(NOW)).unwrap();
    assert_eq!(from_human.uses, bearer);
    // Taking it away is a change that narrows.
    let (with, without) = (
        from_human.clone(),
        Terms {
            uses: TokenUses::default(),
            ..from_human
        },
    );
    assert!(still_covers(&with, &without) && !still_covers(&without, &with));
}

#[test]
fn of_a_grant_that_is_for_one_token_nothing_is_given_on() {
    for reserved in [false, true] {
        let world = chain();
        let mut path = world.path(2);
        path.hops.last_mut().unwrap().grant.reserved = reserved;
        let asked = new_grant(3);
        let chosen = choose_parent([&path], &asked.permissions, time(NOW));
        assert_eq!(chosen.is_some(), !reserved);
        let root = world.user(world.root(2));
        let source = Source::Agent {
            giver: &world.agent(2),
            owners: &world.owners(2),
            user: Some(&root),
            path: &path,
        };
        let given = derive(source, &asked, time(NOW)).map(drop);
        let expected = if reserved {
            Err(Refusal::Reserved)
        } else {
            Ok(())
        };
        assert_eq!(given, expected);
        // By itself the path stands: the token is made of it.
        assert_eq!(path.standing(time(NOW)), Standing::Live);
    }
}

#[test]
fn what_stands_below_a_grant_that_is_for_one_token_permits_nothing() {
    for reserved in [false, true] {
        let mut path = chain().path(2);
        let [_, above, below] = &mut path.hops[..] else {
            panic!("a chain of three");
        };
        above.grant.reserved = reserved;
        assert_eq!(below.grant.is_within(&above.grant), !reserved);
        let expected = if reserved {
            Standing::NotActive
        } else {
            Standing::Live
        };
        assert_eq!(path.standing(time(NOW)), expected);
    }
}
