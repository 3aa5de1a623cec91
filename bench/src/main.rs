//! Measures the figures that KavachOS states, each beside its reference in the same run, and prints a table.

mod child;
mod client;
mod commit;
mod decide;
mod growth;
mod http;
mod idle;
mod leaf;
mod live;
mod machine;
mod memory;
mod postgres;
mod report;
mod rows;
mod storm;
mod tenant;
mod world;

use std::path::Path;
use std::process::ExitCode;

use report::Figure;

/// As in `kavach`; the references have it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: kavachos-bench all|decide|growth|memory|leaf|live|commit|postgres|http|storm|idle [--short]";

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Short,
    Full,
}

impl Length {
    fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// One measurement.
type Bench = fn(Length) -> Vec<Figure>;

const BENCHES: [(&str, Bench); 10] = [
    ("decide", decide::run),
    ("growth", growth::run),
    ("memory", memory::run),
    ("leaf", leaf::run),
    ("live", live::run),
    ("commit", commit::run),
    ("postgres", commit::run_on_postgres),
    ("http", http::run),
    ("storm", storm::run),
    ("idle", idle::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["client", order] => client::run(order),
        ["echo", _] => http::echo(),
        ["serve", path] => http::serve(Path::new(path)),
        ["storm", path] if !path.starts_with("--") => storm::serve(Path::new(path)),
        ["storm-inline", path] => storm::serve_inline(Path::new(path)),
        ["hold", path, ..] => memory::hold(Path::new(path), &arguments[2..]),
        ["marks", _, ..] => live::hold(&arguments[2..]),
        ["count", path, ..] => growth::watched(Path::new(path), &arguments[2..]),
        [name] => return measure(name, Length::Full),
        [name, "--short"] => return measure(name, Length::Short),
        _ => return wrong_usage(),
    }
    ExitCode::SUCCESS
}

fn measure(name: &str, length: Length) -> ExitCode {
    let chosen: Vec<Bench> = BENCHES
        .iter()
        .filter(|(known, _)| name == "all" || *known == name)
        .map(|(_, bench)| *bench)
        .collect();
    if chosen.is_empty() {
        return wrong_usage();
    }
    println!("before: {}", machine::moment(&std::env::temp_dir()));
    let figures: Vec<Figure> = chosen.iter().flat_map(|bench| bench(length)).collect();
    println!("after: {}", machine::moment(&std::env::temp_dir()));
    report::print(&figures);
    if figures.iter().all(Figure::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn wrong_usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// The runtime of every part: as many workers as there are cores.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}
