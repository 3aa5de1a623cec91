//! Asks cargo about the workspace. Reads only; needs the network only for crates that were never downloaded.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// What `cargo metadata` says, as far as the rules look at it.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Set when it is found by path, as the workspace's own crates are.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// The members of this workspace.
pub(crate) fn workspace() -> Workspace {
    let json = run(&["metadata", "--format-version=1", "--no-deps", "--locked"]);
    serde_json::from_str(&json).expect("cargo metadata prints JSON")
}

/// The normal dependencies of a package on WebAssembly, one line `name version|feature,feature` each.
///
/// Procedural macros run in the compiler and are left out. The target itself need not be installed.
pub(crate) fn wasm_tree(package: &str, features: &[&str]) -> String {
    let tree = [
        "tree",
        "--locked",
        "--edges=normal,no-proc-macro",
        "--target=wasm32-unknown-unknown",
        "--prefix=none",
        "--format={p}|{f}",
        "--package",
        package,
    ];
    run(&[&tree, features].concat())
}

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lives in crates/")
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "`cargo {}` failed; without a network run `cargo fetch --locked` once before: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}
