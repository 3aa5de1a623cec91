//! Every command, over HTTP to a server and in the process on a database: the same requests, the same answers.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{Place, Ran, Server, finish};
use serde_json::Value;

/// A database and the two ways to it; only one can be gone at a time.
struct Way {
    place: Place,
    _server: Option<Server>,
}

fn over_http() -> Way {
    let mut place = Place::new();
    let key = place.init();
    let server = place.start("serve");
    place.set("KAVACH_URL", &server.url);
    place.set("KAVACH_KEY", key);
    Way {
        place,
        _server: Some(server),
    }
}

fn on_a_database() -> Way {
    let mut place = Place::new();
    place.init();
    place.flags = ["--database", "kavach.db"].map(str::to_owned).to_vec();
    Way {
        place,
        _server: None,
    }
}

pub(crate) fn both_ways(test: impl Fn(&Place)) {
    for way in [over_http(), on_a_database()] {
        test(&way.place);
    }
}

pub(crate) const ADA: &str = "--owner-external demo:ada";

pub(crate) fn create(place: &Place, name: &str, owner: &str, allow: &str) -> Ran {
    place.done(format!(
        "agent create --json --name {name} {owner} --allow '{allow}'"
    ))
}

fn authorize(place: &Place, agent: &str, resource: &str) -> (i32, String) {
    let ran = place.run(format!("authorize --json --agent {agent} read {resource}"));
    (ran.code, ran.member("code"))
}

fn came(code: i32, text: &str) -> (i32, String) {
    (code, text.to_owned())
}

#[test]
fn an_agent_acts_delegates_and_is_stopped_with_its_whole_chain() {
    both_ways(|place| {
        create(place, "reader", ADA, "read mcp:github:*");
        create(place, "scanner", "--owner reader", "read mcp:github:repos");
        create(place, "helper", ADA, "read wiki:*");
        assert_eq!(
            authorize(place, "reader", "mcp:github:repos"),
            came(0, "allowed")
        );
        assert_eq!(
            authorize(place, "reader", "mcp:deploy:x"),
            came(1, "permission_denied")
        );
        let delegate = "delegate --json --from scanner --to helper --reason scan --ttl 15m --allow";
        let given = place
            .done(format!("{delegate} 'read mcp:github:repos'"))
            .member("id");
        let wider = place.run(format!("{delegate} 'read mcp:github:*'"));
        assert_eq!(wider.code, 1);
        assert_eq!(wider.json()["error"]["code"], "not_narrower");
        assert_eq!(
            authorize(place, "helper", "mcp:github:repos"),
            came(0, "allowed")
        );
        assert!(
            place
                .done("agent permissions helper")
                .out
                .contains("through user_")
        );
        assert!(
            place
                .done("delegation list --to helper")
                .out
                .contains(&given)
        );
        assert_eq!(
            place.done("agent revoke --json reader").member("state"),
            "closed"
        );
        assert_eq!(
            authorize(place, "helper", "mcp:github:repos"),
            came(1, "ancestor_not_active")
        );
    });
}

#[test]
fn a_delegation_is_shown_and_taken_back() {
    both_ways(|place| {
        create(place, "helper", ADA, "read wiki:*");
        let delegate =
            "delegate --json --from demo:ada --to helper --reason x --allow 'read docs:*'";
        let given = place.done(delegate).member("id");
        assert_eq!(authorize(place, "helper", "docs:x"), came(0, "allowed"));
        place.done(format!("delegation revoke {given}"));
        assert_eq!(authorize(place, "helper", "docs:x").0, 1);
        assert!(
            place
                .done(format!("delegation show {given}"))
                .out
                .contains("revoked")
        );
    });
}

#[test]
fn the_record_is_read_back_filtered() {
    both_ways(|place| {
        create(place, "reader", ADA, "read wiki:*");
        authorize(place, "reader", "wiki:x");
        authorize(place, "reader", "docs:x");
        let denied = "audit query --json --agent reader --outcome denied --kind decision";
        let found = place.done(denied).json();
        assert_eq!(found["data"].as_array().unwrap().len(), 1);
        let id = found["data"][0]["id"].as_str().unwrap();
        assert!(
            place
                .done(format!("audit show {id}"))
                .out
                .contains("permission_denied")
        );
        assert_eq!(place.run("audit query --resource mcp:**:x").code, 1);
    });
}

