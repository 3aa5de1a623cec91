//! P3, P4 (times): the warm decision in process against a hash map with a prefix scan.

use std::hint::black_box;
use std::time::Instant;

use kavachos::core::decide::decide;
use kavachos::engine::Directory;
use kavachos::{Code, Timestamp};

use crate::Length;
use crate::report::{Bound, Figure, Rounds};
use crate::tenant::{self, Tenant};
use crate::world::{Ask, Bare, World};

const REQUESTS: u32 = 65_536;
const AGENTS: u32 = 10_000;
const POOL: u32 = 10_000;
const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// A warm decision: what the directory knows of the agent, then the pure decision.
#[inline(never)]
pub(crate) fn ours(directory: &Directory, ask: &Ask) -> Option<Code> {
    let facts = directory.facts(ask.agent)?;
    Some(decide(&facts, &ask.request, &[], NOW).code)
}

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let rounds = length.pick(5, 21);
    vec![against_bare(rounds), by_permissions(rounds)]
}

fn against_bare(rounds: usize) -> Figure {
    let world = World {
        agents: AGENTS,
        permissions: 20,
        pool: POOL,
    };
    let bare = Bare::new(&world);
    let asks = world.asks(REQUESTS, 1);
    let (mut ours_ns, mut bare_ns) = (Rounds::default(), Rounds::default());
    let open = Open::new(&world);
    let directory = &*open.tenant.directory;
    let denied = prove_equal(directory, &bare, &asks);
    println!("P3: {REQUESTS} requests decided alike, {denied} of them denied");
    for _ in 0..rounds {
        ours_ns.0.push(each(&asks, |ask| ours(directory, ask)));
        bare_ns.0.push(each(&asks, |ask| {
            bare.allows(ask.agent, &ask.action, &ask.resource)
        }));
    }
    open.close();
    Figure {
        id: "P3",
        what: format!("decision, {AGENTS} agents x 20 permissions"),
        ours: format!("{:.0} ns", ours_ns.median()),
        reference: format!("{:.0} ns, hash map and prefix scan", bare_ns.median()),
        ratio: ours_ns.by(&bare_ns),
        must: Bound::AtMost(3.0),
        aim: Bound::AtMost(1.5),
    }
}

/// One million agents are counted in instructions (see `growth`); permissions grow within one agent.
fn by_permissions(rounds: usize) -> Figure {
    let worlds = [1, 20, 1_000].map(|permissions| World {
        agents: 256,
        permissions,
        pool: POOL,
    });
    let asks = worlds.map(|world| world.asks(REQUESTS / 4, 2));
    let open = worlds.map(|world| Open::new(&world));
    let mut times = [const { Rounds(Vec::new()) }; 3];
    for _ in 0..rounds {
        for ((open, asks), times) in open.iter().zip(&asks).zip(&mut times) {
            times
                .0
                .push(each(asks, |ask| ours(&open.tenant.directory, ask)));
        }
    }
    open.into_iter().for_each(Open::close);
    let [one, twenty, thousand] = times;
    Figure {
        id: "P4b",
        what: "decision at 1,000 permissions against 1, 256 agents".to_owned(),
        ours: format!(
            "{:.0} ns ({:.0} ns at 20)",
            thousand.median(),
            twenty.median()
        ),
        reference: format!("{:.0} ns at 1", one.median()),
        ratio: thousand.by(&one),
        must: Bound::AtMost(2.0),
        aim: Bound::AtMost(1.3),
    }
}

/// A database with a world, everything of it in the directory.
struct Open {
    _files: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    tenant: Tenant,
}

impl Open {
    fn new(world: &World) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let path = files.path().join("kavach.db");
        let runtime = crate::runtime();
        let tenant = runtime.block_on(async {
            tenant::create(&path, world).await;
            let tenant = Tenant::open(&path, world.agents);
            tenant.warm(0..world.agents).await;
            tenant
        });
        Self {
            _files: files,
            runtime,
            tenant,
        }
    }

    fn close(self) {
        self.runtime.block_on(self.tenant.engine.close());
    }
}

fn prove_equal(directory: &Directory, bare: &Bare, asks: &[Ask]) -> usize {
    let mut denied = 0;
    for ask in asks {
        let code = ours(directory, ask).expect("a warm agent");
        let theirs = bare.allows(ask.agent, &ask.action, &ask.resource);
        let expected = if theirs {
            Code::Allowed
        } else {
            Code::PermissionDenied
        };
        assert_eq!(code, expected, "{} {}", ask.action, ask.resource);
        denied += usize::from(!theirs);
    }
    denied
}

/// Nanoseconds for each request.
fn each<T>(asks: &[Ask], decide: impl Fn(&Ask) -> T) -> f64 {
    let begun = Instant::now();
    for ask in asks {
        black_box(decide(black_box(ask)));
    }
    begun.elapsed().as_secs_f64() * 1e9 / asks.len() as f64
}
