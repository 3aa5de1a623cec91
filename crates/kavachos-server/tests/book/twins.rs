//! The runner finds what is wrong: small pages with one fault each, and their twins without it.

use std::path::Path;

use crate::machine::Surroundings;
use crate::page::Page;
use crate::run::run;

/// What the runner says of a page; `None` when all is as it says.
fn fault(text: &str) -> Option<String> {
    // A page is written with single quotes for its fences.
    let text = text.replace("'''", "```");
    let page = match Page::parse(Path::new("small.md"), &text) {
        Ok(page) => page,
        Err(fault) => return Some(fault),
    };
    let (_, faults) = run(&page, &Surroundings::plain());
    faults.into_iter().next()
}

/// The first page has this fault; the second, almost the same, none.
#[track_caller]
fn twins(faulty: &str, words: &str, sound: &str) {
    let found = fault(faulty).unwrap_or_else(|| panic!("no fault was found: {faulty}"));
    assert!(found.contains(words), "{found}");
    assert_eq!(fault(sound), None);
}

#[test]
fn another_output_than_the_page_says_is_found() {
    twins(
        "'''sh\necho allowed\n'''\n'''text\ndenied\n'''",
        "small.md:4: the page says `denied`",
        "'''sh\necho allowed\n'''\n'''text\nallowed\n'''",
    );
    twins(
        "'''sh\necho '{\"a\": 1}'\n'''\n'''json\n{\"a\": 2}\n'''",
        "the page says 2",
        "'''sh\necho '{\"a\": 1}'\n'''\n'''json\n{\"a\": 1}\n'''",
    );
}

#[test]
fn a_command_that_fails_is_found_also_in_the_middle_of_a_block() {
    twins(
        "'''sh\nfalse\ntrue\n'''",
        "small.md:1: a command failed",
        "'''sh\ntrue\ntrue\n'''",
    );
    twins(
        "'''sh\necho \"$nobody\"\n'''",
        "a command failed",
        "'''sh\na=1\n'''\n'''sh\ntest \"$a\" = 1\n'''",
    );
}

#[test]
fn another_exit_code_than_the_page_says_is_found() {
    twins(
        "'''sh exit=1\ntrue\n'''",
        "it exits with 0, not 1",
        "'''sh exit=1\nfalse\n'''",
    );
    // An earlier command of the block must not fail in its stead.
    twins(
        "'''sh exit=1\nsh -c 'exit 2'\nfalse\n'''",
        "it exits with 2, not 1",
        "'''sh exit=2\nsh -c 'exit 2'\n'''",
    );
}

#[test]
fn a_block_that_is_never_run_is_found() {
    twins(
        "'''console\n$ ls\n'''",
        "nothing runs a block of `console`",
        "<!-- not run: it is an example of what you see -->\n'''console\n$ ls\n'''",
    );
    twins(
        "'''python\n# a.py\nprint(1)\n'''",
        "no later block uses this file",
        "'''python\n# a.py\nprint(1)\n'''\n'''sh\ncat a.py\n'''",
    );
    twins(
        "'''text\nallowed\n'''",
        "no `sh` block before it printed this",
        "'''sh\necho allowed\n'''\n'''text\nallowed\n'''",
    );
    twins(
        "- one\n  '''sh\n  false\n  '''",
        "must begin at the beginning of a line",
        "- one\n'''sh\ntrue\n'''",
    );
    twins(
        "'''rust\nfn main() {}\n'''",
        "does not include this page",
        "",
    );
    twins(
        "'''sh hidden=1\ntrue\n'''",
        "has no `hidden`",
        "'''sh\ntrue\n'''",
    );
}

#[test]
fn another_terminal_is_waited_for_and_has_only_the_variables_of_a_new_one() {
    let page = "'''sh\nexport a=1\n'''\n'''sh terminal=one until=\"b\"\necho b${a-}c\nsleep 60\n'''\n'''text terminal=one\n";
    twins(
        &format!("{page}b1c\n'''"),
        "the page says `b1c`",
        &format!("{page}bc\n'''"),
    );
}
