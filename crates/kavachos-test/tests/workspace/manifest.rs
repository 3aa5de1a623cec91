//! What every `Cargo.toml` must say: one binary, the shared lint table, the licence.

use crate::cargo::{Package, root, workspace};

const BINARY: &str = "kavach";
const LICENCE: &str = "MIT";

/// `cargo run` needs no name only while there is exactly one binary.
fn binary_faults(packages: &[Package]) -> Vec<String> {
    let binaries: Vec<&str> = packages
        .iter()
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
        .map(|target| target.name.as_str())
        .collect();
    if binaries == [BINARY] {
        return Vec::new();
    }
    vec![format!(
        "the binaries are {binaries:?}: there is one, `{BINARY}`; make others an example"
    )]
}

fn licence_faults(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .filter(|package| package.license.as_deref() != Some(LICENCE))
        .map(|package| format!("`{}` is not under {LICENCE}", package.name))
        .collect()
}

/// The lines of one table of a manifest, without blanks and comments.
fn table<'a>(manifest: &'a str, header: &str) -> Vec<&'a str> {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Whether a crate takes the workspace's lints, all of them.
fn inherits_lints(manifest: &str) -> bool {
    table(manifest, "[lints]") == ["workspace = true"]
}

/// Default members would silently leave crates out of `cargo test`.
fn has_default_members(manifest: &str) -> bool {
    table(manifest, "[workspace]")
        .iter()
        .any(|line| line.starts_with("default-members"))
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).expect("the manifest can be read")
}

#[test]
fn the_only_binary_is_kavach() {
    assert_eq!(binary_faults(&workspace().packages), Vec::<String>::new());
}

#[test]
fn every_crate_is_under_mit() {
    assert_eq!(licence_faults(&workspace().packages), Vec::<String>::new());
}

#[test]
fn every_crate_takes_the_lint_table_of_the_workspace() {
    for package in workspace().packages {
        assert!(
            inherits_lints(&read(&package.manifest_path)),
            "`{}` needs `[lints] workspace = true`",
            package.name
        );
    }
}

#[test]
fn no_crate_is_left_out_by_default() {
    assert!(!has_default_members(&read(&root().join("Cargo.toml"))));
}

mod twin {
    use super::{binary_faults, has_default_members, inherits_lints, licence_faults};
    use crate::cargo::{Package, Target};

    fn package(license: Option<&str>, targets: &[(&str, &str)]) -> Package {
        Package {
            name: "sample".to_owned(),
            license: license.map(str::to_owned),
            manifest_path: "Cargo.toml".into(),
            dependencies: Vec::new(),
            targets: targets
                .iter()
                .map(|(name, kind)| Target {
                    name: (*name).to_owned(),
                    kind: vec![(*kind).to_owned()],
                })
                .collect(),
        }
    }

    #[test]
    fn a_missing_second_or_misnamed_binary_is_a_fault() {
        for targets in [
            &[][..],
            &[("kavachos", "bin")],
            &[("kavach", "bin"), ("tool", "bin")],
            &[("kavach", "bin"), ("kavach", "bin")],
        ] {
            assert_eq!(binary_faults(&[package(None, targets)]).len(), 1);
        }
        let fine = [("kavach", "bin"), ("story", "example"), ("kavachos", "lib")];
        assert!(binary_faults(&[package(None, &fine)]).is_empty());
    }

    #[test]
    fn another_licence_or_none_is_a_fault() {
        for license in [None, Some("Apache-2.0"), Some("MIT OR Apache-2.0")] {
            assert_eq!(licence_faults(&[package(license, &[])]).len(), 1);
        }
    }

    #[test]
    fn a_lint_table_of_its_own_is_a_fault() {
        assert!(inherits_lints(
            "[package]\n[lints]\nworkspace = true\n\n[dependencies]"
        ));
        for manifest in [
            "",
            "[lints]\n",
            "[lints]\n# workspace = true",
            "[lints]\nworkspace = false",
            "[lints.rust]\nunsafe_code = \"deny\"",
            "[dependencies]\nworkspace = true",
        ] {
            assert!(!inherits_lints(manifest), "{manifest}");
        }
    }

    #[test]
    fn default_members_are_seen() {
        let manifest = "[workspace]\nmembers = [\"a\"]\n  default-members = [\"a\"]\n[profile.dev]";
        assert!(has_default_members(manifest));
        assert!(!has_default_members("[workspace]\n# default-members = []"));
    }
}
