//! A child that may be written never permits what its parent does not.

use kavachos_core::constraint::{Call, Constraints, Verdict};
use kavachos_core::decide::{Facts, Path, decide};
use kavachos_core::permission::{Permission, PermissionSet};
use serde_json::{Value, json};

use crate::random::{MINUTE, MONDAY, Random};
use crate::world::{Question, set, time};

/// What a permission says of a call by itself, counters aside.
fn says(permission: &Permission, question: &Question) -> bool {
    let request = question.request();
    let call = Call {
        arguments: request.arguments.as_ref(),
        ip: request.ip,
        cost: request.cost.as_ref(),
    };
    let check = |constraints: &Constraints| constraints.check(&call, time(question.now));
    permission.matches(&request.action, &request.resource)
        && permission
            .constraints()
            .is_none_or(|constraints| check(constraints) == Verdict::Allowed)
}

/// Questions at every hour of a day, so that windows and dates are crossed.
fn questions(random: &mut Random) -> Vec<Question> {
    let world = random.world();
    (0..24)
        .map(|hour| Question {
            now: MONDAY + 60 * MINUTE * hour,
            ..random.question(&world)
        })
        .collect()
}

#[test]
fn what_a_covered_child_and_what_it_inherits_permit_the_parent_permits() {
    let mut random = Random::new(11);
    let (mut covered, mut permitted) = (0, 0);
    for _ in 0..4_000 {
        let parent = random.permission().compiled();
        let child = random.permission().compiled();
        let parents = PermissionSet::new([parent.clone()]).unwrap();
        if parents.cover(&child).is_err() {
            continue;
        }
        covered += 1;
        // What is left out is inherited: the child's own statement and the parent's, which is what a chain asks.
        let inherited = inherit(&child, &parent);
        for question in questions(&mut random) {
            if says(&inherited, &question) {
                permitted += 1;
                assert!(
                    says(&parent, &question),
                    "{parent:?} {child:?} {question:?}"
                );
            }
            let both = says(&child, &question) && says(&parent, &question);
            assert_eq!(says(&inherited, &question), both);
        }
    }
    assert!(covered > 200 && permitted > 200, "{covered} {permitted}");
}

fn inherit(child: &Permission, parent: &Permission) -> Permission {
    let constraints =
        |permission: &Permission| permission.constraints().cloned().unwrap_or_default();
    Permission::new(
        child.resource().clone(),
        child.actions().clone(),
        constraints(child).inheriting(&constraints(parent)),
    )
}

#[test]
fn a_set_that_includes_another_permits_all_that_it_permits() {
    let mut random = Random::new(13);
    let (mut included, mut permitted) = (0, 0);
    for _ in 0..6_000 {
        let old: Vec<_> = (0..2).map(|_| random.permission().compiled()).collect();
        let mut new: Vec<_> = (0..2).map(|_| random.permission().compiled()).collect();
        if random.one_in(2) {
            new.push(old[0].clone());
        }
        let compile = |list: &[Permission]| PermissionSet::new(list.to_vec()).unwrap();
        if !compile(&new).includes(&compile(&old)) {
            continue;
        }
        included += 1;
        let any = |list: &[Permission], question: &Question| list.iter().any(|p| says(p, question));
        for question in questions(&mut random) {
            if any(&old, &question) {
                permitted += 1;
                assert!(any(&new, &question), "{new:?} {old:?} {question:?}");
            }
        }
    }
    assert!(included > 200 && permitted > 200, "{included} {permitted}");
}

#[test]
fn one_guard_on_the_last_of_many_permitting_hops_decides_for_all() {
    let mut random = Random::new(17);
    let never = json!({"rate": {"limit": 0, "per": 60}});
    let mut allowed = 0;
    for _ in 0..3_000 {
        let world = random.world();
        let question = Question {
            full: Vec::new(),
            approvals: Vec::new(),
            ..random.question(&world)
        };
        let facts = world.facts(&question);
        let request = question.request();
        for path in &facts.paths {
            let alone = only(&facts, path.clone());
            if !decide(&alone, &request, &[], time(question.now)).allowed() {
                continue;
            }
            allowed += 1;
            let mut guarded = path.clone();
            let last = guarded.hops.last_mut().unwrap();
            let mut grant = last.grant.clone();
            let never: Constraints = serde_json::from_value(never.clone()).unwrap();
            grant.guards = Some(never.into());
            last.grant = grant;
            let decision = decide(&only(&facts, guarded), &request, &[], time(question.now));
            assert!(!decision.allowed());
        }
    }
    assert!(allowed > 100, "{allowed}");
}

fn only(facts: &Facts, path: Path) -> Facts {
    Facts {
        paths: vec![path],
        ..facts.clone()
    }
}

#[test]
fn the_order_and_the_repetition_of_permissions_mean_nothing() {
    let mut random = Random::new(19);
    for _ in 0..2_000 {
        let mut list: Vec<_> = (0..6).map(|_| random.permission()).collect();
        let one = set(&list);
        list.push(list[2].clone());
        random.shuffle(&mut list);
        let other = set(&list);
        assert_eq!(one, other);
        assert_eq!(written(&one), written(&other));
        let again: PermissionSet = serde_json::from_value(written(&one)).unwrap();
        assert_eq!(one, again);
    }
}

fn written(set: &PermissionSet) -> Value {
    serde_json::to_value(set).unwrap()
}

#[test]
fn the_index_finds_exactly_what_matches() {
    let mut random = Random::new(23);
    for size in [1, 2, 20, 300] {
        let list: Vec<_> = (0..size).map(|_| random.permission().compiled()).collect();
        let set = PermissionSet::new(list.clone()).unwrap();
        for _ in 0..200 {
            let action = random.pick(&["r", "w", "x"]).parse().unwrap();
            let resource = random.resource().parse().unwrap();
            let mut found: Vec<_> = set
                .matching(&action, &resource)
                .map(Permission::id)
                .collect();
            let all = list.iter().filter(|one| one.matches(&action, &resource));
            let mut expected: Vec<_> = all.map(Permission::id).collect();
            found.sort_unstable();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_hostile_set_of_every_shape_is_still_found_in() {
    // Each pattern has a shape of its own, so the index helps nothing: the answer must be right all the same.
    let patterns = (0..1000_u32).map(|mask| {
        let segments = (0..10).map(|bit| if mask >> bit & 1 == 1 { "*" } else { "a" });
        format!("{}:z", segments.collect::<Vec<_>>().join(":"))
    });
    let permissions = patterns
        .map(|text| Permission::from_json(&json!({"resource": text, "actions": ["*"]})).unwrap());
    let set = PermissionSet::new(permissions).unwrap();
    let action = "r".parse().unwrap();
    let count = |resource: &str| set.matching(&action, &resource.parse().unwrap()).count();
    assert_eq!(count("a:a:a:a:a:a:a:a:a:a:z"), 1000);
    assert_eq!(count("b:a:a:a:a:a:a:a:a:a:z"), 500);
    assert_eq!(count("a:a:a:a:a:a:a:a:a:a:y"), 0);
}
