//! The code on the page about plugins is the code that is run.

use std::fs;

use crate::cargo::root;

/// The code of a text, without the room around each line.
fn plain(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_block_of_the_page_stands_in_the_plugin_that_the_tests_run() {
    let page = fs::read_to_string(root().join("docs/plugins.md")).unwrap();
    let code = root().join("crates/kavachos-test/src/notes.rs");
    let code = plain(&fs::read_to_string(code).unwrap());
    let blocks: Vec<_> = page.split("```rust\n").skip(1).collect();
    assert!(blocks.len() >= 4, "the page was not read");
    for block in blocks {
        let block = plain(block.split("```").next().unwrap_or_default());
        assert!(code.contains(block.trim()), "not in notes.rs:\n{block}");
    }
}
