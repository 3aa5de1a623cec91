//! The binary at a terminal: what it prints there acts on nothing, and what it asks there a human answers.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::support::{LIMIT, Place};

/// What acts on terminals, as JSON may hold it.
const HOSTILE: [char; 6] = [
    '\u{7f}', '\u{85}', '\u{9b}', '\u{202e}', '\u{2028}', '\u{2069}',
];

/// A terminal: the side where a human would sit, and the side that programs are given.
fn terminal() -> (File, File) {
    let human = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&human).unwrap();
    unlockpt(&human).unwrap();
    let name = ptsname(&human, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let program = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    (human.into(), program.into())
}

/// Runs a command at a terminal where this was typed: its exit code, and all that the terminal was sent.
pub(crate) fn at_terminal(mut command: Command, typed: &str) -> (i32, String) {
    let (mut human, program) = terminal();
    human.write_all(typed.as_bytes()).unwrap();
    let stream = || Stdio::from(program.try_clone().unwrap());
    command.stdin(stream()).stdout(stream()).stderr(stream());
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    // The terminal ends once nobody has the side of programs any more.
    drop((command, program));
    let (send, ended) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // It ends with an error on Linux.
        let _ = human.read_to_end(&mut bytes);
        send.send((child.wait().unwrap(), bytes))
    });
    let (status, bytes) = ended.recv_timeout(LIMIT).unwrap_or_else(|_| {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("not finished in time")
    });
    (status.code().unwrap(), String::from_utf8(bytes).unwrap())
}

/// A database with an agent whose metadata acts on terminals.
fn hostile() -> Place {
    let mut place = Place::new();
    place.init();
    place.flags = ["--database", "kavach.db"].map(str::to_owned).to_vec();
    let note: String = HOSTILE
        .iter()
        .map(|c| format!("\\u{:04x}", *c as u32))
        .collect();
    place.done(format!(
        "agent create --owner-external demo:ada --name reader --allow 'read wiki:*' --metadata '{{\"note\":\"{note}\"}}'"
    ));
    place
}

fn acts(text: &str) -> bool {
    text.contains(HOSTILE)
}

fn values(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn json_acts_on_no_terminal_and_has_the_same_bytes_everywhere() {
    let place = hostile();
    let line = "agent show reader --json";
    let piped = place.done(line).out;
    let (code, shown) = at_terminal(place.command(line), "");
    assert_eq!((code, shown.replace("\r\n", "\n")), (0, piped.clone()));
    assert!(!acts(&piped), "{piped}");
    // The twin: what it stands for would act.
    let note = values(&piped)[0]["data"]["metadata"]["note"].clone();
    assert_eq!(note, Value::from(HOSTILE.iter().collect::<String>()));
}

#[test]
fn an_export_is_guarded_at_a_terminal_and_as_it_was_sent_in_a_pipe() {
    let place = hostile();
    for format in ["jsonl", "csv"] {
        let line = format!("audit export --format {format} --kind agent.created");
        let piped = place.done(&line).out;
        // The twin: in a pipe nothing is changed.
        assert!(acts(&piped), "{piped}");
        let (code, shown) = at_terminal(place.command(&line), "");
        assert!(code == 0 && !acts(&shown), "{shown}");
        assert!(shown.contains("\\u009b\\u202e"), "{shown}");
        assert_eq!(values(&shown), values(&piped));
    }
}

/// A database with a call that waits for a yes, and its request.
fn asked() -> (Place, String) {
    let mut place = Place::new();
    place.init();
    place.flags = ["--database", "kavach.db"].map(str::to_owned).to_vec();
    place.done(
        r#"agent create --owner-external demo:ada --name deployer --permission
        '{"resource":"mcp:deploy:*","actions":["execute"],"constraints":{"requireApproval":true}}'"#,
    );
    let line =
        r#"authorize --agent deployer execute mcp:deploy:site --arguments '{"to":"\u202eprod"}'"#;
    let id = place.run(format!("{line} --json")).member("approvalId");
    (place, id)
}

fn status(place: &Place, id: &str) -> String {
    place.done(format!("approval show {id} --only status")).out
}

#[test]
fn a_human_at_a_terminal_reads_the_very_call_and_says_yes() {
    let (place, id) = asked();
    let show = |member: &str| {
        let shown = place
            .done(format!("approval show {id} --only {member}"))
            .out;
        shown.trim_end().to_owned()
    };
    let (document, digest) = (show("document"), show("digest"));
    let line = format!("approval approve {id} --only status");
    let (code, seen) = at_terminal(place.command(&line), "y\n");
    assert_eq!(code, 0, "{seen}");
    assert!(
        seen.contains(&format!("document  {document}\r\n")),
        "{seen}"
    );
    assert!(seen.contains(&format!("digest    {digest}\r\n")), "{seen}");
    assert!(document.contains(r#""to":"\u202eprod""#) && !acts(&seen));
    assert!(seen.ends_with("approved\r\n"), "{seen}");
    assert_eq!(status(&place, &id), "approved\n");
    // Asked again, there is nothing to say yes to.
    let (code, seen) = at_terminal(place.command(&line), "y\n");
    assert!(code == 1 && seen.contains("nothing to approve"), "{seen}");
}

#[test]
fn anything_but_a_yes_and_nobody_to_ask_approve_nothing() {
    let (place, id) = asked();
    let line = format!("approval approve {id}");
    for typed in ["n\n", "\n", "yes, that\n", "\u{4}"] {
        let (code, seen) = at_terminal(place.command(&line), typed);
        assert!(code == 1 && seen.contains("[y/N]"), "{typed:?}: {seen}");
        assert_eq!(status(&place, &id), "pending\n");
    }
    let ran = place.run(&line);
    assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains("`--digest`"));
    assert_eq!(status(&place, &id), "pending\n");
}
