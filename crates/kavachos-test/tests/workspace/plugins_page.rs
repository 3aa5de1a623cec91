//! The code on the page about plugins is the code that is run.

use std::fs;

use crate::cargo::root;

/// The plugins that the page shows, which the acceptance tests run.
const PLUGINS: [&str; 2] = [
    "crates/kavachos-test/src/notes.rs",
    "crates/kavachos-auth/src/anonymous.rs",
];

/// The code of a text, without the room around each line.
fn plain(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_block_of_the_page_stands_in_a_plugin_that_the_tests_run() {
    let page = fs::read_to_string(root().join("docs/plugins.md")).unwrap();
    let code = PLUGINS.map(|path| plain(&fs::read_to_string(root().join(path)).unwrap()));
    let blocks: Vec<_> = page.split("```rust\n").skip(1).collect();
    assert!(blocks.len() >= 4, "the page was not read");
    for block in blocks {
        let block = plain(block.split("```").next().unwrap_or_default());
        let stands = code.iter().any(|code| code.contains(block.trim()));
        assert!(stands, "in none of {PLUGINS:?}:\n{block}");
    }
}
