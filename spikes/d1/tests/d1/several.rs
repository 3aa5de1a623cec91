//! Several executors on one database, as several isolates of a Worker are: nobody holds a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kavachos_core::counter::Rule;
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_spike_d1::{Http, Link, LinkError, Statement};
use kavachos_store::conformance::ManualClock;
use kavachos_store::{Batch, CommitError, Effect, Observer, Row, Store, Take, Write, handle};

use crate::server::{Server, commit, database, open, plain, recorded, verified, writing};

/// How many batches each executor commits in a race.
const EACH: u64 = 40;

/// A link that leaves out every guard: what would happen without them.
struct Unguarded(Http);

impl Link for Unguarded {
    fn batch(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, LinkError> {
        let is_guard = |statement: &&Statement| statement.sql.starts_with("INSERT INTO guard");
        let left: Vec<Statement> = statements
            .iter()
            .filter(|one| !is_guard(one))
            .cloned()
            .collect();
        self.0.batch(&left)
    }
}

/// Counts how often it was told that another executor was faster.
#[derive(Default)]
struct Overtaken(AtomicU64);

impl Observer for Overtaken {
    fn committed(&self, _: &[Effect]) {}

    fn overtaken(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn watched(link: Http) -> (Arc<dyn Store>, Arc<Overtaken>) {
    let observer = Arc::new(Overtaken::default());
    let clock = Arc::new(ManualClock::default());
    (
        open(Arc::new(link), clock, Arc::clone(&observer) as _),
        observer,
    )
}

/// Commits until it is applied: a loser whose patience ended was told that nothing happened.
fn insist(store: &Arc<dyn Store>, batch: &Batch) -> u64 {
    loop {
        match commit(store, batch.clone()) {
            Ok(receipt) => return receipt.first_seq.unwrap(),
            Err(CommitError::Busy) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn executors_that_race_for_the_head_leave_no_gap_and_no_fork() {
    let link = database();
    let racers = [watched(link.clone()), watched(link.clone())];
    let race = |(number, (store, _)): (u64, &(Arc<dyn Store>, Arc<Overtaken>))| -> Vec<u64> {
        (0..EACH)
            .map(|step| insist(store, &recorded((number * EACH + step + 1).into())))
            .collect()
    };
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let running: Vec<_> = (0..)
            .zip(&racers)
            .map(|racer| scope.spawn(move || race(racer)))
            .collect();
        running
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..2 * EACH).collect::<Vec<_>>());
    assert_eq!(verified(&link), 2 * EACH);
    let lost: u64 = racers
        .iter()
        .map(|(_, observer)| observer.0.load(Ordering::Relaxed))
        .sum();
    println!("{lost} lost races in {} commits", 2 * EACH);
    assert!(lost > 0, "they never met");
}

fn once() -> Batch {
    writing(Write::exactly(
        1,
        "UPDATE probe SET value = 1 WHERE name = 'code' AND value = 0",
    ))
}

fn code(link: &Http) {
    let made = Write::exactly(1, "INSERT INTO probe (name, value) VALUES ('code', 0)");
    commit(&plain(link.clone()), writing(made)).unwrap();
}

#[test]
fn a_single_use_row_is_used_by_one_executor_only() {
    let link = database();
    let stores = [plain(link.clone()), plain(link.clone())];
    code(&link);
    assert!(commit(&stores[0], once()).is_ok());
    assert_eq!(
        commit(&stores[1], once()),
        Err(CommitError::Conflict { write: Some(0) })
    );
    // The twin: without guards both are told that they used it.
    let link = database();
    code(&link);
    let stores = [plain(Unguarded(link.clone())), plain(Unguarded(link))];
    assert!(stores.iter().all(|store| commit(store, once()).is_ok()));
}

#[test]
fn a_kill_by_one_executor_stops_the_decisions_of_another() {
    let mark = |generation| Mark {
        handle: Handle {
            kind: HandleKind::Agent,
            bytes: [1; 16],
        },
        generation,
    };
    let relying = || Batch {
        reads: vec![mark(1)],
        ..Batch::default()
    };
    let kill = Batch {
        kills: vec![mark(2)],
        ..recorded(1)
    };
    let link = database();
    let killer = plain(link.clone());
    let (decider, observer) = watched(link.clone());
    let unguarded = plain(Unguarded(link));
    commit(&killer, writing(handle::born(mark(1)))).unwrap();
    assert!(commit(&decider, relying()).is_ok());
    commit(&killer, kill).unwrap();
    let overtaken = observer.0.load(Ordering::Relaxed);
    assert_eq!(
        commit(&decider, relying()),
        Err(CommitError::Conflict { write: None })
    );
    // Else it would decide on what it remembers again and again.
    assert!(observer.0.load(Ordering::Relaxed) > overtaken);
    // The twin: what comes of it without guards.
    assert!(commit(&unguarded, relying()).is_ok());
}

#[test]
fn takers_in_two_executors_get_exactly_what_there_is() {
    let link = database();
    let stores = [plain(link.clone()), plain(link)];
    let taking = || Batch {
        takes: vec![Take {
            counter: b"shared".as_slice().into(),
            rule: Rule::Budget { amount: 10 },
            n: 1,
        }],
        ..Batch::default()
    };
    let queued: Vec<_> = (0..32)
        .map(|number| stores[number % 2].commit(taking()))
        .collect();
    let answers: Vec<_> = queued.into_iter().map(futures_executor::block_on).collect();
    let given = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(CommitError::Refused { .. })));
    assert_eq!((given, refused.count()), (10, 22), "{answers:?}");
}

#[test]
fn a_database_killed_under_load_keeps_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let server = Server::start(Some(path));
    let stores = [0, 1].map(|_| plain(Http::new(&server.address, "db0")));
    let (tell, told) = std::sync::mpsc::channel();
    let acknowledged: Vec<u128> = thread::scope(|scope| {
        let running = [0, 1].map(|number: u128| {
            let (store, tell) = (&stores[number as usize], tell.clone());
            scope.spawn(move || -> Vec<u128> {
                let ids = (1..).map(|step| number << 64 | step);
                ids.map_while(|id| match commit(store, recorded(id)) {
                    Ok(_) => Some(Some(tell.send(()).map(|()| id).unwrap())),
                    Err(CommitError::Busy) => Some(None),
                    Err(_) => None,
                })
                .flatten()
                .collect()
            })
        });
        told.iter().take(30).for_each(drop);
        server.kill();
        running
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    let again = Server::start(Some(path));
    let link = Http::new(&again.address, "db0");
    let size = verified(&link);
    assert!(acknowledged.len() >= 30 && size >= acknowledged.len() as u64);
    for id in acknowledged {
        // What is there cannot be recorded again.
        let twice = commit(&plain(link.clone()), recorded(id));
        assert!(
            matches!(twice, Err(CommitError::Rejected { .. })),
            "{id}: {twice:?}"
        );
    }
    again.kill();
}
