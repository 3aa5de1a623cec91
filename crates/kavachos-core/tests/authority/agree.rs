//! `decide` gives the answers of the reference, whatever the order of the facts.

use kavachos_core::decide::{Code, CounterKey, Decision, Facts, Known, decide_with};
use kavachos_core::revocation::{HandleKind, Mark};

use crate::naive;
use crate::random::Random;
use crate::world::{From, Question, World, bits, grant_id, key, mark, time};

#[test]
fn a_decision_is_what_the_reference_says_in_ten_thousand_worlds() {
    let seen = compare(0..10_000);
    // Agreement is not vacuous: every code that facts can lead to was met, and more than once.
    for code in Code::ALL {
        if code == Code::DeniedByHook {
            // No facts lead to it: it comes from the program around the decision.
            assert_eq!(seen[code as usize], 0);
            continue;
        }
        assert!(seen[code as usize] > 5, "{code}: {}", seen[code as usize]);
    }
}

#[test]
#[ignore = "LONG: a million worlds; run with --release and -- --ignored"]
fn long_form_a_decision_is_what_the_reference_says_in_a_million_worlds() {
    compare(10_000..1_010_000);
}

fn compare(seeds: std::ops::Range<u64>) -> [usize; Code::ALL.len()] {
    let mut seen = [0; Code::ALL.len()];
    for seed in seeds {
        let mut random = Random::new(seed);
        let world = random.world();
        let question = random.question(&world);
        let mut expected = world.authorize(&question, bits);
        let mut takes: Vec<(CounterKey, u64)> = Vec::new();
        takes.extend(
            expected
                .takes
                .drain(..)
                .map(|(counter, n)| (key(&counter), n)),
        );
        takes.sort_unstable();
        let mut facts = world.facts(&question);
        for round in 0..2 {
            let decision = ask(&facts, &question);
            assert_eq!(
                reread(&world, &facts, &decision),
                expected,
                "seed {seed}, round {round}"
            );
            assert_eq!(taken(&decision), takes, "seed {seed}, round {round}");
            let reads = reads(&world, &question, &expected);
            assert_eq!(read(&decision), reads, "seed {seed}, round {round}");
            seen[decision.code as usize] += 1;
            random.shuffle(&mut facts.paths);
        }
    }
    seen
}

fn ask(facts: &Facts, question: &Question) -> Decision {
    let known = Known {
        full: &question.full(),
        approvals: &question.approvals(facts),
    };
    decide_with(facts, &question.request(), known, time(question.now))
}

/// The decision in the words of the reference; takes and reads are compared beside it.
fn reread(world: &World, facts: &Facts, decision: &Decision) -> naive::Answer {
    let leaf = |path: usize| {
        let id = facts.paths[path].leaf().unwrap().id;
        let position = (0..world.grants.len()).find(|grant| grant_id(*grant) == id);
        position.unwrap()
    };
    naive::Answer {
        code: decision.code.as_str(),
        winner: decision.winner.map(leaf),
        takes: Vec::new(),
        retry: decision.retry_after,
        paths: (decision.verdicts.iter())
            .map(|verdict| {
                let permission = verdict.permission.map(|id| id.to_string());
                let hop = verdict.hop.map(usize::from);
                (leaf(verdict.path), hop, permission, verdict.code.as_str())
            })
            .collect(),
    }
}

fn taken(decision: &Decision) -> Vec<(CounterKey, u64)> {
    let mut takes: Vec<_> = decision
        .takes
        .iter()
        .map(|take| (take.key, take.n))
        .collect();
    takes.sort_unstable();
    takes
}

fn read(decision: &Decision) -> Vec<Mark> {
    let mut marks = decision.reads.clone();
    marks.sort_unstable();
    marks
}

/// The marks of the agent, everything above it, every grant of the winning path, its givers and everything above them.
fn reads(world: &World, question: &Question, expected: &naive::Answer) -> Vec<Mark> {
    let relied = ["allowed", "approval_required", "approval_pending"];
    let (Some(agent), Some(winner)) = (question.agent, expected.winner) else {
        return Vec::new();
    };
    if !relied.contains(&expected.code) {
        return Vec::new();
    }
    let mut marks = Vec::new();
    let mut rely = |agent: usize| {
        marks.push(mark(HandleKind::Agent, agent));
        marks.push(mark(HandleKind::User, world.root(agent)));
        marks.extend(world.owners(agent).iter().map(|owner| owner.mark));
    };
    rely(agent);
    let (human, chain) = world.chain(winner);
    for grant in &chain {
        if let From::Grant(parent) = world.grants[*grant].from {
            rely(world.grants[parent].to);
        }
    }
    marks.push(mark(HandleKind::User, human));
    marks.extend(
        chain
            .into_iter()
            .map(|grant| mark(HandleKind::Grant, grant)),
    );
    marks.sort_unstable();
    marks.dedup();
    marks
}
