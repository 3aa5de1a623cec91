//! P16: many who sign in with a password at once: what a sign-in costs beside its bare hash, and what it does to decisions.
//!
//! The storm runs in the server's process, on the pool of the facade; in the control the same hashes run where requests are
//! answered, as they do in a server that just calls the function.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use kavachos::Kavach;
use kavachos_auth::password::{Password, Passwords};

use crate::Length;
use crate::child::Server;
use crate::client::{Order, Outcome};
use crate::http;
use crate::machine::{cpu_seconds, thread_seconds};
use crate::report::{Bound, Figure, Rounds};
use crate::tenant;
use crate::world::World;

const WORLD: World = World {
    agents: 1_000,
    permissions: 20,
    pool: 10_000,
};
const CONNECTIONS: u32 = 16;
/// How many sign in at once. Each begins anew when it is answered.
const AT_ONCE: usize = 32;
/// One of how many requests is sent where hashing is in their way: each waits there for all who sign in.
const FEWER: u32 = 20;
/// What each of them shows.
const PASSWORD: &str = "correct horse battery staple";
/// The parts in processes of their own, and what they do to a server.
const WEATHER: [&str; 3] = ["serve", "storm", "storm-inline"];

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let mut figures = cost(length);
    figures.extend(company(length));
    figures
}

