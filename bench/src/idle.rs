//! P14: the server `kavach` at rest: its size, its start to the first answer, its memory after it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Length;
use crate::child::Running;
use crate::machine::resident_bytes;
use crate::report::{Bound, Figure, Rounds};

const MIB: f64 = 1024.0 * 1024.0;
/// How long a server may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let binary = build();
    let size = std::fs::metadata(&binary).expect("the binary").len() as f64 / MIB;
    let (mut starts, mut idle) = (Rounds::default(), Rounds::default());
    for _ in 0..length.pick(3, 9) {
        let (start, bytes) = start(&binary);
        starts.0.push(start);
        idle.0.push(bytes);
    }
    let figure = |what: &str, unit: &str, values: Rounds, must: f64| Figure {
        id: "P14",
        what: what.to_owned(),
        ours: format!("{:.2} {unit}", values.median()),
        reference: "-".to_owned(),
        ratio: values,
        must: Bound::AtMost(must),
        aim: Bound::AtMost(must / 2.0),
    };
    vec![
        figure("idle memory of the server (RSS)", "MiB", idle, 50.0),
        figure(
            "start on a new database to the first answer",
            "s",
            starts,
            1.0,
        ),
        figure("size of the binary", "MiB", Rounds(vec![size]), 40.0),
    ]
}

/// Builds the binary as it is released, and says where it is.
fn build() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let built = Command::new("cargo")
        .args(["build", "--release", "--package", "kavachos-server"])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo");
    assert!(built.status.success(), "the server does not build");
    let text = String::from_utf8(built.stdout).expect("text");
    let messages = text.lines().flat_map(serde_json::from_str);
    let mut binary = messages.filter_map(|message: serde_json::Value| {
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    binary.next_back().expect("a binary")
}

/// Starts a server on a database that is not there yet; seconds to the first answer, MiB a second after it.
fn start(binary: &Path) -> (f64, f64) {
    let directory = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let begun = Instant::now();
    let server = Command::new(binary)
        .arg("dev")
        .arg("--database")
        .arg(directory.path().join("kavach.db"))
        .args(["--listen", &address.to_string()])
        .stdout(Stdio::null())
        .spawn();
    let server = Running(server.expect("a server"));
    while !is_well(&address.to_string()) {
        assert!(begun.elapsed() < PATIENCE, "the server does not answer");
        std::thread::sleep(Duration::from_millis(1));
    }
    let start = begun.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(1));
    (start, resident_bytes(server.0.id()) as f64 / MIB)
}

fn is_well(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
