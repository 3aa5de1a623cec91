//! What no file of the project may contain: a lint silenced for good, the host of a package registry, a path of the
//! machine that it was written on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::root;

/// Files are read up to this number: more means that the walk went somewhere it should not.
const MAX_FILES: usize = 20_000;

/// A file of the project and what is in it.
struct Source {
    path: PathBuf,
    text: String,
}

/// Every text file under a directory, but for what tools write: build output, what npm installed, and cargo's list of
/// versions.
fn sources(directory: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        assert!(found.len() < MAX_FILES, "too many files under `{path:?}`");
        if is_written_by_a_tool(&path) {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the directory can be listed");
            waiting.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push(Source { path, text });
        }
    }
    found
}

fn is_written_by_a_tool(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    [".git", "target", "node_modules", "Cargo.lock"]
        .iter()
        .any(|tool| name == *tool)
        || path.join("CACHEDIR.TAG").exists()
}

/// Lints are answered with `expect` and a reason: it says so when it is no longer needed.
fn silenced_lints(text: &str) -> Vec<&str> {
    // Written in two parts, here and below, for this file is searched as well.
    let allow = ["al", "low("].concat();
    let attribute = format!("[{allow}");
    text.lines()
        .filter(|line| {
            line.contains(&attribute) || (line.contains("cfg_attr(") && line.contains(&allow))
        })
        .collect()
}

fn registry_hosts() -> Vec<String> {
    [
        ["crates", ".io"],
        ["npm", "js.org"],
        ["py", "pi.org"],
        ["python", "hosted.org"],
        ["proxy.go", "lang.org"],
    ]
    .map(|parts| parts.concat())
    .to_vec()
}

fn machine_paths() -> Vec<String> {
    [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/tmp/w", "t/"],
        ["/tmp/tar", "get"],
    ]
    .map(|parts| parts.concat())
    .to_vec()
}

/// Whether a path of the machine stands in the line, and not the middle of a longer path or address.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|start| start.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || "._-*~}".contains(before))
    })
}

/// The lines that are true only on one machine or of one registry.
fn private_lines(text: &str) -> Vec<&str> {
    let (hosts, paths) = (registry_hosts(), machine_paths());
    text.lines()
        .filter(|line| {
            hosts.iter().any(|host| line.contains(host))
                || paths.iter().any(|path| names_path(line, path))
        })
        .collect()
}

#[test]
fn no_lint_is_silenced_for_good() {
    let mut rust = sources(root());
    rust.retain(|source| source.path.extension().is_some_and(|ending| ending == "rs"));
    assert!(!rust.is_empty(), "no Rust file was found");
    for source in rust {
        let lines = silenced_lints(&source.text);
        assert!(
            lines.is_empty(),
            "{:?}: write `expect`: {lines:?}",
            source.path
        );
    }
}

#[test]
fn no_file_names_a_registry_or_a_path_of_one_machine() {
    for source in sources(root()) {
        let lines = private_lines(&source.text);
        assert!(lines.is_empty(), "{:?}: {lines:?}", source.path);
    }
}

#[test]
fn the_walk_sees_every_kind_of_file() {
    let seen = sources(root());
    for name in [
        ".ci/run",
        "Cargo.toml",
        "scripts/check.sh",
        "CONTRIBUTING.md",
    ] {
        assert!(
            seen.iter().any(|source| source.path.ends_with(name)),
            "{name}"
        );
    }
}

mod twin {
    use super::{machine_paths, private_lines, registry_hosts, silenced_lints};

    #[test]
    fn a_silenced_lint_is_seen() {
        let inner = ["al", "low(dead_code)"].concat();
        assert_eq!(silenced_lints(&format!("#[{inner}]\nfn f() {{}}")).len(), 1);
        assert_eq!(silenced_lints(&format!("#![{inner}]")).len(), 1);
        assert_eq!(
            silenced_lints(&format!("#[cfg_attr(test, {inner})]")).len(),
            1
        );
        assert!(silenced_lints("#[expect(dead_code, reason = \"x\")]\nallow(x)").is_empty());
    }

    #[test]
    fn a_registry_host_is_seen_anywhere() {
        for host in registry_hosts() {
            assert_eq!(
                private_lines(&format!("a\nhttps://index.{host}/x\nb")).len(),
                1
            );
        }
    }

    #[test]
    fn a_path_of_the_machine_is_seen_but_not_within_an_address() {
        for path in machine_paths() {
            for line in [
                format!("{path}x"),
                format!("see `{path}x`"),
                format!("a={path}x"),
            ] {
                assert_eq!(private_lines(&line).len(), 1, "{line}");
            }
            assert!(private_lines(&format!("https://kavach.example{path}x")).is_empty());
        }
    }
}
