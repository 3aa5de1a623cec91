//! `docs/security-tests.md`, `docs/asvs.md`, `docs/sign-in-standards.md` and `docs/oauth-standards.md`: what they name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file, or with `*` in the place of its name all of a directory.
fn read(path: &str) -> Option<String> {
    let Some(directory) = path.strip_suffix("/*") else {
        return fs::read_to_string(root().join(path)).ok();
    };
    let entries = fs::read_dir(root().join(directory)).ok()?;
    let files = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    Some(files.collect())
}

/// The functions that a page names, as `path::name`.
fn named(page: &str) -> BTreeSet<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once("::")).collect()
}

/// A test of Rust, or one of the browser.
fn exists((path, name): &(&str, &str)) -> bool {
    let is_in = |source: String| {
        source.contains(&format!("fn {name}(")) || source.contains(&format!("test('{name}'"))
    };
    read(path).is_some_and(is_in)
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = read("docs/security-tests.md").unwrap();
    let named = named(&page);
    let missing: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named.len() > 15, "the page was not read");
    let of_tokens = [52, 53, 55, 56, 58, 60, 76, 78];
    let of_signing_in = [
        1, 2, 13, 17, 18, 37, 38, 42, 45, 46, 62, 64, 66, 67, 68, 70, 71, 73, 90,
    ];
    for row in of_tokens.into_iter().chain(of_signing_in) {
        assert!(page.contains(&format!("| {row} |")), "{row}");
    }
    // The twin: what is not there is missed.
    assert!(!exists(&(
        "crates/kavachos-core/tests/token/listed.rs",
        "no_such_test"
    )));
}

/// The short forms of paths in the tables of the standards.
const SHORT: [(&str, &str); 10] = [
    ("acceptance/", "crates/kavachos-http/tests/acceptance/"),
    ("auth/", "crates/kavachos-auth/src/"),
    ("core/", "crates/kavachos-core/src/"),
    ("engine/", "crates/kavachos-engine/src/"),
    ("http/", "crates/kavachos-http/src/"),
    ("cli/", "crates/kavachos-server/tests/cli/"),
    ("browser/", "tests/browser/"),
    ("oauth/", "crates/kavachos-oauth/src/"),
    ("verifier/", "crates/kavachos-verifier/src/"),
    ("clients/", "tests/clients/"),
];
/// How many requirements of levels 1 and 2 a section of ASVS 5.0 has. They come first in each.
const REQUIREMENTS: [(&str, usize); 13] = [
    ("6.1", 3),
    ("6.2", 12),
    ("6.3", 4),
    ("6.4", 4),
    ("6.5", 5),
    ("6.6", 3),
    ("6.8", 4),
    ("7.1", 3),
    ("7.2", 4),
    ("7.3", 2),
    ("7.4", 5),
    ("7.5", 2),
    ("7.6", 2),
];
const STATES: [&str; 5] = ["met", "partly", "not met", "n/a", "later"];

/// The path of a test as it is in the repository.
fn whole(path: &str) -> String {
    let of = |(short, long): &(&str, &str)| Some(format!("{long}{}", path.strip_prefix(short)?));
    SHORT.iter().find_map(of).unwrap_or_else(|| path.to_owned())
}

/// The cells of each row that begins with the number of a section.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let numbered = |row: &&str| {
        let number = row.strip_prefix("| ");
        number.is_some_and(|rest| rest.starts_with(char::is_numeric))
    };
    page.lines().filter(numbered).map(cells).collect()
}

fn cells(row: &str) -> Vec<&str> {
    let inner = row.trim_matches('|').split(" | ");
    inner.map(|cell| cell.trim_matches(['|', ' '])).collect()
}

/// Whatever stands under a short form of its path is there.
fn assert_named_tests_exist(page: &str) {
    let tests = named(page)
        .into_iter()
        .filter(|(path, _)| path.contains('/'));
    let tests: Vec<_> = tests.map(|(path, name)| (whole(path), name)).collect();
    let missing = tests.iter().filter(|(path, name)| !exists(&(path, name)));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&(String, &str)>::new());
    assert!(tests.len() > 40, "the page was not read");
}

/// Whoever says that something holds names a test, or says that there is none.
fn assert_says_how_it_is(row: &[&str]) {
    let state = row[row.len() - 3];
    assert!(STATES.contains(&state), "{row:?}");
    let says = !row[row.len() - 1].is_empty() || ["n/a", "later"].contains(&state);
    assert!(says, "{row:?}");
}

#[test]
fn the_tables_name_every_requirement_and_tests_that_exist() {
    let pages = ["docs/asvs.md", "docs/sign-in-standards.md"].map(|path| read(path).unwrap());
    for page in &pages {
        assert_named_tests_exist(page);
        for row in rows(page) {
            assert_says_how_it_is(&row);
        }
    }
    let asvs: Vec<_> = rows(&pages[0])
        .iter()
        .map(|row| row[0].to_owned())
        .collect();
    let all = REQUIREMENTS
        .iter()
        .flat_map(|(section, count)| (1..=*count).map(move |number| format!("{section}.{number}")));
    assert_eq!(asvs, all.collect::<Vec<_>>());
}

/// The sections of the fourth chapter of RFC 9700 and of the third of RFC 8725, of which each has a row.
const OF_RFC_9700: std::ops::RangeInclusive<u8> = 1..=17;
const OF_RFC_8725: std::ops::RangeInclusive<u8> = 1..=12;
/// The rows of the lists that the issue of the authorization server names.
const LESSONS: [&str; 27] = [
    "C 4", "C 6", "C 7", "C 9", "C 10", "C 13", "C 43", "C 50", "C 52", "C 53", "C 55", "C 56",
    "C 58", "C 60", "C 76", "C 78", "C 85", "C 92", "C 93", "C 94", "C 95", "A F19", "A F20",
    "A F21", "A F22", "A F23", "C 96",
];

#[test]
fn every_rule_for_oauth_has_a_state_and_tests_that_exist() {
    let page = read("docs/oauth-standards.md").unwrap();
    assert_named_tests_exist(&page);
    let tables: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(cells)
        .filter(|row| !["section", "row"].contains(&row[0]))
        .collect();
    let (attacks, rules): (Vec<_>, Vec<_>) = tables.iter().partition(|row| row.len() == 4);
    for row in &rules {
        assert!([5, 9].contains(&row.len()), "{row:?}");
        assert_says_how_it_is(row);
    }
    for row in &attacks {
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
    let (_, chapters) = page.split_once("## RFC 9700").unwrap();
    let (of_9700, chapters) = chapters.split_once("## RFC 8725").unwrap();
    let (of_8725, _) = chapters.split_once("## The Model").unwrap();
    let has = |chapter: &str, section: String| {
        let mut lines = chapter.lines().filter_map(|line| line.strip_prefix("| "));
        let is_it = |named: &str| named == section || named.starts_with(&format!("{section}."));
        lines.any(|line| {
            line.split(" | ")
                .next()
                .is_some_and(|cell| cell.split(", ").any(is_it))
        })
    };
    for section in OF_RFC_9700 {
        assert!(has(of_9700, format!("4.{section}")), "{section}");
    }
    for section in OF_RFC_8725 {
        assert!(has(of_8725, format!("3.{section}")), "{section}");
    }
    for lesson in LESSONS {
        assert!(attacks.iter().any(|row| row[0] == lesson), "{lesson}");
    }
    // The twin: what has no row is missed.
    assert!(!has(of_9700, "4.18".to_owned()));
}
