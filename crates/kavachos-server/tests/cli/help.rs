//! The help of every command is a committed file. After a change, look at the difference and write it anew:
//! `cargo run -q -- reference > crates/kavachos-server/tests/golden/help.txt`

use crate::support::Place;

#[test]
fn the_help_of_every_command_is_the_committed_one() {
    let shown = Place::new().done("reference").out;
    let golden = include_str!("../golden/help.txt");
    for (number, (shown, golden)) in shown.lines().zip(golden.lines()).enumerate() {
        assert_eq!(shown, golden, "line {} differs from the golden", number + 1);
    }
    assert_eq!(shown.lines().count(), golden.lines().count());
}

#[test]
fn help_and_version_go_to_standard_output_and_are_no_error() {
    let place = Place::new();
    for line in ["--help", "--version", "agent create --help", "help serve"] {
        let ran = place.done(line);
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{ran:?}");
    }
}

#[test]
fn what_cannot_be_typed_is_refused_with_exit_code_2() {
    let place = Place::new();
    for line in [
        "",
        "agnet",
        "agent",
        "agent create --name x --allow 'read a'",
        "agent create --owner a --owner-external b:c --name x --allow 'read a'",
        "agent create --owner-external nocolon --name x --allow 'read a'",
        "agent create --owner-external b:c --name x --allow read",
        "agent create --owner-external b:c --name x",
        "agent create --owner-external b:c --name x --permission {",
        "delegate --from a --to b --allow 'read a' --reason r --ttl 1y",
        "authorize read",
        "authorize read a --cost many",
        "key create --name x",
        "resource create --audience https://a.example --name x",
        "resource create --audience https://a.example --name x --scope undescribed",
        "resource update resource_01h455vb4pex5vsknk084sn02q --critical maybe",
        "client create --redirect-uri https://a.example/cb",
        "client list --source nobody",
        "audit query --outcome maybe",
        "agent list --limit -1",
        "agent list --url http://localhost:1 --database x.db",
        "--url http://localhost:1 agent list --database x.db",
        "serve --url http://localhost:1",
        "dev --nonsense",
    ] {
        let ran = place.run(line);
        let told = ran.out.is_empty() && !ran.err.is_empty();
        assert!(ran.code == 2 && told, "{line}: {ran:?}");
    }
}
