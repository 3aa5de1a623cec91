//! What this machine has for the book: programs, a network for each page, PostgreSQL.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use kavachos_test::postgres::Cluster;

use crate::page::Page;

/// The ports that the pages use, as a reader does; those that need PostgreSQL, one more.
const PORTS: [u16; 5] = [3000, 8000, 8001, 8080, 8081];
const POSTGRES_PORT: u16 = 5432;
/// The examples that pages run. `cargo test --workspace` builds them; for one package alone: `cargo build --examples`.
const EXAMPLES: [&str; 2] = ["mcp_server", "rmcp_client"];
/// How long to wait before looking again at a port, and how often.
const POLL: Duration = Duration::from_millis(20);
const POLLS: u32 = 250;
/// Brings up the loopback of a new network.
const LOOPBACK: &str = r#"ip link set lo up 2>/dev/null || python3 -c '
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))'"#;
/// Ways to a network of one's own: for root, and for others.
const WAYS: [&[&str]; 2] = [
    &["unshare", "--net"],
    &["unshare", "--map-current-user", "--keep-caps", "--net"],
];
/// Carries port 5432 of the page's network to a cluster outside of it, whose socket is the argument.
const CARRIER: &str = r#"
import socket, sys, threading
def carry(source, target):
    while part := source.recv(65536):
        target.sendall(part)
    target.shutdown(socket.SHUT_WR)
