//! `docs/security-tests.md`: what it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn read(path: &str) -> Option<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).ok()
}

/// The functions that a page names, as `path::name`.
fn named(page: &str) -> BTreeSet<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once("::")).collect()
}

fn exists((path, name): &(&str, &str)) -> bool {
    read(path).is_some_and(|source| source.contains(&format!("fn {name}(")))
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = read("docs/security-tests.md").unwrap();
    let named = named(&page);
    let missing: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named.len() > 15, "the page was not read");
    for row in [52, 53, 55, 56, 58, 60, 76, 78] {
        assert!(page.contains(&format!("| {row} |")), "{row}");
    }
    // The twin: what is not there is missed.
    assert!(!exists(&(
        "crates/kavachos-core/tests/token/listed.rs",
        "no_such_test"
    )));
}
