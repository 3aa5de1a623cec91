//! The measurements of `docs/adr/0014`: commits beside bare `batch()` calls on the same miniflare, in turn.
//!
//! Ratios and round trips mean something; the rates are those of one machine on which nothing is far away.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use kavachos_core::id::AuditId;
use kavachos_core::ledger::{Actor, Blinding, Outcome, Record};
use kavachos_core::time::Timestamp;
use kavachos_spike_d1::{D1Store, Http, Link, Statement};
use kavachos_store::{Batch, Clock, CommitError, Host, Rng, Store, migration};

type Failure = Box<dyn Error + Send + Sync>;

const ROUNDS: usize = 5;
/// What is measured in one round, each way.
const COMMITS: usize = 300;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, body TEXT) STRICT";

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    fn running(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

impl Rng for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

static IDS: AtomicU64 = AtomicU64::new(1);

fn recorded() -> Result<Batch, Failure> {
    let id = AuditId::from_bits(IDS.fetch_add(1, Ordering::Relaxed).into());
    let random = Blinding {
        blind: [1; 16],
        salt: [2; 16],
    };
    let record = Record::new(id, "decision", Outcome::Allowed, "allowed", Actor::System);
    Ok(Batch {
        entries: vec![record.seal(random)?],
        ..Batch::default()
    })
}

fn open(link: &Http) -> Result<D1Store, Failure> {
    let host = Host {
        clock: Arc::new(Fixed),
        rng: Arc::new(Fixed),
        observer: Arc::new(()),
    };
    Ok(D1Store::open(
        Arc::new(link.clone()),
        migration::MIGRATIONS,
        host,
    )?)
}

/// One INSERT for each `batch()`: what D1 gives to whoever asks for no more.
fn bare(link: &Http) -> Result<(), Failure> {
    for _ in 0..COMMITS {
        let row = vec!["x".repeat(500).into()];
        link.batch(&[Statement::new("INSERT INTO bare (body) VALUES (?1)", row)])?;
    }
    Ok(())
}

/// One commit after the other.
fn alone(store: &D1Store) -> Result<(), Failure> {
    (0..COMMITS).try_for_each(|_| {
        futures_executor::block_on(store.commit(recorded()?))
            .map(drop)
            .map_err(Into::into)
    })
}

/// As many callers at once as fit into groups.
fn grouped(store: &D1Store) -> Result<(), Failure> {
    let batches: Result<Vec<Batch>, Failure> = (0..COMMITS).map(|_| recorded()).collect();
    let queued: Vec<_> = batches?
        .into_iter()
        .map(|batch| store.commit(batch))
        .collect();
    queued.into_iter().try_for_each(|answer| {
        futures_executor::block_on(answer)
            .map(drop)
            .map_err(Into::into)
    })
}

/// So many executors share the commits, each with one caller, who insists.
fn racing(stores: &[D1Store]) -> Result<(), Failure> {
    let each = COMMITS / stores.len();
    let run = |store: &D1Store| -> Result<(), Failure> {
        for _ in 0..each {
            let batch = recorded()?;
            loop {
                match futures_executor::block_on(store.commit(batch.clone())) {
                    Err(CommitError::Busy) => {}
                    answer => {
                        answer?;
                        break;
                    }
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = stores
            .iter()
            .map(|store| scope.spawn(move || run(store)))
            .collect();
        running
            .into_iter()
            .try_for_each(|one| one.join().map_err(|_| "a racer panicked")?)
    })
}

struct Figure {
    name: &'static str,
    rates: Vec<f64>,
    ratios: Vec<f64>,
    trips: Vec<f64>,
}

fn measure(link: &Http, run: impl FnOnce() -> Result<(), Failure>) -> Result<(f64, f64), Failure> {
    let trips = || link.tally().round_trips.load(Ordering::Relaxed) as f64;
    let (before, start) = (trips(), Instant::now());
    run()?;
    let commits = COMMITS as f64;
    Ok((
        commits / start.elapsed().as_secs_f64(),
        (trips() - before) / commits,
    ))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn figures(address: &str) -> Result<(), Failure> {
    let link = Http::new(address, "db0");
    link.batch(&[Statement::new(TABLE, Vec::new())])?;
    let stores = (0..4).map(|_| open(&link)).collect::<Result<Vec<_>, _>>()?;
    let (first, two) = (
        stores.first().ok_or("no store")?,
        stores.get(..2).ok_or("no pair")?,
    );
    type Run<'a> = (&'static str, Box<dyn Fn() -> Result<(), Failure> + 'a>);
    let runs: Vec<Run<'_>> = vec![
        ("one caller", Box::new(|| alone(first))),
        ("300 callers at once", Box::new(|| grouped(first))),
        ("2 executors, a caller each", Box::new(|| racing(two))),
        ("4 executors, a caller each", Box::new(|| racing(&stores))),
    ];
    let mut found: Vec<Figure> = Vec::new();
    for (name, run) in runs {
        let mut figure = Figure {
            name,
            rates: Vec::new(),
            ratios: Vec::new(),
            trips: Vec::new(),
        };
        for _ in 0..ROUNDS {
            let (reference, _) = measure(&link, || bare(&link))?;
            let (rate, trips) = measure(&link, &run)?;
            figure.rates.push(rate);
            figure.ratios.push(rate / reference);
            figure.trips.push(trips);
        }
        found.push(figure);
    }
    println!(
        "{:28} {:>10} {:>22} {:>22}",
        "", "commits/s", "of bare INSERTs", "round trips/commit"
    );
    for Figure {
        name,
        rates,
        ratios,
        trips,
    } in found
    {
        println!(
            "{name:28} {:>10.0} {:>22.2} {:>22.2}",
            median(rates),
            median(ratios),
            median(trips)
        );
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let node =
        std::env::var("KAVACH_D1_NODE").map_err(|_| "run this with `spikes/d1/run.sh figures`")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/server.mjs");
    let mut server = Command::new(node)
        .args([script, "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let outcome = figures(address.trim());
    drop(server.stdin.take());
    server.wait()?;
    outcome
}
