//! Any bytes in any header, path, query, cursor or body, drawn by proptest.

use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Site, check};
use kavachos_test::blocking::{Answer, Client, Request};

/// How many cases each property has.
const CASES: u32 = 250;

/// Bytes, often with the ones that mean something to a parser.
fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(b"\0%:/?&=*.,;[]{}\"'\\ \t+#@!-_\xff\xc3\x28\x80".to_vec());
    let byte = prop_oneof![any::<u8>(), telling, b'0'..=b'9', b'a'..=b'z'];
    prop::collection::vec(byte, 0..longest)
}

/// Bytes without those that end a header line.
fn line(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    bytes(longest).prop_map(|mut bytes| {
        bytes.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        bytes
    })
}

/// Percent-encodes everything, so that any bytes are a path or a query.
fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

fn run<S: Strategy>(strategy: S, case: impl Fn(S::Value)) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let run = runner.run(&strategy, |value| {
        case(value);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

/// One connection, used by one case after the other.
struct Line(Mutex<Client>);

impl Line {
    fn send(&self, request: &Request<'_>) -> Answer {
        let mut client = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let answer = client.send(request);
        answer.unwrap_or_else(|| panic!("no answer to {:?}", request.target))
    }
}

#[test]
fn any_bytes_in_a_header_are_answered() {
    const HEADERS: [&str; 9] = [
        "Authorization",
        "Idempotency-Key",
        "X-Forwarded-For",
        "Content-Type",
        "Cookie",
        "User-Agent",
        "Accept",
        "X-Request-Id",
        "Expect",
    ];
    let site = Site::new();
    let client = Line(Mutex::new(site.world.operator()));
    let body = format!(
        r#"{{"agentId":"{}","action":"read","resource":"mcp:x"}}"#,
        site.giver.id
    );
    let header = prop::sample::select(HEADERS.to_vec());
    run((header, line(80)), |(name, value)| {
        // Any expectation but the one that is known is refused by hyper or ignored.
        let answer = client.send(&Request {
            method: "POST",
            target: b"/api/v1/authorize",
            headers: &[(name, &value)],
            body: body.as_bytes(),
        });
        check(&answer, &(name, String::from_utf8_lossy(&value)));
    });
    site.is_well();
}

#[test]
fn any_credential_is_refused_without_being_repeated() {
    let site = Site::new();
    let client = Line(Mutex::new(site.world.stranger()));
    let prefixes = prop::sample::select(vec!["", "kv_agent_", "kv_key_", "kv_sess_", "kv_res_"]);
    run((prefixes, line(70)), |(prefix, rest)| {
        let value = [b"Bearer ", prefix.as_bytes(), &rest].concat();
        let answer = client.send(&Request {
            method: "GET",
            target: b"/api/v1/agents",
            headers: &[("Authorization", &value)],
            body: b"",
        });
        check(&answer, &value);
        let own = answer.text.is_empty() && answer.status == 400;
        assert!(
            own || (answer.status, answer.code()) == (401, "unauthenticated"),
            "{answer}"
        );
    });
    site.is_well();
}

#[test]
fn any_bytes_in_a_path_are_answered() {
    let site = Site::new();
    let client = Line(Mutex::new(site.world.operator()));
    let methods = prop::sample::select(vec![
        "GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "FOO",
    ]);
    let heads = prop::sample::select(vec![
        "/",
        "/api/v1/",
        "/api/v1/agents/",
        "/api/v1/users/",
        "/api/v1/keys/",
        "/api/v1/audit/",
        "/api/v1/delegations/",
        "/api/v1/agents/agent_01h455vb4pex5vsknk084sn02q/",
    ]);
    run(
        (methods, heads, bytes(60), any::<bool>()),
        |(method, head, tail, raw)| {
            let tail = if raw {
                let keep = |byte: &u8| byte.is_ascii_graphic() && !b"?#".contains(byte);
                tail.into_iter().filter(keep).collect()
            } else {
                encoded(&tail).into_bytes()
            };
            let target = [head.as_bytes(), &tail].concat();
            let answer = client.send(&Request {
                method,
                target: &target,
                headers: &[],
                body: b"",
            });
            check(&answer, &String::from_utf8_lossy(&target));
        },
    );
    site.is_well();
}

/// The lists, with the parameters that each knows.
const LISTS: &[(&str, &[&str])] = &[
    (
        "/api/v1/agents",
        &["ownerId", "status", "type", "limit", "cursor"],
    ),
    ("/api/v1/delegations", &["from", "to", "limit", "cursor"]),
    ("/api/v1/users", &["limit", "cursor"]),
    ("/api/v1/keys", &["limit", "cursor"]),
    (
        "/api/v1/audit",
        &[
            "agentId",
            "userId",
            "member",
            "action",
            "resource",
            "outcome",
            "code",
            "kind",
            "requestId",
            "since",
            "until",
            "limit",
            "cursor",
        ],
    ),
];

#[test]
fn any_bytes_in_a_parameter_are_refused_with_its_name() {
    let site = Site::new();
    let client = Line(Mutex::new(site.world.operator()));
    for (path, names) in LISTS {
        for name in *names {
            let wrong = [
                "%00",
                "%FF",
                "%F0%9F",
                "a%00b",
                "%20",
                "",
                "%E2%80%AE",
                "-1",
                "1e3",
                "99999999999999999999",
            ];
            for value in wrong {
                let target = format!("{path}?{name}={value}");
                let answer = client.send(&Request {
                    method: "GET",
                    target: target.as_bytes(),
                    headers: &[],
                    body: b"",
                });
                check(&answer, &target);
                let word = ["action", "code", "kind", "resource"].contains(name);
                let plain = word
                    && value
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                if !plain || value.is_empty() {
                    assert_eq!(
                        (answer.status, answer.field()),
                        (400, *name),
                        "{target}: {answer}"
                    );
                }
            }
        }
    }
    let list = prop::sample::select(LISTS.to_vec());
    run(
        (list, any::<prop::sample::Index>(), bytes(60)),
        |((path, names), at, value)| {
            let target = format!("{path}?{}={}", at.get(names), encoded(&value));
            let answer = client.send(&Request {
                method: "GET",
                target: target.as_bytes(),
                headers: &[],
                body: b"",
            });
            check(&answer, &target);
        },
    );
    site.is_well();
}

#[test]
fn any_bytes_in_a_query_are_answered() {
    let site = Site::new();
    let client = Line(Mutex::new(site.world.operator()));
    let list = prop::sample::select(LISTS.to_vec());
    run((list, bytes(120)), |((path, _), query)| {
        let keep = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
        let query: Vec<u8> = query.into_iter().filter(keep).collect();
        let target = [path.as_bytes(), b"?", &query].concat();
        let answer = client.send(&Request {
            method: "GET",
            target: &target,
            headers: &[],
            body: b"",
        });
        check(&answer, &String::from_utf8_lossy(&target));
    });
    let long = format!("/api/v1/audit?code={}", "x".repeat(5_000));
    let answer = client.send(&Request {
        method: "GET",
        target: long.as_bytes(),
        headers: &[],
        body: b"",
    });
    assert_eq!(answer.status, 400, "{answer}");
    site.is_well();
}

#[test]
fn a_cursor_that_was_changed_anywhere_is_refused() {
    let site = Site::new();
    let mut client = site.world.operator();
    for _ in 0..3 {
        site.world
            .agent(&site.ada, crate::support::world::reading("mcp:x"));
        let key = serde_json::json!({ "name": "one", "scopes": ["audit:read"] });
        client.post("/api/v1/keys", &key).expect(201);
        site.world.user();
    }
    for (path, _) in LISTS
        .iter()
        .filter(|(path, _)| *path != "/api/v1/delegations")
    {
        let page = client.get(&format!("{path}?limit=1")).expect(200);
        let cursor = page.text_at("/nextCursor").to_owned();
        client
            .get(&format!("{path}?limit=1&cursor={cursor}"))
            .expect(200);
        let hash = cursor.rsplit('.').next().unwrap();
        let mut wrong = vec![
            cursor[1..].to_owned(),
            format!("{cursor}x"),
            cursor.replacen('1', "2", 1),
        ];
        // Well-formed, with our own hash of the filters, and a key that no list can have.
        for key in [
            "18446744073709551615",
            "9223372036854775808",
            "-1",
            "",
            "x",
            "%00",
            "agent_",
        ] {
            wrong.push(format!("1.{key}.{hash}"));
        }
        for cursor in wrong {
            let answer = client.get(&format!("{path}?limit=1&cursor={cursor}"));
            check(&answer, &cursor);
            assert_eq!(
                (answer.status, answer.field()),
                (400, "cursor"),
                "{path} {cursor}: {answer}"
            );
        }
    }
    site.is_well();
}

#[test]
fn any_bytes_as_a_body_are_refused() {
    let site = Site::new();
    let client = Line(Mutex::new(site.world.operator()));
    let paths = ["agents", "authorize", "delegations", "users", "keys"];
    let path = prop::sample::select(paths.to_vec());
    let nearly = "[{\\[\"a-z:0-9,\\]}\\\\u]{0,60}".prop_map(String::into_bytes);
    let body = prop_oneof![bytes(200), nearly];
    run((path, body), |(path, body)| {
        let answer = client.send(&Request {
            method: "POST",
            target: format!("/api/v1/{path}").as_bytes(),
            headers: &[("Content-Type", b"application/json")],
            body: &body,
        });
        check(&answer, &String::from_utf8_lossy(&body));
        assert_eq!(answer.status, 400, "{answer}");
    });
    site.is_well();
}

#[test]
fn any_bytes_as_a_request_are_answered() {
    let site = Site::new();
    run(bytes(200), |bytes| {
        // Each on a connection of its own; the empty line ends what could still be going on.
        let mut client = site.world.stranger();
        let bytes = [&bytes[..], b"\r\n\r\n"].concat();
        // Blank lines alone are no request yet, and wait for one.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return;
        }
        let answer = client.exchange(&bytes);
        let answer = answer.unwrap_or_else(|| panic!("no answer to {bytes:?}"));
        check(&answer, &String::from_utf8_lossy(&bytes));
    });
    site.is_well();
}
