//! PostgreSQL crashes under the same load, again and again, and the server goes on.
//!
//! While the database is gone callers hear 503, and nothing is allowed. Once it is back they are served by the same
//! process, and everything that was answered before is there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use kavachos_test::postgres::{Cluster, name_of};

use super::CALLERS;
use super::caller::Caller;
use super::check::{Database, budget_faults, faults};
use super::told::{Dice, Told};
use crate::support::{Place, Server, eventually};

/// How often the database crashes.
const CRASHES: usize = 5;
/// How many answers come before a crash, and must come after it.
const ANSWERS: usize = 120;

#[test]
fn a_database_that_crashes_under_load_is_503_until_it_is_back_and_loses_nothing() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database();
    let mut place = Place::new();
    place.set("KAVACH_DATABASE", &url);
    let operator = place.init();
    let server = place.start("serve");
    let told = Mutex::new(Told::default());

    load(&server, &operator, &told, |answers| {
        for _ in 0..CRASHES {
            let before = answers.load(Ordering::SeqCst);
            let come = || answers.load(Ordering::SeqCst) >= before + ANSWERS;
            eventually("answers before the crash", come);
            cluster.crash();
            let before = answers.load(Ordering::SeqCst);
            let back = || answers.load(Ordering::SeqCst) >= before + ANSWERS;
            eventually("answers after it", back);
        }
    });

    let told = told.into_inner().unwrap();
    assert!(told.unavailable >= CRASHES, "{}", told.unavailable);
    let database = Database::Postgres(&cluster, name_of(&url).to_owned());
    let faults = [
        faults(&server, &operator, &database, &told),
        budget_faults(&server, &operator, &database, &told),
    ];
    assert_eq!(faults.concat(), Vec::<String>::new());
    // The twin: an answer that was never recorded would be missed.
    let mut more = told;
    more.decisions.push(("never".to_owned(), true));
    let missed = super::check::faults(&server, &operator, &database, &more);
    assert_eq!(missed, ["never is lost"]);
}

/// Callers who go on whatever they hear, while something happens; they count what succeeded.
fn load(server: &Server, operator: &str, told: &Mutex<Told>, meanwhile: impl FnOnce(&AtomicUsize)) {
    let answers = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..CALLERS {
            let (answers, is_over) = (&answers, &is_over);
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                let mut caller = Caller::begin(server, operator, told).expect("it is served");
                while !is_over.load(Ordering::SeqCst) {
                    if caller.step(&mut dice).is_some() {
                        answers.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        // However it ends, the callers do.
        let over = Over(&is_over);
        meanwhile(&answers);
        drop(over);
    });
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