#[test]
fn agents_are_changed_suspended_resumed_and_given_new_keys() {
    both_ways(|place| {
        create(place, "reader", ADA, "read wiki:*");
        let updated = place
            .done("agent update --json reader --name writer --expires-at 2030-01-01T00:00:00Z");
        assert_eq!(updated.member("name"), "writer");
        let cleared = place.done("agent update --json writer --expires-at none");
        assert_eq!(cleared.json()["data"]["expiresAt"], Value::Null);
        place.done("agent suspend writer");
        assert_eq!(authorize(place, "writer", "wiki:x").0, 1);
        place.done("agent resume writer");
        assert_eq!(authorize(place, "writer", "wiki:x"), came(0, "allowed"));
        assert!(
            place
                .done("agent rotate --json writer --key-ttl 1h")
                .member("token")
                .starts_with("kv_agent_")
        );
        assert_eq!(place.run("agent update writer").code, 2);
        assert!(
            place
                .done("agent list --owner demo:ada --type autonomous")
                .out
                .contains("writer")
        );
    });
}

#[test]
fn humans_are_created_changed_and_stopped() {
    both_ways(|place| {
        place.done("user create --email Ada@Example.com --name Ada --external demo:ada");
        create(place, "reader", "--owner ada@example.com", "read wiki:*");
        let limited = place.done("user update --json demo:ada --allow 'read docs:*'");
        assert_eq!(
            limited.json()["data"]["permissions"][0]["resource"],
            "docs:*"
        );
        assert_eq!(authorize(place, "reader", "wiki:x").0, 1);
        place.done("user update demo:ada --everything");
        assert_eq!(authorize(place, "reader", "wiki:x").0, 0);
        place.done("user ban ada@example.com");
        assert_eq!(authorize(place, "reader", "wiki:x").0, 1);
        place.done("user unban ada@example.com");
        place.done("user delete ada@example.com");
        assert_eq!(authorize(place, "reader", "wiki:x").0, 1);
        assert!(place.done("user list").out.contains("revoked"));
    });
}

#[test]
fn operator_keys_are_made_shown_once_and_revoked() {
    both_ways(|place| {
        let made = place.done("key create --json --name ci --scope agents:read,audit:read");
        assert!(made.member("token").starts_with("kv_key_"));
        let shown = place.done(format!("key show {}", made.member("id"))).out;
        assert!(
            shown.contains("agents:read, audit:read") && !shown.contains(&made.member("token"))
        );
        place.done(format!("key revoke {}", made.member("id")));
        let bounded = |flag: &str| {
            let line = format!("key create --name x --scope agents:write {flag} --only ceiling");
            place.run(line)
        };
        let ceiling = bounded("--ceiling 'read mcp:github:*'").out;
        assert!(ceiling.contains("mcp:github:*"), "{ceiling}");
        assert_eq!(bounded("--allow 'read mcp:github:*'").out, ceiling);
        let json = r#"--permission '{"resource":"mcp:github:*","actions":["read"]}'"#;
        assert_eq!(bounded(json).out, ceiling);
        assert_eq!(bounded("").out, "null\n");
        let wrong = bounded("--allow read");
        assert!(
            wrong.code == 2 && wrong.err.contains("'--ceiling <"),
            "{wrong:?}"
        );
        assert!(place.done("key list").out.contains("revoked"));
        assert_eq!(place.run("key create --name x --scope everything").code, 1);
    });
}

#[test]
fn tool_servers_are_registered_changed_and_revoked() {
    both_ways(|place| {
        let made = place.done(
            "resource create --json --audience https://tools.example.com/mcp --name tools \
             --scope 'mcp:github:* read and write repositories' --party first --max-ttl-seconds 60",
        );
        assert!(made.member("token").starts_with("kv_res_"));
        let id = made.member("id");
        let shown = place.done(format!("resource show {id}")).out;
        assert!(shown.contains("mcp:github:*") && shown.contains("first") && shown.contains("60"));
        assert!(!shown.contains(&made.member("token")));
        let changed = place.done(format!(
            "resource update {id} --json --name kit --critical true"
        ));
        assert_eq!(changed.member("name"), "kit");
        place.done(format!("resource revoke {id}"));
        assert!(place.done("resource list").out.contains("revoked"));
        let again = format!("resource update {id} --name x");
        assert_eq!(place.run(again).code, 1);
    });
}

