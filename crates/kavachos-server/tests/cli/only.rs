//! `--only`: one member of an answer, which no misspelt name loses.

use crate::commands::{ADA, both_ways, create};
use crate::support::{Place, files};

#[test]
fn one_member_of_an_answer_is_printed_and_nothing_else() {
    both_ways(|place| {
        let made = place.done(format!(
            "agent create {ADA} --name reader --allow 'read wiki:*' --only token"
        ));
        let token = made.out.strip_suffix('\n').unwrap();
        assert!(token.starts_with("kv_agent_") && !token.contains(char::is_whitespace));
        assert_eq!(made.err, "");
        let shown = |member: &str| place.done(format!("agent show reader --only {member}")).out;
        assert_eq!(shown("name"), "reader\n");
        assert_eq!(shown("expiresAt"), "null\n");
        assert!(shown("permissions").starts_with("[{"));
        let denied = place.run("--only allowed authorize --agent reader read docs:x");
        assert_eq!((denied.code, denied.out.as_str()), (1, "false\n"));
        let refused = place.run("agent show nobody --only id");
        assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    });
}

#[test]
fn a_name_that_the_answer_cannot_have_is_refused_before_anything_is_done() {
    both_ways(|place| {
        let line = format!("agent create {ADA} --name reader --allow 'read wiki:*' --only");
        let ran = place.run(format!("{line} tokn"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains("`tokn`") && ran.err.contains("`token`"));
        assert!(place.done("agent list").out.contains("nothing found"));
        // The twin: with a name that it has, it is done.
        place.done(format!("{line} token"));
        assert!(place.done("agent list").out.contains("reader"));
    });
}

#[test]
fn an_answer_that_does_not_have_the_member_this_time_is_printed_whole_elsewhere() {
    both_ways(|place| {
        create(place, "reader", ADA, "read wiki:*");
        let ran = place.run("authorize --agent reader read wiki:x --only approvalId");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains("no member `approvalId`"), "{ran:?}");
        assert!(ran.err.contains(r#""allowed":true"#), "{ran:?}");
    });
}

#[test]
fn the_first_key_is_not_lost_either() {
    let place = Place::new();
    let ran = place.run("init --only key");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(files(place.directory.path()).is_empty());
    let token = place.done("init --only token").out;
    assert!(token.starts_with("kv_key_") && token.lines().count() == 1);
    let root = place.done("backup --output copy.db --only root").out;
    assert_eq!(root.trim_end().len(), 64);
}

#[test]
fn what_is_no_answer_of_one_thing_has_no_members() {
    let mut place = Place::new();
    let key = place.init();
    place.set("KAVACH_KEY", key);
    for line in [
        "serve",
        "dev",
        "openapi",
        "completions bash",
        "config schema",
        "doctor",
        "events",
        "agent list --database kavach.db",
        "audit export --format json --database kavach.db",
        "export --database kavach.db",
        "agent show reader --json --database kavach.db",
    ] {
        let ran = place.run(format!("{line} --only id"));
        assert!(
            ran.code == 2 && ran.out.is_empty() && ran.err.contains("--only"),
            "{line}: {ran:?}"
        );
    }
}
