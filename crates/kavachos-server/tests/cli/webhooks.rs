//! Webhooks from outside: the commands, the master key beside the database, and that a kill loses no message.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Place, eventually};

/// How a receiver treats those who come.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Takes the message and never answers.
    Silent,
    Acknowledges,
}

/// Listens on the loopback and keeps the ids of the messages that it acknowledged.
struct Receiver {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            manner: Arc::new(Mutex::new(manner)),
            acknowledged: Arc::default(),
        };
        let (manner, acknowledged) = (
            Arc::clone(&receiver.manner),
            Arc::clone(&receiver.acknowledged),
        );
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (manner, acknowledged) = (*manner.lock().unwrap(), Arc::clone(&acknowledged));
                thread::spawn(move || {
                    let id = message(&mut stream);
                    if manner == Manner::Silent {
                        // Until the other side gives up, or is killed.
                        let _ = stream.read(&mut [0; 1]);
                        return;
                    }
                    acknowledged.lock().unwrap().extend(id);
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                });
            }
        });
        receiver
    }

    fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }
}

/// Reads one message; its id.
fn message(stream: &mut TcpStream) -> Option<String> {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    let mut text = String::new();
    let mut part = [0; 4096];
    // The head, and a body that is one JSON object whose last member is a text.
    while !text.ends_with("\"}") {
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    let mut ids = text
        .lines()
        .filter_map(|line| line.strip_prefix("webhook-id: "));
    ids.next().map(str::to_owned)
}

fn place() -> (Place, String) {
    let mut place = Place::new();
    place.set("KAVACH_FETCH_LOOPBACK", "allow");
    let key = place.init();
    place.set("KAVACH_KEY", &key);
    (place, key)
}

/// The server is killed after records were committed and before any message about them was acknowledged.
#[test]
fn a_kill_between_a_commit_and_its_delivery_loses_no_message() {
    let (place, key) = place();
    let receiver = Receiver::start(Manner::Silent);
    let mut committed = BTreeSet::new();
    for round in 0..4 {
        let server = place.start("serve");
        let mut client = server.client(&key);
        if round == 0 {
            let url = format!("http://{}/", receiver.address);
            let hook = json!({ "url": url, "kinds": ["user.created"] });
            client.post("/api/v1/webhooks", &hook).expect(201);
        }
        for _ in 0..25 {
            let user = client
                .post("/api/v1/users", &json!({ "name": "Ada" }))
                .expect(201);
            committed.insert(user.id());
        }
        server.killed();
        assert_eq!(receiver.acknowledged(), Vec::<String>::new());
    }
    *receiver.manner.lock().unwrap() = Manner::Acknowledges;
    let server = place.start("serve");
    let mut client = server.client(&key);
    let listed = client
        .get("/api/v1/audit?kind=user.created&limit=1000")
        .expect(200);
    let records: BTreeSet<String> = listed
        .at("/data")
        .as_array()
        .unwrap()
        .iter()
        .map(id)
        .collect();
    assert!(records.len() >= committed.len() && committed.len() == 100);
    eventually("every record is told of", || {
        let told: BTreeSet<String> = receiver.acknowledged().into_iter().collect();
        told == records
    });
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

#[test]
fn webhooks_are_made_tested_changed_and_deleted_with_commands() {
    let (mut place, _) = place();
    let receiver = Receiver::start(Manner::Acknowledges);
    let server = place.start("serve");
    place.set("KAVACH_URL", &server.url);
    let url = format!("http://{}/", receiver.address);
    let made = place.done(format!(
        "webhook create {url} --kind agent.*,user.banned --name ops --json"
    ));
    assert!(made.member("secret").starts_with("whsec_"), "{made:?}");
    let hook = made.member("id");
    let listed = place.done("webhook list");
    assert!(
        listed.out.contains(&hook) && !listed.out.contains("whsec_"),
        "{listed:?}"
    );
    let tested = place.done(format!("webhook test {hook} --json"));
    assert_eq!(receiver.acknowledged(), [tested.member("auditId")]);
    place.done(format!("webhook update {hook} --status paused --kind '*'"));
    let shown = place.done(format!("webhook show {hook} --json")).json();
    assert_eq!(
        (&shown["data"]["status"], &shown["data"]["kinds"]),
        (&json!("paused"), &json!(["*"]))
    );
    place.done(format!("webhook rotate {hook} --overlap-seconds 0"));
    place.done(format!("webhook deliveries {hook}"));
    place.done(format!("webhook redeliver {hook}"));
    // Nothing listens where it goes now: the command says so and exits with 1.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    place.done(format!("webhook update {hook} --to http://{closed}/"));
    assert_eq!(place.run(format!("webhook test {hook}")).code, 1);
    place.done(format!("webhook delete {hook}"));
    assert_eq!(place.run(format!("webhook show {hook}")).code, 1);
}

#[test]
fn this_machine_is_called_only_where_that_is_configured() {
    let (mut place, _) = place();
    let database = "--database kavach.db";
    let create = format!("webhook create http://127.0.0.1:4000/ --kind '*' {database}");
    place.unset("KAVACH_FETCH_LOOPBACK");
    let refused = place.run(&create);
    assert!(
        refused.code == 1 && refused.err.contains("this machine"),
        "{refused:?}"
    );
    place.set("KAVACH_FETCH_LOOPBACK", "allow");
    place.done(&create);
}

/// A server that trusts less than it is told to would refuse what it should fetch: it says so at once.
#[test]
fn authorities_that_cannot_be_read_keep_a_server_from_starting() {
    let (mut place, _) = place();
    let path = place.path("authorities.pem");
    place.set("KAVACH_FETCH_CA_FILE", path.display());
    let refused = |why: &str| {
        let ran = place.run("serve --listen 127.0.0.1:0");
        assert_ne!(ran.code, 0, "{ran:?}");
        for told in ["authorities.pem", why] {
            assert!(ran.err.contains(told), "{told}: {ran:?}");
        }
    };
    refused("No such file");
    std::fs::write(&path, "no certificate").unwrap();
    refused("it holds no certificate");
    std::fs::write(
        &path,
        "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    refused("invalid peer certificate");
    let own = include_bytes!("../../../kavachos/src/fetch/testdata/root.pem");
    std::fs::write(&path, own.repeat(1_001)).unwrap();
    refused("it holds more than 1000 certificates");
    std::fs::write(&path, own.repeat(1_000)).unwrap();
    place.start("serve").killed();
}

#[test]
fn init_and_dev_make_a_private_master_key_and_nothing_replaces_it() {
    let (mut place, _) = place();
    let path = place.path("kavach.master-key");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let made = std::fs::read_to_string(&path).unwrap();
    assert!(made.starts_with("kv_master_"), "the prefix names it");
    drop(place.start("dev"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
    // One that was lost is made again by `init`, and then webhooks made before say what is wrong with them.
    let database = "--database kavach.db --json";
    let hook = place.done(format!(
        "webhook create https://hooks.example.com/ --kind '*' {database}"
    ));
    std::fs::remove_file(&path).unwrap();
    place.done("init");
    let shown = place.done(format!("webhook show {} {database}", hook.member("id")));
    assert!(shown.member("problem").contains("master key"), "{shown:?}");
    std::fs::write(&path, &made).unwrap();
    let shown = place
        .done(format!("webhook show {} {database}", hook.member("id")))
        .json();
    assert_eq!(shown["data"]["problem"], Value::Null);
    // What is no master key is refused, wherever it stands.
    std::fs::write(&path, "kv_key_x").unwrap();
    assert_ne!(place.run(format!("webhook list {database}")).code, 0);
    place.set("KAVACH_MASTER_KEY", made.trim());
    place.done(format!("webhook list {database}"));
}
