//! An explanation tells the decision that is made, and its parts come to it.

use kavachos_core::decide::{
    Code, ExplainedHop, ExplainedPath, Explanation, Known, Match, explain,
};
use serde_json::json;

use crate::random::Random;
use crate::scene::{anything, ask, chain, decide_facts, permission};
use crate::world::{Question, World, time};

fn explained(world: &World, question: &Question) -> Explanation {
    let facts = world.facts(question);
    let known = Known {
        full: &question.full(),
        approvals: &question.approvals(&facts),
    };
    explain(&facts, &question.request(), known, time(question.now))
}

/// What is worse; a request that waits for an answer is as good as one that still has to ask.
fn badness(code: Code) -> usize {
    match code {
        Code::ApprovalPending => Code::ApprovalRequired as usize,
        code => code as usize,
    }
}

fn best_permission(hop: &ExplainedHop) -> usize {
    let judged = hop
        .permissions
        .iter()
        .filter_map(|told| match told.verdict {
            Match::Judged(code) => Some(badness(code)),
            Match::OtherAction | Match::OtherResource => None,
        });
    judged.min().unwrap_or(Code::PermissionDenied as usize)
}

fn worst_hop(path: &ExplainedPath) -> usize {
    let worst = |hop: &ExplainedHop| {
        let guards = hop.guards.map_or(0, badness);
        badness(hop.standing).max(guards).max(best_permission(hop))
    };
    path.hops.iter().map(worst).max().unwrap_or_default()
}

#[test]
fn the_parts_come_to_the_decision_in_two_thousand_worlds() {
    let (mut allowed, mut denied) = (0, 0);
    for seed in 0..2_000 {
        let mut random = Random::new(seed);
        let world = random.world();
        let question = random.question(&world);
        let facts = world.facts(&question);
        let decision = decide_facts(&facts, &question);
        let told = explained(&world, &question);
        assert_eq!(told.decision, decision, "seed {seed}");
        for path in &told.paths {
            assert_eq!(worst_hop(path), badness(path.code), "seed {seed}");
        }
        for (path, verdict) in told.paths.iter().zip(&decision.verdicts) {
            assert_eq!(
                (path.path, path.code, path.hop),
                (verdict.path, verdict.code, verdict.hop),
                "seed {seed}"
            );
        }
        if !decision.verdicts.is_empty() {
            match decision.allowed() {
                true => allowed += 1,
                false => denied += 1,
            }
        }
    }
    assert!(allowed > 50 && denied > 50, "{allowed} {denied}");
}

#[test]
fn each_permission_says_why_it_does_not_match() {
    let mut world = chain();
    let mut other_action = permission("gh:repo", json!({}));
    other_action.actions = vec!["w"];
    let late = permission("gh:repo", json!({ "notBefore": "2100-01-01T00:00:00Z" }));
    world.grants[0].permissions = vec![permission("slack:*", json!({})), other_action, late];
    let told = explained(&world, &ask(0));
    assert_eq!(told.decision.code, Code::OutsideTimeWindow);
    let verdicts = told.paths[0].hops[1].permissions.iter();
    let verdicts: Vec<_> = verdicts.map(|told| told.verdict).collect();
    let late = Match::Judged(Code::OutsideTimeWindow);
    assert_eq!(verdicts, [late, Match::OtherAction, Match::OtherResource]);
}

#[test]
fn permissions_beyond_the_bound_are_counted_and_those_that_match_are_told_first() {
    let mut world = chain();
    let many = |count: usize| {
        let others = (0..count).map(|number| permission(&format!("x:{number}"), json!({})));
        others.chain(anything()).collect()
    };
    for grant in &mut world.grants {
        grant.permissions = many(900);
    }
    let told = explained(&world, &ask(2));
    let hops = &told.paths[0].hops;
    let count: usize = hops.iter().map(|hop| hop.permissions.len()).sum();
    let more: Vec<_> = hops.iter().map(|hop| hop.more).collect();
    assert_eq!((count, more), (2_000, vec![0, 0, 0, 704]));
    let first = |hop: &ExplainedHop| hop.permissions[0].verdict;
    assert!(
        hops.iter()
            .map(first)
            .all(|verdict| verdict == Match::Judged(Code::Allowed))
    );
}
