//! D1 in miniflare: started by each test program, ended with it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use kavachos_core::id::AuditId;
use kavachos_core::ledger::{Actor, Blinding, Outcome, Record};
use kavachos_spike_d1::{D1Store, Http, Link};
use kavachos_store::conformance::{self, ManualClock};
use kavachos_store::{Batch, Clock, CommitError, Host, Observer, Receipt, Rng, Store, Write};

/// How many databases the tests of one program may use.
const DATABASES: usize = 128;

static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(None));
static USED: AtomicUsize = AtomicUsize::new(0);

/// A server and its databases.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts a server whose databases lie in this directory, or are gone when it ends.
    pub(crate) fn start(directory: Option<&str>) -> Self {
        let node = std::env::var("KAVACH_D1_NODE").expect("run these tests with spikes/d1/run.sh");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/server.mjs");
        let mut child = Command::new(node)
            .args([script, &DATABASES.to_string()])
            .args(directory)
            // What is left of a server that was killed stays below the build.
            .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut address = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(
            address.starts_with("http"),
            "miniflare did not start: {address}"
        );
        Self { child, address }
    }

    /// Ends it without warning: Node and the runtime below it.
    pub(crate) fn kill(mut self) {
        let group = format!("-{}", self.child.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(killed.unwrap().success());
        self.child.wait().unwrap();
    }
}

/// A new, empty database.
pub(crate) fn database() -> Http {
    let number = USED.fetch_add(1, Ordering::Relaxed);
    assert!(number < DATABASES, "raise DATABASES");
    Http::new(&SHARED.address, &format!("db{number}"))
}

/// Randomness that is always the same: only the log's name is made of it.
struct Sevens;

impl Rng for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// Opens a store.
pub(crate) fn open(
    link: Arc<dyn Link>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
) -> Arc<dyn Store> {
    let host = Host {
        clock,
        rng: Arc::new(Sevens),
        observer,
    };
    Arc::new(D1Store::open(link, &conformance::migrations(), host).unwrap())
}

/// Opens a store whose clock stands still and whose observer does not care.
pub(crate) fn plain(link: impl Link + 'static) -> Arc<dyn Store> {
    open(
        Arc::new(link),
        Arc::new(ManualClock::default()),
        Arc::new(()),
    )
}

/// Commits and waits.
pub(crate) fn commit(store: &Arc<dyn Store>, batch: Batch) -> Result<Receipt, CommitError> {
    futures_executor::block_on(store.commit(batch))
}

/// A batch of one record with this id.
pub(crate) fn recorded(number: u128) -> Batch {
    let id = AuditId::from_bits(number);
    let random = Blinding {
        blind: number.to_be_bytes(),
        salt: [2; 16],
    };
    let record = Record::new(id, "decision", Outcome::Allowed, "allowed", Actor::System);
    Batch {
        entries: vec![record.seal(random).unwrap()],
        ..Batch::default()
    }
}

/// A batch of one write, without a record.
pub(crate) fn writing(write: Write) -> Batch {
    Batch {
        writes: vec![write],
        ..Batch::default()
    }
}

/// How many records there are, after checking that they are numbered without a gap and make the tree of the head.
pub(crate) fn verified(link: &Http) -> u64 {
    let store = plain(link.clone());
    let (size, root) = futures_executor::block_on(conformance::recompute(&*store)).unwrap();
    assert_eq!((size, root), (store.head().size, store.head().root));
    size
}