#[test]
fn oauth_clients_are_registered_changed_denied_and_revoked() {
    both_ways(|place| {
        let made = place.done(
            "client create --json --name Site --redirect-uri https://app.example.com/cb \
             --grant-type authorization_code,refresh_token --dpop-bound true",
        );
        let (id, token) = (made.member("id"), made.member("token"));
        assert!(token.starts_with("kv_client_"), "{made:?}");
        let shown = place.done(format!("client show {id}")).out;
        assert!(shown.contains("https://app.example.com/cb") && !shown.contains(&token));
        let changed =
            format!("client update {id} --json --name Kit --redirect-uri https://b.example/cb");
        let changed = place.done(changed).json();
        assert_eq!(changed["data"]["name"], "Kit");
        let only = serde_json::json!(["https://b.example/cb"]);
        assert_eq!(changed["data"]["redirectUris"], only);
        assert_eq!(place.run(format!("client update {id}")).code, 2);
        let rotated = place.done(format!("client rotate-secret {id} --json"));
        assert!(rotated.member("token").starts_with("kv_client_"));
        assert_ne!(rotated.member("token"), token);
        let document = "https://app.example.com/oauth/client.json";
        place.done(format!("client deny {document}"));
        let denied = "client list --source document --status revoked";
        assert!(place.done(denied).out.contains(document));
        assert_eq!(
            place
                .done(format!("client allow {document} --json"))
                .member("status"),
            "active"
        );
        place.done(format!("client revoke {id}"));
        assert!(
            place
                .done("client list --source operator")
                .out
                .contains("revoked")
        );
        for over in [
            format!("client update {id} --name x"),
            format!("client rotate-secret {id}"),
            format!("client allow {id}"),
        ] {
            assert_eq!(place.run(over).code, 1);
        }
    });
}

#[test]
fn a_name_that_several_agents_have_is_refused_with_their_ids() {
    both_ways(|place| {
        let first = create(place, "twin", ADA, "read wiki:*").member("id");
        let second = create(place, "twin", ADA, "read wiki:*").member("id");
        let ran = place.run("authorize --agent twin read wiki:x");
        assert!(
            ran.code == 1 && ran.err.contains(&first) && ran.err.contains(&second),
            "{ran:?}"
        );
        assert_eq!(authorize(place, &first, "wiki:x").0, 0);
        // Once only one of them is left, the name means that one.
        place.done(format!("agent revoke {}", first));
        assert_eq!(authorize(place, "twin", "wiki:x").0, 0);
        assert_eq!(place.run("agent show nobody").code, 1);
    });
}

#[test]
fn lists_go_on_where_the_page_before_ended() {
    both_ways(|place| {
        for name in ["a", "b", "c"] {
            create(place, name, ADA, "read wiki:*");
        }
        let first = place.done("agent list --json --limit 2").json();
        let cursor = first["nextCursor"].as_str().unwrap();
        let second = place
            .done(format!("agent list --json --limit 2 --cursor {}", cursor))
            .json();
        assert_eq!(
            (&second["data"][0]["name"], &second["nextCursor"]),
            (&Value::from("a"), &Value::Null)
        );
        let note = place.done("agent list --limit 2").err;
        assert!(note.contains(cursor), "{note}");
    });
}

#[test]
fn a_refusal_says_why_with_its_code_and_the_field() {
    both_ways(|place| {
        let line =
            "agent create --owner-external demo:ada --allow 'read wiki:*' --name 'a\u{1b}[31mb'";
        let ran = place.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(
            ran.err.starts_with("error: ") && ran.err.contains("(malformed_request, request req_"),
            "{ran:?}"
        );
        assert!(
            ran.err.contains("field `name`") && !ran.err.contains('\u{1b}'),
            "{ran:?}"
        );
        let json = place.run(format!("--json {line}"));
        assert_eq!((json.code, json.err.as_str()), (1, ""));
        assert_eq!(json.json()["error"]["field"], "name");
    });
}

#[test]
fn nobody_reading_is_no_error() {
    let way = on_a_database();
    let mut command = way.place.command("audit query");
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(Stdio::from(writer));
    drop(reader);
    let ran = finish(command);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    // A denial stays one.
    create(&way.place, "reader", ADA, "read wiki:*");
    let mut command = way.place.command("authorize --agent reader read docs:x");
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(Stdio::from(writer));
    drop(reader);
    assert_eq!(finish(command).code, 1);
}

