//! What the crates that also run as WebAssembly may not bring with them: a runtime, a socket, C code, or randomness
//! that the target does not have.

use std::collections::BTreeSet;

use crate::cargo::{wasm_tree, workspace};

const PORTABLE: [&str; 6] = [
    "kavachos-core",
    "kavachos-store",
    "kavachos-engine",
    "kavachos-auth",
    "kavachos-oauth",
    "kavachos-http",
];

/// Never, whatever the features. A trailing `*` stands for any ending.
const BANNED: [&str; 11] = [
    "async-std",
    "aws-lc-*",
    "libsqlite3-sys",
    "mio",
    "native-tls",
    "openssl*",
    "ring",
    "rusqlite",
    "smol",
    "socket2",
    "sqlite-wasm-rs",
];

/// What tokio may be used for: its channels and its traits. Anything else needs its runtime or the system.
const TOKIO_FEATURES: [&str; 6] = [
    "bytes",
    "default",
    "io-util",
    "macros",
    "sync",
    "tokio-macros",
];

/// Any one of these lets `getrandom` draw from the JavaScript host.
const GETRANDOM_ON_WASM: [&str; 2] = ["js", "wasm_js"];

/// The store is a contract; its executors are features and run on native machines.
fn features(package: &str) -> &'static [&'static str] {
    match package {
        "kavachos-store" => &["--no-default-features"],
        _ => &[],
    }
}

fn is_banned(name: &str) -> bool {
    BANNED
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
}

fn fault(name: &str, features: &BTreeSet<&str>) -> Option<String> {
    if is_banned(name) {
        return Some(format!("`{name}` does not run everywhere"));
    }
    if name == "getrandom" && !GETRANDOM_ON_WASM.iter().any(|one| features.contains(one)) {
        return Some("`getrandom` has no source of randomness: take it as an argument".to_owned());
    }
    if name == "tokio" {
        let native = features
            .iter()
            .find(|feature| !TOKIO_FEATURES.contains(feature))?;
        return Some(format!("`tokio` with `{native}` needs a native machine"));
    }
    None
}

/// The faults in lines of the form `name version|feature,feature`.
fn portability_faults(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| {
            let (package, features) = line.trim_end_matches(" (*)").split_once('|')?;
            let name = package.split(' ').next()?;
            let features = features.split(',').filter(|feature| !feature.is_empty());
            fault(name, &features.collect())
        })
        .collect()
}

#[test]
fn portable_crates_bring_nothing_native() {
    let packages = workspace().packages;
    let present = PORTABLE
        .iter()
        .filter(|name| packages.iter().any(|package| package.name == **name));
    for name in present {
        let tree = wasm_tree(name, features(name));
        assert!(
            tree.starts_with(&format!("{name} ")),
            "the tree of `{name}` is {tree}"
        );
        assert_eq!(portability_faults(&tree), BTreeSet::new(), "in `{name}`");
    }
}

mod twin {
    use super::portability_faults;

    fn count(tree: &str) -> usize {
        portability_faults(tree).len()
    }

    #[test]
    fn native_crates_are_faults_wherever_they_stand() {
        for name in [
            "mio",
            "ring",
            "rusqlite",
            "libsqlite3-sys",
            "aws-lc-sys",
            "aws-lc-rs",
            "openssl",
            "openssl-sys",
        ] {
            let tree =
                format!("kavachos-core v0.1.0 (path)|\nserde v1.0.0|std\n{name} v1.0.0| (*)\n");
            assert_eq!(count(&tree), 1, "{name}");
        }
        assert_eq!(count("ringbuf v1.0.0|\nmioco v1.0.0|"), 0);
    }

    #[test]
    fn tokio_is_a_fault_once_it_needs_a_runtime() {
        assert_eq!(count("tokio v1.54.1|default,io-util,sync"), 0);
        assert_eq!(count("tokio v1.54.1|"), 0);
        for feature in ["rt", "rt-multi-thread", "net", "time", "fs", "full"] {
            assert_eq!(count(&format!("tokio v1.54.1|sync,{feature} (*)")), 1);
        }
    }

    #[test]
    fn getrandom_is_a_fault_without_a_source_on_wasm() {
        assert_eq!(count("getrandom v0.4.3|std,sys_rng"), 1);
        assert_eq!(count("getrandom v0.2.17|"), 1);
        assert_eq!(count("getrandom v0.4.3|std,wasm_js"), 0);
    }
}
