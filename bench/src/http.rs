//! P5, P6 (over HTTP), P7: durable `POST /api/v1/authorize` over loopback, beside an echo and the bare database.
//!
//! Server, echo and client are processes of their own on the same cores. CPU time is that of the server's process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::routing::post;
use kavachos::Kavach;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::Length;
use crate::child::{self, Server};
use crate::client::{Order, Outcome};
use crate::machine::{cpu_seconds, fsyncs, quantile};
use crate::report::{Bound, Figure, Rounds};
use crate::rows::{Bare, Look};
use crate::tenant;
use crate::world::World;

const WORLD: World = World {
    agents: 1_000,
    permissions: 20,
    pool: 10_000,
};
const CONNECTIONS: u32 = 64;
/// How many syncs are timed before and after each load.
const PROBES: usize = 100;

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let (rounds, requests) = length.pick((3, 20_000), (9, 40_000));
    let directory = tempfile::tempdir().expect("a directory");
    let mut place = crate::runtime().block_on(Place::new(directory.path()));
    // Every agent is asked about once, so that what follows is warm.
    place.load(&place.ours, "/api/v1/authorize", 20_000, 1);
    let mut line = Line::default();
    for round in 0..rounds {
        place.round(requests, 100 + round, &mut line);
    }
    line.figures()
}

struct Place {
    directory: PathBuf,
    ours: Server,
    echo: Server,
    look: Look,
    bare: Bare,
}

/// Microseconds of CPU for each request or row, and the rest of what the figures need; a value a round.
#[derive(Default)]
struct Line {
    ours: Rounds,
    echo: Rounds,
    row: Rounds,
    ours_rate: Rounds,
    bare_rate: Rounds,
    group: Rounds,
    p99: Rounds,
    median: Rounds,
    fsync_p99: Rounds,
    fsync_median: Rounds,
    echo_p99: Rounds,
}

impl Place {
    async fn new(directory: &Path) -> Self {
        let path = directory.join("kavach.db");
        tenant::create(&path, &WORLD).await;
        Self {
            directory: directory.to_owned(),
            ours: Server::start("serve", &path),
            echo: Server::start("echo", directory),
            look: Look::at(&path),
            bare: Bare::create(&directory.join("bare.db")).await,
        }
    }

    /// Sends requests in a closed loop.
    fn load(&self, server: &Server, path: &str, requests: u32, seed: u64) -> (Outcome, f64) {
        let order = Order {
            address: server.address.clone(),
            path: path.to_owned(),
            agents: WORLD.agents,
            permissions: WORLD.permissions,
            pool: WORLD.pool,
            requests,
            connections: CONNECTIONS,
            seed,
            rate: 0,
        };
        send(server, &order)
    }

    /// The p99 of an open loop at half of what a closed one came to, beside what a sync took before and after.
    fn tail(&self, requests: u32, seed: u64, line: &mut Line) {
        let order = Order {
            address: self.ours.address.clone(),
            path: "/api/v1/authorize".to_owned(),
            agents: WORLD.agents,
            permissions: WORLD.permissions,
            pool: WORLD.pool,
            requests: requests / 2,
            connections: CONNECTIONS,
            seed: seed + 1_000,
            rate: (line.ours_rate.median() / 2.0) as u32,
        };
        let echo = Order {
            address: self.echo.address.clone(),
            path: "/echo".to_owned(),
            ..order.clone()
        };
        line.echo_p99.0.push(send(&self.echo, &echo).0.p99_us);
        let mut probes = fsyncs(&self.directory, PROBES);
        let (outcome, _) = send(&self.ours, &order);
        probes.extend(fsyncs(&self.directory, PROBES));
        probes.sort();
        line.p99.0.push(outcome.p99_us);
        line.median.0.push(outcome.median_us);
        let micros = |part| quantile(&probes, part).as_secs_f64() * 1e6;
        line.fsync_p99.0.push(micros(0.99));
        line.fsync_median.0.push(micros(0.5));
    }