#[test]
fn the_credential_comes_from_the_environment_or_a_file_and_a_missing_one_is_told() {
    let mut place = Place::new();
    let key = place.init();
    let server = place.start("serve");
    place.set("KAVACH_URL", &server.url);
    let without = place.run("agent list");
    assert!(
        without.code == 1 && without.err.contains("KAVACH_KEY_FILE"),
        "{without:?}"
    );
    std::fs::write(place.path("key"), format!("{key}\n")).unwrap();
    place.set("KAVACH_KEY_FILE", place.path("key").display());
    place.done("agent list");
    place.set("KAVACH_KEY_FILE", "nowhere");
    let ran = place.run("agent list");
    assert!(
        ran.code == 1 && ran.err.contains("`key` (variable KAVACH_KEY_FILE)"),
        "{ran:?}"
    );
    place.unset("KAVACH_KEY_FILE");
    // Changed by one character: it never leaves this machine.
    place.set("KAVACH_KEY", format!("{key}x"));
    let ran = place.run("agent list");
    assert!(
        ran.code == 1 && ran.err.contains("variable KAVACH_KEY") && !ran.err.contains(&key),
        "{ran:?}"
    );
}

#[test]
fn an_agent_asks_for_itself_with_its_own_key() {
    let mut way = over_http();
    let token = create(&way.place, "reader", ADA, "read wiki:*").member("token");
    way.place.set("KAVACH_KEY", token);
    assert_eq!(way.place.run("authorize read wiki:x").code, 0);
    assert_eq!(way.place.run("authorize read docs:x").code, 1);
    let refused = way.place.run("user list");
    assert!(
        refused.code == 1 && refused.err.contains("forbidden"),
        "{refused:?}"
    );
}

#[test]
fn what_does_not_answer_like_a_server_is_not_taken_for_one() {
    let mut place = Place::new();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    place.set("KAVACH_URL", format!("http://{free}"));
    let ran = place.run("agent list");
    assert!(
        ran.code == 1 && ran.err.contains("cannot reach") && ran.err.contains("kavach dev"),
        "{ran:?}"
    );
    for url in ["localhost:3000", "ftp://x", "https://user:secret@x"] {
        let ran = place.run(format!("--url {} agent list", url));
        assert!(
            ran.code == 1 && ran.err.contains("`url` (flag --url)"),
            "{ran:?}"
        );
    }
    let other = std::thread::spawn({
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        place.set(
            "KAVACH_URL",
            format!("http://{}", listener.local_addr().unwrap()),
        );
        move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = [0; 1024];
            let read = stream.read(&mut seen).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
                .unwrap();
            read
        }
    });
    let ran = place.run("agent list");
    assert!(
        ran.code == 1 && ran.err.contains("not one of a KavachOS server"),
        "{ran:?}"
    );
    assert!(other.join().unwrap() > 0);
}

#[test]
fn what_dev_prints_works_word_for_word() {
    let place = Place::new();
    let mut server = place.start("dev");
    server.line("# 3.");
    let last = server.line(crate::support::KAVACH);
    assert!(last.ends_with("audit query"));
    let is_typed =
        |line: &&String| line.starts_with(crate::support::KAVACH) || line.starts_with("export ");
    let typed: Vec<String> = server.printed.iter().filter(is_typed).cloned().collect();
    let codes: Vec<(i32, String)> = typed
        .iter()
        .skip(1)
        .map(|line| {
            let mut shell = Command::new("/bin/sh");
            shell
                .args(["-c", &format!("{}\n{line}", typed[0])])
                .current_dir(place.directory.path())
                .env_clear();
            shell.stdout(Stdio::piped()).stderr(Stdio::piped());
            let ran = finish(shell);
            (ran.code, ran.out)
        })
        .collect();
    let came: Vec<i32> = codes.iter().map(|(code, _)| *code).collect();
    assert_eq!(came, [0, 0, 1, 0, 0, 0, 0, 1, 0, 0], "{codes:?}");
    assert!(codes[2].1.contains("permission_denied") && codes[7].1.contains("ancestor_not_active"));
    assert!(codes[9].1.contains("delegation.created") && codes[9].1.contains("agent.revoked"));
}