/// Seconds of one thread for a bare hash in memory that is there.
fn bare(memory: &mut [Block]) -> f64 {
    let params = Params::new(19_456, 2, 1, Some(32)).expect("parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; 32];
    let begun = thread_seconds();
    let done = argon2.hash_password_into_with_memory(
        black_box(PASSWORD.as_bytes()),
        &[7; 16],
        &mut hash,
        memory,
    );
    done.expect("a hash");
    black_box(hash);
    thread_seconds() - begun
}

/// What a comparison through the pool costs, in CPU time of the whole process, beside the bare hash.
fn cost(length: Length) -> Vec<Figure> {
    let (rounds, sign_ins) = length.pick((5, 48), (15, 192));
    let (mut ours, mut theirs, mut pace) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    let runtime = crate::runtime();
    let mut memory = vec![Block::default(); 19_456];
    bare(&mut memory);
    runtime.block_on(async {
        let kavach = Kavach::builder().password_threads(NonZeroUsize::MIN);
        let kavach = kavach.build().await.expect("a tenant");
        let storm = Storm::new(&kavach).await;
        for _ in 0..rounds {
            let hashes: f64 = (0..sign_ins).map(|_| bare(&mut memory)).sum();
            let (cpu, begun) = (cpu_seconds(std::process::id()), Instant::now());
            storm.pass(sign_ins).await;
            let wall = begun.elapsed().as_secs_f64();
            let cpu = cpu_seconds(std::process::id()) - cpu;
            theirs.0.push(f64::from(sign_ins) / hashes);
            ours.0.push(f64::from(sign_ins) / cpu);
            pace.0.push(f64::from(sign_ins) / wall);
        }
        kavach.close().await;
    });
    let reference = format!("{:.1}/s by the bare hash", theirs.median());
    let figure = |id, what: &str, rate: &Rounds, must, aim| Figure {
        id,
        what: what.to_owned(),
        ours: format!("{:.1}/s", rate.median()),
        reference: reference.clone(),
        ratio: rate.by(&theirs),
        must,
        aim,
    };
    vec![
        figure(
            "P16a",
            "passwords compared for each second of a core (CPU time)",
            &ours,
            Bound::AtLeast(0.9),
            Bound::AtLeast(0.97),
        ),
        figure(
            "P16w",
            "passwords compared a second by one thread (wall clock)",
            &pace,
            Bound::None,
            Bound::None,
        ),
    ]
}

/// The p99 of an open loop of decisions in each weather.
fn company(length: Length) -> Vec<Figure> {
    let (rounds, requests) = length.pick((3, 6_000), (9, 20_000));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kavach.db");
    crate::runtime().block_on(tenant::create(&path, &WORLD));
    let mut p99 = [Rounds::default(), Rounds::default(), Rounds::default()];
    let mut rate = 0;
    for round in 0..rounds {
        for (part, line) in WEATHER.iter().zip(&mut p99) {
            let requests = match *part {
                "storm-inline" => requests / FEWER,
                _ => requests,
            };
            let server = Server::start(part, &path);
            // Every agent is asked about once, so that what follows is warm.
            let warm = order(&server, requests, 1, 0);
            let (outcome, _) = http::send(&server, &warm);
            if rate == 0 {
                // A quarter of what is possible in calm: client, server and storm share the cores.
                rate = (f64::from(requests) / outcome.seconds / 4.0) as u32;
            }
            let (outcome, _): (Outcome, f64) =
                http::send(&server, &order(&server, requests, 100 + round, rate));
            line.0.push(outcome.p99_us);
        }
    }
    let [calm, storm, inline] = p99;
    let figure = |id, what: &str, line: &Rounds, (must, aim)| Figure {
        id,
        what: format!(
            "p99 of an authorize, {rate}/s, while {AT_ONCE} sign in again and again{what}"
        ),
        ours: format!("{:.2} ms", line.median() / 1e3),
        reference: format!("{:.2} ms while nobody does", calm.median() / 1e3),
        ratio: line.by(&calm),
        must,
        aim,
    };
    vec![
        figure("P16b", "", &storm, (Bound::AtMost(2.0), Bound::AtMost(1.3))),
        figure(
            "P16c",
            "; control: hashed where requests are answered",
            &inline,
            (Bound::None, Bound::None),
        ),
    ]
}

fn order(server: &Server, requests: u32, seed: u32, rate: u32) -> Order {
    Order {
        address: server.address.clone(),
        path: "/api/v1/authorize".to_owned(),
        agents: WORLD.agents,
        permissions: WORLD.permissions,
        pool: WORLD.pool,
        requests,
        connections: CONNECTIONS,
        seed: seed.into(),
        rate,
    }
}

/// People who sign in, again and again.
#[derive(Clone)]
struct Storm {
    engine: kavachos::engine::Engine,
    passwords: Passwords,
    stored: String,
}

impl Storm {
    async fn new(kavach: &Kavach) -> Self {
        let engine = kavach.engine().clone();
        let passwords = Passwords::default();
        let stored = passwords.hash(&engine, &password()).await.expect("a hash");
        Self {
            engine,
            passwords,
            stored: stored.as_str().to_owned(),
        }
    }

    async fn one(&self) {
        let password = password();
        let verdict = self
            .passwords
            .verify(&self.engine, Some(&self.stored), &password);
        assert!(verdict.await.expect("a verdict").matches);
    }

    /// So many sign-ins, [`AT_ONCE`] at a time or fewer.
    async fn pass(&self, sign_ins: u32) {
        let each = (0..sign_ins).map(|_| {
            let storm = self.clone();
            tokio::spawn(async move { storm.one().await })
        });
        for one in each.collect::<Vec<_>>() {
            one.await.expect("a sign-in");
        }
    }

    fn rage(&self) {
        for _ in 0..AT_ONCE {
            let storm = self.clone();
            tokio::spawn(async move {
                loop {
                    storm.one().await;
                }
            });
        }
    }
}

fn password() -> Password {
    Password::parse(PASSWORD).expect("a password")
}

/// In a process of its own: the API on a database, while people sign in on the pool.
pub(crate) fn serve(path: &Path) {
    crate::runtime().block_on(async {
        let kavach = http::tenant(path).await;
        Storm::new(&kavach).await.rage();
        http::answer(kavach).await;
    });
}

/// The same where they are hashed by whoever answers.
pub(crate) fn serve_inline(path: &Path) {
    crate::runtime().block_on(async {
        let kavach = http::tenant(path).await;
        for _ in 0..AT_ONCE {
            tokio::spawn(async {
                let mut memory = vec![Block::default(); 19_456];
                loop {
                    bare(&mut memory);
                    tokio::task::yield_now().await;
                }
            });
        }
        http::answer(kavach).await;
    });
}