    fn round(&mut self, requests: u32, seed: u64, line: &mut Line) {
        let each = |seconds: f64| seconds * 1e6 / f64::from(requests);
        let (_, echo) = self.load(&self.echo, "/echo", requests, seed);
        let (commits, records) = self.look.counts();
        let (outcome, ours) = self.load(&self.ours, "/api/v1/authorize", requests, seed);
        let (commits, rows) = (self.look.counts().0 - commits, self.look.rows(records));
        assert_eq!(rows.len(), requests as usize, "a record for each request");
        assert!(outcome.allowed * 2 > requests && outcome.allowed < requests);
        let group = rows.len() as f64 / commits as f64;
        let bare = self.bare.insert(&rows, group.round() as usize);
        line.ours.0.push(each(ours));
        line.echo.0.push(each(echo));
        line.row.0.push(each(bare.cpu));
        line.ours_rate.0.push(f64::from(requests) / outcome.seconds);
        line.bare_rate.0.push(rows.len() as f64 / bare.wall);
        line.group.0.push(group);
        self.tail(requests, seed, line);
    }
}

/// Sends requests to a server; what came of it, and the CPU seconds that the server spent.
pub(crate) fn send(server: &Server, order: &Order) -> (Outcome, f64) {
    let order = serde_json::to_string(order).expect("text");
    let before = cpu_seconds(server.id());
    let outcome = child::output("client", Path::new(&order), &[]);
    let spent = cpu_seconds(server.id()) - before;
    (serde_json::from_str(&outcome).expect("an outcome"), spent)
}

impl Line {
    fn figures(self) -> Vec<Figure> {
        let sums = self.echo.0.iter().zip(&self.row.0);
        let reference = Rounds(sums.map(|(echo, row)| echo + row).collect());
        let cpu = Figure {
            id: "P5",
            what: format!("CPU of a durable authorize over HTTP, {CONNECTIONS} connections"),
            ours: format!("{:.1} us", self.ours.median()),
            reference: format!(
                "{:.1} us: axum echo {:.1}, a grouped row {:.1}",
                reference.median(),
                self.echo.median(),
                self.row.median()
            ),
            ratio: self.ours.by(&reference),
            must: Bound::AtMost(1.4),
            aim: Bound::AtMost(1.15),
        };
        let rate = Figure {
            id: "P6h",
            what: format!("durable authorize over HTTP, {CONNECTIONS} connections"),
            ours: format!("{:.0}/s", self.ours_rate.median()),
            reference: format!(
                "{:.0}/s by bare SQLite, as many rows a commit",
                self.bare_rate.median()
            ),
            ratio: self.ours_rate.by(&self.bare_rate),
            must: Bound::AtLeast(0.5),
            aim: Bound::AtLeast(0.66),
        };
        let group = Figure {
            id: "P7a",
            what: format!("answers for each fsync, {CONNECTIONS} connections"),
            ours: format!("{:.1}", self.group.median()),
            reference: "-".to_owned(),
            ratio: self.group,
            must: Bound::AtLeast(20.0),
            aim: Bound::AtLeast(40.0),
        };
        let tail = Figure {
            id: "P7b",
            what: format!(
                "p99 of a durable authorize, open loop at half load, {CONNECTIONS} connections"
            ),
            ours: format!(
                "{:.2} ms, median {:.2} ms",
                self.p99.median() / 1e3,
                self.median.median() / 1e3
            ),
            reference: format!(
                "fsync p99 {:.2} ms, median {:.2} ms; axum echo p99 {:.2} ms at the same rate",
                self.fsync_p99.median() / 1e3,
                self.fsync_median.median() / 1e3,
                self.echo_p99.median() / 1e3
            ),
            ratio: self.p99.by(&self.fsync_p99),
            must: Bound::AtMost(3.0),
            aim: Bound::AtMost(2.0),
        };
        vec![cpu, rate, group, tail]
    }
}

#[derive(Serialize, Deserialize)]
struct Echoed {
    action: String,
    resource: String,
}

/// In a process of its own: answers what it was asked.
pub(crate) fn echo() {
    crate::runtime().block_on(async {
        let router = axum::Router::new().route(
            "/echo",
            post(|Json(body): Json<Echoed>| async move { Json(body) }),
        );
        axum::serve(listen().await, router).await.expect("a server");
    });
}

/// In a process of its own: the API on a database.
pub(crate) fn serve(path: &Path) {
    crate::runtime().block_on(async { answer(tenant(path).await).await });
}

/// The tenant of a database.
pub(crate) async fn tenant(path: &Path) -> Kavach {
    let tenant = Kavach::builder().sqlite(path).build().await;
    tenant.expect("a tenant")
}

/// Answers until the process ends.
pub(crate) async fn answer(kavach: Kavach) {
    let service = kavach
        .service()
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listen().await, service)
        .await
        .expect("a server");
}

async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    listener
}
