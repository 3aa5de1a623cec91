//! `kavach events`: records as they come, across a server that is killed.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{LIMIT, Place, Server, eventually, finish, lines};

/// A command that follows a server.
struct Follower {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Follower {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap()).into_inner().unwrap();
        let err = lines(child.stderr.take().unwrap()).into_inner().unwrap();
        Self { child, out, err }
    }

    /// The next record that it prints.
    fn record(&self) -> Value {
        let line = self.out.recv_timeout(LIMIT).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Waits until it says this.
    fn says(&self, words: &str) {
        while !self.err.recv_timeout(LIMIT).unwrap().contains(words) {}
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; its exit code.
    fn ended(mut self) -> Option<i32> {
        loop {
            match self.out.recv_timeout(LIMIT) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it did not end"),
            }
        }
        self.child.wait().unwrap().code()
    }
}

fn served() -> (Place, Server, String) {
    let mut place = Place::new();
    let key = place.init();
    place.set("KAVACH_KEY", &key);
    let server = place.start("serve");
    place.set("KAVACH_URL", &server.url);
    (place, server, key)
}

fn create(server: &Server, key: &str) -> String {
    let made = server
        .client(key)
        .post("/api/v1/users", &json!({ "name": "Ada" }));
    made.expect(201).id()
}

fn numbers(place: &Place) -> Vec<u64> {
    let listed = place
        .done("audit query --kind user.created --limit 1000 --json")
        .json();
    let mut seqs: Vec<u64> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    seqs.reverse();
    seqs
}

#[test]
fn records_come_once_each_also_after_the_server_was_killed() {
    let (place, server, key) = served();
    for _ in 0..3 {
        create(&server, &key);
    }
    let address = server.address().to_owned();
    let follower = Follower::start(place.command("events --kind user.created --after 0 --json"));
    let mut seen: Vec<u64> = Vec::new();
    let mut take = |count: usize| {
        for _ in 0..count {
            seen.push(follower.record()["seq"].as_u64().unwrap());
        }
    };
    take(3);
    create(&server, &key);
    take(1);
    server.killed();
    follower.says("back in");
    let server = Server::start(place.command(format!("serve --listen {address}")));
    for _ in 0..3 {
        create(&server, &key);
    }
    take(3);
    assert_eq!(seen, numbers(&place));
    follower.signal(Signal::INT);
    assert_eq!(follower.ended(), Some(0));
}

#[test]
fn without_a_number_it_begins_with_what_comes_next_in_lines_for_people() {
    let (place, server, key) = served();
    let before = create(&server, &key);
    let follower = Follower::start(place.command("events"));
    let mut printed = String::new();
    eventually("a record is printed", || {
        create(&server, &key);
        printed = follower.out.try_recv().unwrap_or_default();
        !printed.is_empty()
    });
    assert!(
        printed.contains("user.created") && !printed.contains(&before) && !printed.starts_with('{'),
        "{printed}"
    );
    follower.signal(Signal::TERM);
    assert_eq!(follower.ended(), Some(0));
}

#[test]
fn it_ends_with_1_where_coming_back_makes_no_sense_and_quietly_when_nobody_reads() {
    let (mut place, server, key) = served();
    // The key dies while its stream is open.
    let made = place.done("key create --name watcher --scope audit:read --json");
    place.set("KAVACH_KEY", made.member("token"));
    let follower = Follower::start(place.command("events --after 0 --json"));
    follower.record();
    place.set("KAVACH_KEY", &key);
    place.done(format!("key revoke {}", made.member("id")));
    follower.says("credential is dead");
    assert_eq!(follower.ended(), Some(1));

    let mut command = place.command("events --after 0");
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(Stdio::from(writer));
    drop(reader);
    let ran = finish(command);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));

    assert_eq!(place.run("events --after 1000000").code, 1);
    assert_eq!(place.run("events --database kavach.db").code, 2);
    place.set("KAVACH_KEY", "kv_key_x");
    assert_eq!(place.run("events").code, 1);
    drop(server);
    place.set("KAVACH_KEY", &key);
    let nobody = place.run("events");
    assert!(
        nobody.code == 1 && nobody.err.contains("cannot reach"),
        "{nobody:?}"
    );
}
