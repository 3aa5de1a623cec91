//! Every member of every accepted body, replaced by everything that does not belong there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::valid::{Valid, bodies};
use super::{Site, check};
use kavachos_test::blocking::{Answer, Client};

/// Stands for the mutation in the text of a body.
const MARK: &str = "@@mark@@";

/// What a member is replaced by, as bytes of JSON or of what is none.
struct Wrong {
    bytes: Vec<u8>,
    /// It can be accepted nowhere: it is no I-JSON.
    unreadable: bool,
}

fn wrong(text: impl Into<Vec<u8>>) -> Wrong {
    Wrong {
        bytes: text.into(),
        unreadable: false,
    }
}

fn unreadable(text: impl Into<Vec<u8>>) -> Wrong {
    Wrong {
        bytes: text.into(),
        unreadable: true,
    }
}

fn corpus() -> Vec<Wrong> {
    let text = |text: &str| wrong(Value::from(text).to_string());
    vec![
        wrong("null"),
        wrong("true"),
        wrong("0"),
        wrong("-1"),
        wrong("1.5"),
        wrong("9007199254740992"),
        wrong("[]"),
        wrong("[[]]"),
        wrong("[null]"),
        wrong("{}"),
        wrong(r#"{"a":{"b":[1]}}"#),
        text(""),
        text(" "),
        text("*"),
        text("1"),
        text("NaN"),
        text("a\u{0}b"),
        text("\u{202e}txt.exe"),
        text("\u{feff}"),
        text("'; DROP TABLE users; --"),
        text("../../etc/passwd"),
        text(&"x".repeat(100_000)),
        text(&"🦀".repeat(300)),
        text("2026-02-30T00:00:00Z"),
        text("agent_01h455vb4pex5vsknk084sn02q"),
        unreadable("NaN"),
        unreadable("-Infinity"),
        unreadable("9007199254740993"),
        unreadable("1e400"),
        unreadable("01"),
        unreadable("'a'"),
        unreadable("undefined"),
        unreadable(r#""\ud800""#),
        unreadable(r#""\x""#),
        unreadable(&b"\"\x01\""[..]),
        unreadable(&b"\"\xff\xfe\""[..]),
        unreadable(r#"{"a":1,"a":1}"#),
        unreadable(format!("{}{}", "[".repeat(40), "]".repeat(40))),
        unreadable("[".repeat(100_000)),
        unreadable(r#"{"a":"#.repeat(1_000)),
    ]
}

/// The JSON pointers of everything inside a value.
fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{here}/{name}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

/// The body with these bytes at the pointer.
fn replaced(body: &Value, pointer: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = MARK.into();
    let text = body.to_string();
    let (before, after) = text.split_once(&format!("\"{MARK}\"")).unwrap();
    [before.as_bytes(), bytes, after.as_bytes()].concat()
}

/// What the API may call the member at this pointer, or something around or inside it.
fn is_about(field: &str, pointer: &str) -> bool {
    let top = pointer.split('/').nth(1).unwrap_or("");
    // Two members that exclude or complete each other may be named for one another.
    let pairs = [
        ("owner", "ownerId"),
        ("ttlSeconds", "expiresAt"),
        ("from", "to"),
    ];
    field.starts_with(top)
        || pairs.iter().any(|(one, other)| {
            (top == *one && field.starts_with(other)) || (top == *other && field.starts_with(one))
        })
}

struct Case<'a> {
    valid: &'a Valid,
    pointer: String,
    body: Vec<u8>,
    unreadable: bool,
}

impl Case<'_> {
    fn judge(&self, answer: &Answer) {
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(700)]);
        let what = (self.valid.method, &self.valid.path, &self.pointer, shown);
        check(answer, &what);
        if self.unreadable {
            assert_eq!(
                (answer.status, answer.code()),
                (400, "malformed_request"),
                "{what:?}"
            );
        } else if answer.code() == "malformed_request" {
            assert!(
                is_about(answer.field(), &self.pointer),
                "{answer}\nto {what:?}"
            );
        }
    }
}

fn cases(valid: &Valid) -> Vec<Case<'_>> {
    let mut found = Vec::new();
    pointers(&valid.body, "", &mut found);
    let mut cases = Vec::new();
    for pointer in found {
        for wrong in corpus() {
            cases.push(Case {
                valid,
                body: replaced(&valid.body, &pointer, &wrong.bytes),
                unreadable: wrong.unreadable,
                pointer: pointer.clone(),
            });
        }
    }
    cases
}