#[test]
fn a_call_is_approved_from_the_command_line_once() {
    both_ways(|place| {
        let permission = r#"{"resource":"mcp:deploy:*","actions":["run"],"constraints":{"requireApproval":true}}"#;
        place.done(format!(
            "agent create --json --name deployer {ADA} --permission '{permission}'"
        ));
        let ask = |branch: &str| {
            place.run(format!(
                r#"authorize --json --agent deployer run mcp:deploy:site --arguments '{{"branch":"{branch}"}}'"#
            ))
        };
        let asked = ask("main");
        assert_eq!(
            (asked.code, asked.member("code")),
            came(1, "approval_required")
        );
        let id = asked.member("approvalId");
        let listed = place.done("approval list --json --status pending --agent deployer");
        assert_eq!(listed.json()["data"][0]["id"], Value::from(id.as_str()));
        let shown = place.done(format!("approval show {id}"));
        assert!(
            shown.out.contains(r#""arguments":{"branch":"main"}"#),
            "{shown:?}"
        );
        let digest = place
            .done(format!("approval show --json {id}"))
            .member("digest");

        assert_eq!(place.run(format!("approval wait {id} --seconds 0")).code, 1);
        let wrong = place.run(format!("approval approve {id} --digest 00"));
        assert_eq!(wrong.code, 1, "{wrong:?}");
        place.done(format!("approval approve {id} --digest {digest}"));
        place.done(format!("approval wait {id}"));
        assert_eq!(ask("main").code, 0);
        assert_eq!(ask("main").code, 1);

        let other = ask("other").member("approvalId");
        place.done(format!("approval deny {other}"));
        let denied = ask("other");
        assert_eq!(
            (denied.code, denied.member("code")),
            came(1, "approval_denied")
        );
    });
}

#[test]
fn a_session_is_opened_shown_once_and_ended() {
    both_ways(|place| {
        place.done("user create --name Ada --external demo:ada");
        let opened = place.done("session open --json demo:ada");
        assert!(opened.member("token").starts_with("kv_sess_"), "{opened:?}");
        let id = opened.member("id");
        let listed = place.done("session list demo:ada");
        assert!(listed.out.contains(&id) && !listed.out.contains(&opened.member("token")));
        place.done(format!("session revoke {id}"));
        assert_eq!(place.run("session revoke nonsense").code, 1);
        let listed = place.done("session list --json demo:ada").json();
        assert_eq!(listed["data"][0]["status"], "revoked");
    });
}

#[test]
fn what_nobody_let_in_is_no_connection() {
    both_ways(|place| {
        place.done("user create --name Ada --external demo:ada");
        place.done("agent create --owner demo:ada --name deploy --allow 'read mcp:x'");
        let listed = place.done("connection list --json --user demo:ada").json();
        assert_eq!(listed["data"], serde_json::json!([]));
        let line = "0".repeat(32);
        for command in [
            "connection show deploy".to_owned(),
            "connection end deploy".to_owned(),
            format!("connection end deploy --line {line}"),
        ] {
            let told = place.run(format!("{command} --json"));
            assert_eq!(told.code, 1, "{told:?}");
            assert_eq!(told.json()["error"]["code"], "not_found");
        }
    });
}

#[test]
fn a_human_decides_with_the_token_of_a_session_as_the_credential() {
    let mut way = over_http();
    let place = &mut way.place;
    let permission =
        r#"{"resource":"mcp:deploy:*","actions":["run"],"constraints":{"requireApproval":true}}"#;
    place.done(format!(
        "agent create --json --name deployer {ADA} --permission '{permission}'"
    ));
    let asked = place.run("authorize --json --agent deployer run mcp:deploy:site");
    let id = asked.member("approvalId");
    let session = place.done("session open --json demo:ada").member("token");
    place.set("KAVACH_KEY", session);
    let listed = place.done("approval list --json").json();
    assert_eq!(listed["data"][0]["id"], Value::from(id.as_str()));
    let digest = place
        .done(format!("approval show --json {id}"))
        .member("digest");
    place.done(format!("approval approve {id} --digest {digest}"));
    assert_eq!(place.run("user list").code, 1);
}

#[test]
fn a_decision_is_explained_from_its_record_and_before_it_is_made() {
    both_ways(|place| {
        create(place, "reader", ADA, "read mcp:github:*");
        let asked = place.run("authorize --json --agent reader write mcp:github:repos");
        assert_eq!(asked.code, 1);
        let id = asked.member("auditId");
        let told = place.done(format!("explain record {id}"));
        assert!(
            told.out.contains("permission_denied") && told.out.contains("remedy"),
            "{told:?}"
        );
        let json = place.done(format!("explain record --json {id}"));
        assert_eq!(json.member("code"), "permission_denied");
        // It was explained, so the code is 0 for what is allowed and for what is not.
        let call = "explain call --agent reader";
        let denied = place.done(format!("{call} write mcp:github:repos"));
        assert!(
            denied.out.contains("path 1: permission_denied") && denied.out.contains("other action"),
            "{denied:?}"
        );
        let allowed = place
            .done(format!("{call} --json read mcp:github:repos"))
            .json();
        assert_eq!(allowed["data"]["allowed"], true);
        let missing = place.run("explain record audit_01h455vb4pex5vsknk084sn02q");
        assert_eq!(missing.code, 1);
    });
}
