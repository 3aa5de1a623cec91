//! Which crate may use which: `core <- store <- engine <- {auth, oauth} <- http <- kavachos <- server`, and
//! `core <- verifier`. Levels may be skipped. Only tests may use `kavachos-test`, which may use everything; and the
//! tests of a crate may use that crate with more features. The pages that the facade runs show the verifier, too.

use crate::cargo::{Dependency, Package, workspace};

/// A crate may use those of the levels below its own.
const LEVELS: [&[&str]; 7] = [
    &["kavachos-core"],
    &["kavachos-store"],
    &["kavachos-engine"],
    &["kavachos-auth", "kavachos-oauth"],
    &["kavachos-http"],
    &["kavachos"],
    &["kavachos-server"],
];

/// Checks tokens where KavachOS does not run, so it brings nothing but the core.
const VERIFIER: &str = "kavachos-verifier";
const TEST_SUPPORT: &str = "kavachos-test";
/// Whose doctests are README.md and the pages of the book.
const PAGES: &str = "kavachos";

fn level(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&name))
}

fn may_use(user: &str, used: &str) -> bool {
    match user {
        TEST_SUPPORT => true,
        VERIFIER => used == "kavachos-core",
        _ => level(used) < level(user) && level(used).is_some(),
    }
}

/// What tests may use beyond the order: the shared support, their own crate, and of the pages of the book the verifier.
fn is_for_tests(user: &Package, used: &Dependency) -> bool {
    let is_shown = user.name == PAGES && used.name == VERIFIER;
    let is_support = [TEST_SUPPORT, &user.name].contains(&used.name.as_str());
    used.kind.as_deref() == Some("dev") && (is_shown || is_support)
}

fn has_a_place(name: &str) -> bool {
    level(name).is_some() || [VERIFIER, TEST_SUPPORT].contains(&name)
}

/// Crates without a place in the order, and uses against it.
fn direction_faults(packages: &[Package]) -> Vec<String> {
    let strangers = packages
        .iter()
        .filter(|package| !has_a_place(&package.name))
        .map(|package| format!("`{}` has no place in the order of crates", package.name));
    let uses = packages.iter().flat_map(|package| {
        package
            .dependencies
            .iter()
            .filter(|used| used.path.is_some())
            .filter(|used| !is_for_tests(package, used))
            .filter(|used| !may_use(&package.name, &used.name))
            .map(|used| format!("`{}` must not use `{}`", package.name, used.name))
    });
    strangers.chain(uses).collect()
}

#[test]
fn crates_use_only_those_below_them() {
    assert_eq!(
        direction_faults(&workspace().packages),
        Vec::<String>::new()
    );
}

mod twin {
    use super::direction_faults;
    use crate::cargo::{Dependency, Package};

    fn faults(user: &str, used: &str, kind: Option<&str>) -> Vec<String> {
        let package = Package {
            name: user.to_owned(),
            license: None,
            manifest_path: "Cargo.toml".into(),
            dependencies: vec![Dependency {
                name: used.to_owned(),
                kind: kind.map(str::to_owned),
                path: Some("..".into()),
            }],
            targets: Vec::new(),
        };
        direction_faults(&[package])
    }

    #[test]
    fn a_use_upwards_or_sideways_is_a_fault() {
        for (user, used) in [
            ("kavachos-core", "kavachos-store"),
            ("kavachos-engine", "kavachos-http"),
            ("kavachos-auth", "kavachos-oauth"),
            ("kavachos-http", "kavachos-server"),
        ] {
            for kind in [None, Some("dev"), Some("build")] {
                let expected = format!("`{user}` must not use `{used}`");
                assert_eq!(faults(user, used, kind), [expected], "as {kind:?}");
            }
        }
    }

    #[test]
    fn a_use_downwards_may_skip_levels() {
        assert!(faults("kavachos-server", "kavachos-core", None).is_empty());
        assert!(faults("kavachos-http", "kavachos-engine", None).is_empty());
    }

    #[test]
    fn the_verifier_uses_the_core_alone_and_nothing_uses_it() {
        assert!(faults("kavachos-verifier", "kavachos-core", None).is_empty());
        assert_eq!(faults("kavachos-verifier", "kavachos-store", None).len(), 1);
        assert_eq!(faults("kavachos", "kavachos-verifier", None).len(), 1);
        // The pages that are run show it.
        assert!(faults("kavachos", "kavachos-verifier", Some("dev")).is_empty());
        assert_eq!(
            faults("kavachos-http", "kavachos-verifier", Some("dev")).len(),
            1
        );
    }

    #[test]
    fn test_support_is_for_tests() {
        assert!(faults("kavachos-core", "kavachos-test", Some("dev")).is_empty());
        assert_eq!(faults("kavachos-core", "kavachos-test", None).len(), 1);
        assert_eq!(
            faults("kavachos-core", "kavachos-test", Some("build")).len(),
            1
        );
    }

    #[test]
    fn the_tests_of_a_crate_may_ask_for_more_of_its_features() {
        assert!(faults("kavachos-store", "kavachos-store", Some("dev")).is_empty());
        assert_eq!(faults("kavachos-store", "kavachos-store", None).len(), 1);
    }

    #[test]
    fn a_crate_that_the_order_does_not_know_is_a_fault() {
        assert_eq!(
            faults("kavachos-utils", "kavachos-core", None),
            [
                "`kavachos-utils` has no place in the order of crates",
                "`kavachos-utils` must not use `kavachos-core`"
            ]
        );
    }
}
