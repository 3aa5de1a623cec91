//! A server that is killed under load loses nothing that it answered, and nothing that was revoked lives.
//!
//! It is `kavach serve`, over HTTP, on a database in a file. Callers are threads that write down each answer; after
//! every kill the server is started again, and it and its database are compared with that. The short form runs with
//! the other tests; the long one by
//! `cargo test --release -p kavachos-server --test cli crash::a_thousand_kills -- --ignored --exact --nocapture`.

mod caller;
mod check;
mod outage;
mod told;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use self::caller::Caller;
use self::check::{Database, budget_faults, faults};
use self::told::{Dice, Told};
use crate::support::{Place, Server};

/// How many callers there are.
const CALLERS: usize = 16;
/// After how many answers the server is killed, at the least and at the most.
const ANSWERS: Range<usize> = 30..250;

/// A database that outlives its servers, and what callers were told of it.
struct World {
    place: Place,
    operator: String,
    told: Mutex<Told>,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        Self {
            operator: place.init(),
            place,
            told: Mutex::default(),
        }
    }

    fn database(&self) -> Database<'_> {
        Database::File(self.place.path("kavach.db"))
    }

    /// Serves what is there, compares it with what was told, loads it, and kills it.
    fn kill_one(&self, dice: &mut Dice) {
        let server = self.place.start("serve");
        self.check(&server);
        self.load(&server, dice);
        let ended = server.ended();
        assert_eq!(ended.code, -1, "it ended by the signal: {ended:?}");
    }

    fn check(&self, server: &Server) {
        let told = self.told.lock().unwrap();
        assert_eq!(told.unavailable, 0, "a database in a file is always there");
        let faults = faults(server, &self.operator, &self.database(), &told);
        assert_eq!(faults, Vec::<String>::new());
    }

    /// Callers at once, until so many answers have come and the server is killed amid the next ones.
    fn load(&self, server: &Server, dice: &mut Dice) {
        let limit = ANSWERS.start + dice.roll(ANSWERS.len());
        let answers = AtomicUsize::new(0);
        let seeds: Vec<_> = (0..CALLERS).map(|_| dice.roll(1 << 20)).collect();
        thread::scope(|scope| {
            for seed in seeds {
                let answers = &answers;
                scope.spawn(move || {
                    let mut dice = Dice::new(seed);
                    let Some(mut caller) = Caller::begin(server, &self.operator, &self.told) else {
                        return;
                    };
                    while caller.step(&mut dice).is_some() {
                        if answers.fetch_add(1, Ordering::SeqCst) == limit {
                            server.signal(Signal::KILL);
                        }
                    }
                });
            }
        });
        let answers = answers.into_inner();
        assert!(
            answers > limit,
            "it ended by itself after {answers} answers"
        );
    }

    /// After the last kill: everything is there, and every budget comes to exactly what it was.
    fn finish(&self) {
        let server = self.place.start("serve");
        self.check(&server);
        let told = self.told.lock().unwrap();
        let faults = budget_faults(&server, &self.operator, &self.database(), &told);
        assert_eq!(faults, Vec::<String>::new());
    }
}

fn kills(databases: usize, kills_of_each: usize) {
    let mut dice = Dice::new(2_026);
    for _ in 0..databases {
        let world = World::new();
        for _ in 0..kills_of_each {
            world.kill_one(&mut dice);
        }
        world.finish();
    }
}

#[test]
fn a_server_that_is_killed_under_load_loses_nothing_that_it_answered() {
    kills(2, 6);
}

#[test]
#[ignore = "LONG: a thousand kills take about half an hour; the command is at the top of tests/cli/crash.rs"]
fn a_thousand_kills() {
    kills(100, 10);
}

/// What makes callers believe that they were told more than they were.
type Lie<'a> = &'a dyn Fn(&mut Told);

/// The twin: callers who were told something that did not happen, as if it had been lost.
#[test]
fn the_check_after_a_kill_finds_everything_that_is_lost_and_everything_that_lives_again() {
    let world = World::new();
    world.kill_one(&mut Dice::new(7));
    let server = world.place.start("serve");
    world.check(&server);
    let told = world.told.lock().unwrap().clone();
    let (living, key) = told.living.iter().next().unwrap();
    let dead = told.dead_keys.first().unwrap();
    let lies: [(&str, Lie<'_>); 7] = [
        ("lives again", &|told| {
            told.revoked_agents.push(living.clone());
        }),
        ("lives again", &|told| {
            let lent = ("mcp:github:x".to_owned(), living.clone());
            told.revoked_grants.push(lent);
        }),
        ("lives again", &|told| told.dead_keys.push(key.clone())),
        ("does not live", &|told| {
            told.living.insert("an agent".to_owned(), dead.clone());
        }),
        ("is lost", &|told| told.agents.push("nobody".to_owned())),
        ("is lost", &|told| told.grants.push("nothing".to_owned())),
        ("is lost", &|told| {
            told.decisions.push(("never".to_owned(), true));
        }),
    ];
    for (complaint, lie) in lies {
        let mut told = told.clone();
        lie(&mut told);
        let faults = faults(&server, &world.operator, &world.database(), &told);
        assert!(
            faults.len() == 1 && faults[0].contains(complaint),
            "{complaint}: {faults:?}"
        );
    }
}