/// Sends every case, on a few connections at once.
fn send_all(site: &Site, cases: &[Case<'_>]) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = site.world.operator();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    case.judge(&client.call(case.valid.method, &case.valid.path, &case.body));
                }
            });
        }
    });
}

#[test]
fn every_member_of_every_body_replaced_by_everything_wrong_is_refused_with_its_name() {
    let site = Site::new();
    let valid = bodies(&site);
    for valid in &valid {
        let answer = site.world.operator().call(
            valid.method,
            &valid.path,
            valid.body.to_string().as_bytes(),
        );
        assert!(answer.status < 300, "{answer} to {}", valid.body);
    }
    let cases: Vec<_> = valid.iter().flat_map(cases).collect();
    assert!(cases.len() > 2_000, "{}", cases.len());
    send_all(&site, &cases);
    site.is_well();
}

/// Whether the caller's own members stand here, which nobody else reads.
fn is_free_form(pointer: &str) -> bool {
    pointer.starts_with("/metadata") || pointer.starts_with("/arguments")
}

#[test]
fn an_unknown_member_anywhere_is_refused_with_its_name() {
    let site = Site::new();
    for valid in bodies(&site) {
        let mut places = vec![String::new()];
        pointers(&valid.body, "", &mut places);
        let objects = places.iter().filter(|place| {
            valid.body.pointer(place).is_some_and(Value::is_object) && !is_free_form(place)
        });
        for place in objects {
            let mut body = valid.body.clone();
            let members = body.pointer_mut(place).unwrap().as_object_mut().unwrap();
            members.insert("zzz".to_owned(), json!(1));
            let answer =
                site.world
                    .operator()
                    .call(valid.method, &valid.path, body.to_string().as_bytes());
            let what = (&valid.path, place);
            assert_eq!(
                (answer.status, answer.code()),
                (400, "malformed_request"),
                "{what:?}"
            );
            assert!(answer.text.contains("zzz"), "{answer} to {what:?}");
            assert!(!answer.field().is_empty(), "{answer} to {what:?}");
        }
    }
    site.is_well();
}

#[test]
fn a_member_that_stands_twice_is_refused_wherever_it_stands() {
    let site = Site::new();
    for valid in bodies(&site) {
        let mut places = Vec::new();
        pointers(&valid.body, "", &mut places);
        for place in places {
            let (_, name) = place.rsplit_once('/').unwrap();
            if name.parse::<usize>().is_ok() {
                continue;
            }
            let name = Value::from(name.replace("~1", "/"));
            let value = valid.body.pointer(&place).unwrap();
            let twice = replaced(
                &valid.body,
                &place,
                format!("{value},{name}:{value}").as_bytes(),
            );
            let answer = site
                .world
                .operator()
                .call(valid.method, &valid.path, &twice);
            assert_eq!(
                (answer.status, answer.code()),
                (400, "malformed_request"),
                "{place}"
            );
            assert!(answer.text.contains("twice"), "{answer}");
        }
    }
    site.is_well();
}

#[test]
fn bodies_that_are_no_object_too_long_or_broken_off_are_refused() {
    let site = Site::new();
    let path = "/api/v1/authorize";
    for body in [
        "null",
        "[]",
        "\"a\"",
        "1",
        "{",
        "{} {}",
        "\u{feff}{}",
        "<xml/>",
        "a=1&b=2",
    ] {
        let answer = site.world.operator().call("POST", path, body.as_bytes());
        check(&answer, &body);
        assert_eq!(
            (answer.status, answer.code()),
            (400, "malformed_request"),
            "{body}"
        );
    }
    for length in [256 * 1024 + 1, 300_000, 1 << 20, 8 << 20] {
        let body = format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        let answer = site
            .world
            .operator()
            .try_call("POST", path, body.as_bytes());
        let answer = answer.unwrap_or_else(|| panic!("no answer to a body of {length} bytes"));
        assert_eq!(
            (answer.status, answer.code()),
            (413, "too_large"),
            "{length}"
        );
    }
    let mut broken = Client::new(site.world.address(), None);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{\"a\"\r\nzz\r\n",
        site.world.operator,
    );
    let answer = broken.exchange(head.as_bytes()).unwrap();
    check(&answer, &"a broken chunk");
    assert_eq!(answer.status, 400);
    site.is_well();
}
