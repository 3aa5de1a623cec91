//! Limits are exact however many ask at once: rates, budgets, guards, quotas, over chains and over restarts.

use std::sync::Barrier;
use std::thread;

use kavachos::Settings;
use serde_json::{Value, json};

use crate::support::store::Off;
use crate::support::world::{Agent, Setup, World, ask, ask_own, reading, reading_under};
use kavachos_test::blocking::Answer;

/// How many ask at once.
const CALLS: usize = 50;

/// Runs all of these at the same moment, each on a thread of its own.
fn at_once<T: Send>(count: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (start, call) = (&start, &call);
                scope.spawn(move || {
                    start.wait();
                    call(number)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Another resource for each call, all under one wildcard.
fn resource(number: usize) -> String {
    format!("mcp:github:repos:{number}")
}

/// Asks for every call at once over HTTP; each decision reaches the writer together with all others.
fn flood(world: &World, agents: &[Agent]) -> Vec<Answer> {
    world.store.gather("decision", CALLS);
    at_once(CALLS, |number| {
        let agent = &agents[number % agents.len()];
        ask(&mut world.operator(), &agent.id, &resource(number))
    })
}

fn count_allowed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.allowed()).count()
}

fn codes_of_denials(answers: &[Answer]) -> Vec<&str> {
    let denials = answers.iter().filter(|answer| !answer.allowed());
    let mut codes: Vec<&str> = denials.map(Answer::code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// An agent with these constraints on its one permission, or as guards.
fn limited(world: &World, form: &Form) -> Agent {
    let ada = world.user();
    match form {
        Form::Permission(constraints) => {
            world.agent(&ada, reading_under("mcp:github:*", constraints))
        }
        Form::Guards(guards) => {
            world.agent_with(&ada, reading("mcp:github:*"), &json!({ "guards": guards }))
        }
        Form::User(constraints) => {
            let user = json!({ "name": "Ada", "permissions": reading_under("mcp:*", constraints) });
            let user = world.operator().post("/api/v1/users", &user).expect(201);
            world.agent(&user.id(), reading("mcp:github:*"))
        }
    }
}

/// Where a limit stands.
#[derive(Debug)]
enum Form {
    Permission(Value),
    Guards(Value),
    User(Value),
}

fn forms(limit: usize) -> Vec<(Form, &'static str)> {
    let rate = json!({ "rate": { "limit": limit, "per": 3600 } });
    let hourly = json!({ "maxCallsPerHour": limit });
    let budget = json!({ "budget": { "amount": limit, "unit": "calls" } });
    vec![
        (Form::Permission(rate.clone()), "rate_limited"),
        (Form::Permission(hourly), "rate_limited"),
        (Form::Permission(budget.clone()), "budget_exhausted"),
        (Form::Guards(rate.clone()), "rate_limited"),
        (Form::Guards(budget.clone()), "budget_exhausted"),
        (Form::User(rate), "rate_limited"),
        (Form::User(budget), "budget_exhausted"),
    ]
}

#[test]
fn fifty_calls_at_once_get_exactly_what_the_limit_allows() {
    for limit in [0, 5] {
        let world = World::new();
        for (form, code) in forms(limit) {
            let agent = limited(&world, &form);
            let answers = flood(&world, std::slice::from_ref(&agent));
            assert_eq!(count_allowed(&answers), limit, "{form:?}");
            assert_eq!(codes_of_denials(&answers), [code], "{form:?}");
            assert_eq!(world.allows(&agent.id), limit, "{form:?}");
        }
    }
}

#[test]
fn without_takes_fifty_calls_at_once_get_more_than_the_limit_allows() {
    let world = Setup {
        off: &[Off::Takes],
        ..Setup::default()
    }
    .start();
    for (form, _) in forms(5) {
        let agent = limited(&world, &form);
        let answers = flood(&world, std::slice::from_ref(&agent));
        assert_eq!(count_allowed(&answers), CALLS, "{form:?}");
    }
}

#[test]
fn the_library_is_as_exact_as_http() {
    let world = World::new();
    for (form, code) in forms(5) {
        let agent = limited(&world, &form);
        world.store.gather("decision", CALLS);
        let decisions = at_once(CALLS, |number| {
            world.decide(&agent.id, &resource(number)).unwrap()
        });
        let (allowed, denied): (Vec<_>, Vec<_>) =
            decisions.iter().partition(|decision| decision.allowed);
        assert_eq!(allowed.len(), 5, "{form:?}");
        assert!(
            denied.iter().all(|decision| decision.code.as_str() == code),
            "{form:?}"
        );
    }
}

#[test]
fn an_agents_own_key_and_an_operator_share_one_counter() {
    let world = World::new();
    let (form, _) = forms(5).swap_remove(0);
    let agent = limited(&world, &form);
    world.store.gather("decision", CALLS);
    let answers = at_once(CALLS, |number| match number % 2 {
        0 => ask(&mut world.operator(), &agent.id, &resource(number)),
        _ => ask_own(&mut world.client(&agent.key), &resource(number)),
    });
    assert_eq!(count_allowed(&answers), 5);
}

/// An agent with a rate of 5, and ten children that may each do 100 of it.
fn family(world: &World) -> Vec<Agent> {
    let ada = world.user();
    let rate = |limit: u32| {
        reading_under(
            "mcp:github:*",
            &json!({ "rate": { "limit": limit, "per": 3600 } }),
        )
    };
    let parent = world.agent(&ada, rate(5));
    let mut members: Vec<_> = (0..5)
        .map(|_| world.agent(&parent.id, reading("mcp:github:*")))
        .collect();
    members.extend((0..5).map(|limit| world.agent(&parent.id, rate(1 + limit % 5))));
    members.push(parent);
    members
}

#[test]
fn ten_children_and_their_parent_share_the_parents_counter() {
    let world = World::new();
    let members = family(&world);
    assert_eq!(members.len(), 11);
    assert_eq!(count_allowed(&flood(&world, &members)), 5);
}

#[test]
fn without_takes_the_children_exceed_their_parent() {
    let world = Setup {
        off: &[Off::Takes],
        ..Setup::default()
    }
    .start();
    let members = family(&world);
    assert_eq!(count_allowed(&flood(&world, &members)), CALLS);
}

/// A tree of agents three deep, each with a limit of its own; the limit of each grant.
fn tree(world: &World) -> (Vec<Agent>, Vec<(String, usize)>) {
    let ada = world.user();
    let limited =
        |limit: usize| reading_under("mcp:*", &json!({ "rate": { "limit": limit, "per": 60 } }));
    let root = world.agent(&ada, limited(40));
    let mut limits = vec![(root.grant.clone(), 40)];
    let mut agents = vec![];
    for branch in [9, 14, 30] {
        let middle = world.agent(&root.id, limited(branch));
        limits.push((middle.grant.clone(), branch));
        for leaf in [3, 5, 9] {
            let agent = world.agent(&middle.id, limited(leaf));
            limits.push((agent.grant.clone(), leaf));
            agents.push(agent);
        }
        agents.push(middle);
    }
    agents.push(root);
    (agents, limits)
}

/// Lets 64 threads ask for every agent of the tree; how often each grant was relied on.
fn storm(world: &World, agents: &[Agent], limits: &[(String, usize)]) -> Vec<usize> {
    at_once(64, |number| {
        let mut client = world.operator();
        for round in 0..6 {
            let agent = &agents[(number + round) % agents.len()];
            let answer = ask(&mut client, &agent.id, &resource(number));
            assert_eq!(answer.status, 200, "{answer}");
        }
    });
    let records = world.records();
    let uses = |grant: &str| {
        let relies = |path: &Value| path.as_array().unwrap().iter().any(|id| id == grant);
        let allows = records.iter().filter(|record| record.is_allow());
        allows
            .filter(|record| relies(&record.body["grantPath"]))
            .count()
    };
    limits.iter().map(|(grant, _)| uses(grant)).collect()
}

#[test]
fn no_counter_of_any_ancestor_is_exceeded_by_64_threads() {
    let world = World::new();
    let (agents, limits) = tree(&world);
    let uses = storm(&world, &agents, &limits);
    for (used, (grant, limit)) in uses.iter().zip(&limits) {
        assert!(used <= limit, "{grant} was used {used} times of {limit}");
    }
    assert_eq!(uses[0], 40, "the demand is larger than the root's limit");
}

#[test]
fn without_takes_64_threads_exceed_the_ancestors() {
    let world = Setup {
        off: &[Off::Takes],
        ..Setup::default()
    }
    .start();
    let (agents, limits) = tree(&world);
    let uses = storm(&world, &agents, &limits);
    assert!(
        uses.iter()
            .zip(&limits)
            .all(|(used, (_, limit))| used > limit)
    );
}

#[test]
fn counters_and_quotas_are_exact_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let setup = |seed| Setup {
        path: Some(directory.path().join("kavach.db")),
        seed,
        settings: agents_per_owner(3),
        ..Setup::default()
    };
    let world = setup(1).start();
    let ada = world.user();
    let budget = json!({ "budget": { "amount": 7, "unit": "calls" } });
    let agent = world.agent(&ada, reading_under("mcp:*", &budget));
    for number in 0..4 {
        assert!(world.ask(&agent.id, &resource(number)).allowed());
    }
    world.agent(&ada, reading("mcp:x"));
    world.close();

    let world = setup(2).start();
    let answers = flood(&world, std::slice::from_ref(&agent));
    assert_eq!(count_allowed(&answers), 3);
    let created = create_at_once(&world, &ada, 5);
    assert_eq!(created.iter().filter(|status| **status == 201).count(), 1);
    world.close();

    let world = setup(3).start();
    assert_eq!(world.ask(&agent.id, "mcp:x").code(), "budget_exhausted");
    assert_eq!(world.allows(&agent.id), 7);
}

fn agents_per_owner(limit: u64) -> Settings {
    let mut settings = Settings::default();
    settings.agents_per_owner = limit;
    settings
}

/// Creates so many agents of this owner at once, whose commits all reach the writer together; the statuses.
fn create_at_once(world: &World, owner: &str, count: usize) -> Vec<u16> {
    world.store.gather("agent.created", count);
    let body = json!({
        "ownerId": owner, "name": "one", "type": "service", "permissions": reading("mcp:github:*"),
    });
    let answers = at_once(count, |_| world.operator().post("/api/v1/agents", &body));
    for answer in &answers {
        let limit = answer.status == 422 && answer.code() == "agent_limit_exceeded";
        assert!(answer.status == 201 || limit, "{answer}");
    }
    answers.iter().map(|answer| answer.status).collect()
}

#[test]
fn twenty_creates_at_once_make_exactly_as_many_agents_as_the_quota_allows() {
    let setup = Setup {
        settings: agents_per_owner(5),
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let statuses = create_at_once(&world, &ada, 20);
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 5);
    let list = world
        .operator()
        .get(&format!("/api/v1/agents?ownerId={ada}"));
    assert_eq!(list.at("/data").as_array().unwrap().len(), 5);
    assert_eq!(agents_of(&world, &ada), 5);
}

#[test]
fn without_the_conditional_write_twenty_creates_make_twenty_agents() {
    let setup = Setup {
        settings: agents_per_owner(5),
        off: &[Off::Quota],
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let statuses = create_at_once(&world, &ada, 20);
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 20);
}

#[test]
fn sub_agents_count_for_the_human_at_the_top() {
    let setup = Setup {
        settings: agents_per_owner(5),
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let parent = world.agent(&ada, reading("mcp:github:*"));
    let statuses = create_at_once(&world, &parent.id, 20);
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 4);
}

/// How many agents of this human count.
fn agents_of(world: &World, user: &str) -> u64 {
    let user = world
        .operator()
        .get(&format!("/api/v1/users/{user}"))
        .expect(200);
    user.at("/data/agents").as_u64().unwrap()
}

#[test]
fn what_lies_below_a_revoked_agent_is_taken_off_the_quota_once_and_when_it_is_full() {
    let setup = Setup {
        settings: agents_per_owner(4),
        ..Setup::default()
    };
    let world = setup.start();
    let ada = world.user();
    let other = world.agent(&ada, reading("mcp:github:*"));
    let parent = world.agent(&ada, reading("mcp:github:*"));
    let child = world.agent(&parent.id, reading("mcp:github:*"));
    let grandchild = world.agent(&child.id, reading("mcp:github:*"));
    assert_eq!(agents_of(&world, &ada), 4);
    // The twin: all of them live, and there is no room.
    let full = create_at_once(&world, &ada, 1);
    assert_eq!(full, [422]);
    let revoke = |agent: &Agent| {
        let path = format!("/api/v1/agents/{}", agent.id);
        world.operator().delete(&path).expect(200);
    };
    revoke(&parent);
    // A kill looks at nothing below it.
    assert_eq!(agents_of(&world, &ada), 3);
    revoke(&grandchild);
    assert_eq!(agents_of(&world, &ada), 3, "it was off already");
    assert_eq!(create_at_once(&world, &ada, 1), [201]);
    assert_eq!(agents_of(&world, &ada), 4);
    // Of many who find it full, as many as there is room for get in.
    let statuses = create_at_once(&world, &ada, 20);
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2);
    assert_eq!(agents_of(&world, &ada), 4);
    revoke(&child);
    assert_eq!(agents_of(&world, &ada), 4, "it was off already");
    revoke(&other);
    assert_eq!(agents_of(&world, &ada), 3);
}

#[test]
fn of_twenty_users_with_one_address_exactly_one_is_made() {
    let world = World::new();
    for (member, body) in [
        ("email", json!({ "email": "ada@example.com" })),
        (
            "external",
            json!({ "external": { "provider": "clerk", "externalId": "u1" } }),
        ),
    ] {
        world.store.gather("user.created", 20);
        let answers = at_once(20, |_| world.operator().post("/api/v1/users", &body));
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1, "{member}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(
                (answer.status, answer.code()),
                (409, "conflict"),
                "{answer}"
            );
        }
    }
}