listener = socket.create_server(("localhost", 5432))
print("ready", flush=True)
while True:
    near, _ = listener.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[1])
    for pair in ((near, far), (far, near)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
"#;
/// What `cargo` is to a page that runs an example: the program that was built with the tests, and nothing else.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
"run --release -p kavachos-verifier --example mcp_server"|"run --release -p kavachos-verifier --example rmcp_client -- "*) ;;
*) echo "the book runs the examples mcp_server and rmcp_client and nothing else: $*" >&2; exit 1 ;;
esac
example=$6; shift 6; [ $# = 0 ] || shift
exec "$EXAMPLES/$example" "$@""#;
/// Whether node runs TypeScript as it is.
const NODE: &str = "const [a, b] = process.versions.node.split('.'); process.exit(a > 22 || (a == 22 && b >= 18) ? 0 : 1)";

/// What was found.
pub(crate) struct Machine {
    launcher: Vec<String>,
}

/// Whether a page can be run here.
pub(crate) enum Ready {
    With(Surroundings),
    Missing(String),
}

/// What a page is run in.
pub(crate) struct Surroundings {
    /// A program with its arguments that becomes the page's shell.
    pub(crate) launcher: Vec<String>,
    /// What the shell is told first.
    pub(crate) before: Vec<String>,
    /// A cluster of PostgreSQL that lives as long as the page is run.
    _cluster: Option<Box<Cluster>>,
}

impl Surroundings {
    /// The network of the machine and nothing more: for pages that open no port.
    pub(crate) fn plain() -> Self {
        Self {
            launcher: Vec::new(),
            before: Vec::new(),
            _cluster: None,
        }
    }
}

impl Machine {
    pub(crate) fn look() -> Self {
        let works = |way: &&&[&str]| {
            let words = way.iter().copied().chain(["sh", "-c", LOOPBACK]);
            succeeds(&words.collect::<Vec<_>>())
        };
        let way = WAYS.iter().find(works);
        let mut launcher: Vec<String> = Vec::new();
        if let Some(way) = way {
            launcher.extend(way.iter().map(|&word| word.to_owned()));
            let exec = format!("{LOOPBACK}\nexec \"$@\"");
            launcher.extend(["sh".to_owned(), "-c".to_owned(), exec, "sh".to_owned()]);
        }
        Self { launcher }
    }

    /// Whether each page has a network of its own.
    pub(crate) fn isolates(&self) -> bool {
        !self.launcher.is_empty()
    }

    /// A port of a page that somebody else uses.
    fn taken(&self, page: &Page) -> Option<u16> {
        if self.isolates() {
            return None;
        }
        let postgres = page.needs.iter().any(|name| name == "postgres");
        let ports = PORTS.into_iter().chain(postgres.then_some(POSTGRES_PORT));
        ports.into_iter().find(|port| !becomes_free(*port))
    }

    /// What a page is run in, or what it lacks.
    pub(crate) fn ready(&self, page: &Page) -> Ready {
        if let Some(port) = self.taken(page) {
            return Ready::Missing(format!(
                "port {port} is in use, and no network can be made for the page"
            ));
        }
        let needs = page.needs.iter().map(String::as_str);
        if let Some(missing) = needs.chain(["curl"]).find(|name| !has(name)) {
            return Ready::Missing(format!("there is no {missing}"));
        }
        let mut surroundings = Surroundings::plain();
        surroundings.launcher.clone_from(&self.launcher);
        if page.needs.iter().any(|name| name == "postgres") {
            let Some(cluster) = Cluster::start() else {
                return Ready::Missing("there is no PostgreSQL".to_owned());
            };
            surroundings.before.push(carrier(&cluster));
            surroundings._cluster = Some(Box::new(cluster));
        }
        if page.needs.iter().any(|name| is_example(name)) {
            surroundings.before.push(cargo());
        }
        Ready::With(surroundings)
    }
}

/// Whether nobody uses a port, soon: the programs of the page before this one may still be ending.
fn becomes_free(port: u16) -> bool {
    (0..POLLS).any(|_| {
        let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok();
        if !is_free {
            thread::sleep(POLL);
        }
        is_free
    })
}

/// Whether there is such a program; of `node`, one that runs TypeScript.
fn has(name: &str) -> bool {
    match name {
        "node" => succeeds(&["node", "-e", NODE]),
        // Looked for by the cluster.
        "postgres" => has("python3") && has("psql"),
        example if is_example(example) => examples().join(example).is_file(),
        other => succeeds(&["sh", "-c", "command -v \"$1\"", "sh", other]),
    }
}

fn succeeds(words: &[&str]) -> bool {
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn carrier(cluster: &Cluster) -> String {
    let url = cluster.socket_url("postgres").replace("%2F", "/");
    let home = url
        .strip_prefix("postgres://postgres@")
        .and_then(|rest| rest.split(':').next());
    let socket = format!("{}/.s.PGSQL.{}", home.unwrap_or_default(), cluster.port());
    // The shell reads on when the port is open.
    format!(
        "python3 -c '{CARRIER}' {socket} >../carrier 2>&1 </dev/null & until grep -q ready ../carrier; do sleep 0.02; done"
    )
}

fn is_example(name: &str) -> bool {
    EXAMPLES.contains(&name)
}

/// Where cargo puts the examples of the build that this test is of.
fn examples() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_kavach")).with_file_name("examples")
}

/// Puts the page's own `cargo` before the others.
fn cargo() -> String {
    let examples = examples();
    format!(
        "mkdir ../bin && printf '%s\\n' '{CARGO}' >../bin/cargo && chmod +x ../bin/cargo && export EXAMPLES='{}' \
         PATH=\"$(cd ../bin && pwd):$PATH\"",
        examples.display()
    )
}

/// Whether cargo runs the `rust` blocks of this page: the crate `kavachos` includes it.
pub(crate) fn is_doctest(page: &Path) -> Result<(), String> {
    let book = include_str!("../../../kavachos/src/book.rs");
    let name = page.file_name().unwrap_or_default().to_string_lossy();
    let include = format!("include_str!(\"../../../docs/book/{name}\")");
    let facade = include_str!("../../../kavachos/src/lib.rs");
    if book.contains(&include) && facade.contains("#[cfg(doctest)]\nmod book;") {
        return Ok(());
    }
    Err(format!(
        "crates/kavachos/src/book.rs does not include this page, so cargo does not run it: `{include}`"
    ))
}
