//! The promise in every schedule, and the proof that each rule of a follower is needed for it.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::mutation::Mutation;
use crate::schedule::{Schedule, schedules};
use crate::world::World;

/// How many steps a schedule has.
const STEPS: usize = 120;

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Whatever has happened, an undisturbed round helps, and there is no alarm without a reason.
fn heals(world: &mut World) -> Result<(), TestCaseError> {
    for number in 0..world.machines.len() {
        world.machines[number].is_cut_off = false;
        world.round(number);
        let machine = &world.machines[number];
        if let Some(alarm) = machine.subject.alarm() {
            prop_assert!(world.feed.went_back, "follower {number}: {}", alarm.code());
        } else {
            let is_fresh = machine.subject.revocations(&machine.reading()).is_some();
            prop_assert!(is_fresh, "follower {number} stays closed");
        }
    }
    Ok(())
}

fn holds(schedule: &Schedule) -> Result<(), TestCaseError> {
    let mut world =
        World::run(schedule, None).map_err(|broken| TestCaseError::fail(broken.story))?;
    heals(&mut world)
}

#[test]
fn nothing_that_was_killed_is_accepted_after_the_lease() {
    runner(400)
        .run(&schedules(STEPS), |schedule| holds(&schedule))
        .unwrap();
}

#[test]
#[ignore = "minutes long"]
fn nothing_that_was_killed_is_accepted_after_the_lease_long() {
    let config = Config {
        cases: 20_000,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&schedules(4 * STEPS), |schedule| holds(&schedule))
        .unwrap();
}

#[test]
fn each_rule_is_needed() {
    const TRIES: usize = 8_000;
    for mutation in Mutation::ALL {
        let mut runner = runner(1);
        let strategy = schedules(STEPS);
        let found = (0..TRIES).position(|_| {
            let schedule = strategy.new_tree(&mut runner).unwrap().current();
            let broken = World::run(&schedule, Some(mutation)).err();
            broken.is_some_and(|broken| broken.promise == mutation.breaks())
        });
        assert!(found.is_some(), "{mutation:?} breaks no promise");
    }
}