#[test]
fn twenty_first_mentions_of_an_outside_owner_make_one_user() {
    let world = World::new();
    world.store.gather("user.created", 20);
    let body = json!({
        "owner": { "provider": "clerk", "externalId": "u1" }, "name": "one", "type": "service",
        "permissions": reading("mcp:github:*"),
    });
    let answers = at_once(20, |_| world.operator().post("/api/v1/agents", &body));
    let mut owners: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect(201).text_at("/data/ownerId").to_owned())
        .collect();
    owners.dedup();
    assert_eq!(owners.len(), 1);
    assert_eq!(agents_of(&world, &owners[0]), 20);
}

#[test]
fn of_twenty_repetitions_with_one_idempotency_key_exactly_one_creates() {
    let world = World::new();
    let ada = world.user();
    world.store.gather("agent.created", 20);
    let body = json!({
        "ownerId": ada, "name": "one", "type": "service", "permissions": reading("mcp:github:*"),
    })
    .to_string();
    let answers = at_once(20, |_| {
        let request = kavachos_test::blocking::Request {
            method: "POST",
            target: b"/api/v1/agents",
            headers: &[("Idempotency-Key", b"once")],
            body: body.as_bytes(),
        };
        world.operator().send(&request).unwrap().expect(201)
    });
    let made = answers
        .iter()
        .filter(|answer| answer.at("/data/token").is_string());
    assert_eq!(made.count(), 1);
    let mut ids: Vec<_> = answers.iter().map(Answer::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(agents_of(&world, &ada), 1);
}

#[test]
fn twenty_rotations_at_once_leave_one_live_key() {
    let world = World::new();
    let ada = world.user();
    let agent = world.agent(&ada, reading("mcp:github:*"));
    let path = format!("/api/v1/agents/{}/rotate", agent.id);
    let answers = at_once(20, |_| world.operator().post(&path, &json!({})));
    let keys: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.text_at("/data/token").to_owned())
        .chain([agent.key])
        .collect();
    assert!(keys.len() > 1, "at least one rotation succeeds");
    let live = keys.iter().filter(|key| {
        let answer = ask_own(&mut world.client(key), "mcp:github:repos");
        assert!(
            answer.allowed() || answer.code() == "key_revoked",
            "{answer}"
        );
        answer.allowed()
    });
    assert_eq!(live.count(), 1);
}
