//! Tokens and the keys that sign them, from outside: made, read, verified, and refused after a kill.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::commands::{ADA, both_ways, create};
use crate::support::{Place, Ran, Server};

const TOOLS: &str = "https://tools.example.com/mcp";
/// Who issues the tokens of a server that is told nothing else.
const ISSUER: &str = "--issuer http://localhost:3000";

/// A tool server, an orchestrator that may call every tool, and a researcher that may search; the researcher's id and key.
fn world(place: &Place) -> (String, String) {
    place.done(format!(
        "resource create --audience {TOOLS} --name tools --party first --scope 'tools:call:search search'"
    ));
    create(place, "orchestrator", ADA, "* tools:call:*");
    let researcher = create(place, "researcher", ADA, "read notes:*");
    place.done("delegate --from orchestrator --to researcher --allow '* tools:call:search' --reason x --ttl 10m");
    (researcher.member("id"), researcher.member("token"))
}

/// Runs a command with this on its standard input.
fn fed(place: &Place, line: &str, input: &str) -> Ran {
    let path = place.path("input");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let mut command = place.command(line);
    command.stdin(Stdio::from(std::fs::File::open(&path).unwrap()));
    crate::support::finish(command)
}

/// A server, a place that calls it as an operator, the token of the researcher.
fn with_token() -> (Place, Server, String) {
    let mut place = Place::new();
    let key = place.init();
    let server = place.start("serve");
    place.set("KAVACH_URL", &server.url);
    place.set("KAVACH_KEY", &key);
    let (id, agent_key) = world(&place);
    place.set("KAVACH_KEY", agent_key);
    let line = format!(
        "delegate --audience {TOOLS} --agent {id} --scope tools:call:search --ttl 5m --reason x"
    );
    let token = place.done(format!("{line} --only token")).out;
    place.set("KAVACH_KEY", key);
    (place, server, token)
}

fn code(ran: &Ran) -> Value {
    ran.json()["data"]["code"].clone()
}

#[test]
fn an_agent_makes_a_token_of_what_it_holds_and_an_operator_none() {
    let (place, _server, token) = with_token();
    assert_eq!(
        token.trim_end().split('.').count(),
        3,
        "one token, and nothing else"
    );
    // The twin: the operator, who could make the delegation, is not whoever will use it.
    let refused = place.run(format!(
        "delegate --audience {TOOLS} --scope tools:call:search --reason x --json"
    ));
    assert_eq!(
        (refused.code, &refused.json()["error"]["code"]),
        (1, &"forbidden".into())
    );
}

#[test]
fn a_delegation_and_a_token_are_not_asked_for_in_one_line() {
    let place = Place::new();
    for line in [
        "delegate --reason x",
        "delegate --to b --allow 'read a' --reason x",
        "delegate --audience https://a.example --from b --reason x",
        "delegate --audience https://a.example --scope a --allow 'read a' --reason x",
        "delegate --from a --to b --scope a --reason x",
        "delegate --from a --to b --agent c --allow 'read a' --reason x",
        "keys rotate",
        "keys rotate --purpose master",
        "keys retire",
        "token verify --audience nowhere",
    ] {
        assert_eq!(place.run(line).code, 2, "{line}");
    }
}

#[test]
fn a_token_is_read_without_a_server_and_nothing_is_believed() {
    let (place, server, token) = with_token();
    drop(server);
    let read = fed(&place, "token inspect", &token);
    assert_eq!(read.code, 0, "{read:?}");
    assert!(read.out.starts_with("NOT VERIFIED"), "{read:?}");
    assert!(
        !read.out.contains(token.trim_end())
            && read.out.contains(
                " 1 of at most 3
"
            ),
        "{read:?}"
    );
    let json = fed(&place, "token inspect - --json", &token).json();
    let data = &json["data"];
    assert_eq!(
        (
            &data["verified"],
            &data["kind"],
            &data["audience"],
            &data["scopes"][0]
        ),
        (
            &false.into(),
            &"leaf".into(),
            &TOOLS.into(),
            &"tools:call:search".into()
        )
    );
    assert_eq!(
        (&data["depth"], &data["boundTo"]),
        (&1.into(), &Value::Null)
    );
    assert_eq!(data["chain"].as_array().map(Vec::len), Some(2));
    assert_eq!(data["agent"], data["chain"][1]["agent"]);
    // Somebody else's claims are read as well: that is why nothing is believed.
    let (message, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", "A".repeat(86));
    assert_eq!(fed(&place, "token inspect", &forged).code, 0);
}

#[test]
fn a_key_is_recognised_and_never_shown() {
    let (mut place, key) = (Place::new(), Place::new().init());
    place.set("KAVACH_URL", "http://127.0.0.1:1");
    let read = fed(&place, "token inspect", &key);
    assert_eq!(read.code, 0, "{read:?}");
    assert!(read.out.contains("operator_key") && read.out.contains("kv_key_"));
    let secret = key.get(12..).unwrap();
    assert!(!read.out.contains(secret) && !read.err.contains(secret));
    // The twin: one character of it is another one.
    let last = if key.ends_with('0') { '1' } else { '0' };
    let changed = format!("{}{last}", key.get(..key.len() - 1).unwrap());
    let refused = fed(&place, "token inspect", &changed);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("checksum") && !refused.err.contains(&changed));
    // A key is nothing that could be verified with published keys.
    let refused = fed(&place, "token verify", &key);
    assert!(
        refused.code == 1 && refused.err.contains("a key, not a token"),
        "{refused:?}"
    );
}

#[test]
fn malformed_input_is_refused_with_what_is_wrong() {
    let place = Place::new();
    for (input, words) in [
        ("", "no token"),
        ("abc", "1 parts"),
        ("a.b.c", "base64url"),
        ("kv_nothing", "none of the known prefixes"),
        ("kv_key_short", "wrong length"),
    ] {
        let ran = fed(&place, "token inspect", input);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{input}");
        assert!(ran.err.contains(words), "{input}: {ran:?}");
    }
    let long = fed(&place, "token inspect", &"a".repeat(100_000));
    assert!(long.code == 1 && long.err.contains("too long"), "{long:?}");
}

#[test]
fn a_token_holds_until_something_that_it_comes_from_is_killed() {
    let (place, _server, token) = with_token();
    let verify = format!("token verify --json --audience {TOOLS} {ISSUER}");
    let held = fed(&place, &verify, &token);
    assert_eq!(
        (held.code, &held.json()["data"]["valid"]),
        (0, &true.into())
    );
    assert_eq!(held.json()["data"]["revocation"], "checked");
    // A kill of something else changes nothing.
    create(&place, "bystander", ADA, "read wiki:*");
    place.done("agent revoke bystander");
    assert_eq!(fed(&place, &verify, &token).code, 0);
    place.done("agent revoke orchestrator");
    let refused = fed(&place, &verify, &token);
    assert_eq!((refused.code, code(&refused)), (1, "revoked".into()));
    assert_eq!(
        refused.json()["data"]["agent"],
        Value::Null,
        "what does not hold is not repeated"
    );
}

#[test]
fn without_the_feed_all_but_revocation_is_verified_and_that_is_told() {
    let (mut place, server, token) = with_token();
    place.done("agent revoke orchestrator");
    let keys = server.stranger().get("/.well-known/jwks.json").expect(200);
    std::fs::write(place.path("keys.json"), keys.at("").to_string()).unwrap();
    let feed = format!("token verify {ISSUER}");
    assert_eq!(
        fed(&place, &feed, &token).code,
        1,
        "with the feed it is known"
    );
    place.unset("KAVACH_KEY");
    for line in [feed, format!("token verify --jwks keys.json {ISSUER}")] {
        let held = fed(&place, &line, &token);
        assert!(
            held.out
                .starts_with("valid, BUT REVOCATION WAS NOT CHECKED"),
            "{held:?}"
        );
        assert!(
            held.code == 0 && held.err.contains("--audience"),
            "{held:?}"
        );
    }
}

#[test]
fn a_changed_token_another_audience_and_another_issuer_are_refused() {
    let (place, _server, token) = with_token();
    let verify = |more: &str| format!("token verify --json {more}");
    let refused = |line: String, token: &str| {
        let ran = fed(&place, &line, token);
        assert_eq!(ran.code, 1, "{line}: {ran:?}");
        (code(&ran), ran.err)
    };
    let (message, signature) = token.trim_end().rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{message}.{first}{}", signature.get(1..).unwrap());
    assert_eq!(refused(verify(ISSUER), &changed).0, "bad_signature");
    let other = format!("{ISSUER} --audience https://other.example.com");
    assert_eq!(refused(verify(&other), &token).0, "audience_mismatch");
    let (code, note) = refused(verify("--issuer https://auth.example.com"), &token);
    assert_eq!(code, "malformed");
    assert!(
        note.contains("`http://localhost:3000`") && note.contains("--issuer"),
        "{note}"
    );
    assert_eq!(
        fed(&place, &verify(ISSUER), &token).code,
        0,
        "the twin: as it was made"
    );
}

#[test]
fn keys_that_sign_are_listed_rotated_and_retired() {
    both_ways(|place| {
        let keys = |state: &str| -> Vec<String> {
            let listed = place.done("keys list --json").json();
            let all = listed["data"].as_array().unwrap().clone();
            let of = |key: &&Value| key["purpose"] == "token" && key["state"] == state;
            let named = all
                .iter()
                .filter(of)
                .map(|key| key["kid"].as_str().unwrap().to_owned());
            named.collect()
        };
        // The first keys are made when somebody asks for one.
        place.done("keys rotate --purpose token");
        let (before, other) = (keys("current"), keys("next"));
        assert!(!before.is_empty() && !other.is_empty());
        place.done("keys rotate --purpose feed");
        assert_eq!(keys("current"), before, "the twin: keys of another purpose");
        let rotated = place.done("keys rotate --purpose token");
        assert!(rotated.out.starts_with("KID"), "{rotated:?}");
        let now = keys("current");
        assert!(
            now.iter()
                .all(|kid| other.contains(kid) && !before.contains(kid))
        );
        let gone = now.first().unwrap();
        place.done(format!("keys retire {gone}"));
        assert!(!keys("current").contains(gone));
        assert_eq!(place.run(format!("keys retire {}", "A".repeat(43))).code, 1);
    });
}

#[test]
fn a_token_of_a_retired_key_holds_no_more() {
    let (place, _server, token) = with_token();
    let verify = format!("token verify --json {ISSUER}");
    place.done("keys rotate --purpose token");
    let held = fed(&place, &verify, &token);
    assert_eq!(
        held.code, 0,
        "one that was rotated out is still published: {held:?}"
    );
    let kid = held.member("kid");
    place.done(format!("keys retire {kid}"));
    assert_eq!(code(&fed(&place, &verify, &token)), "unknown_key");
}

#[test]
fn the_age_at_which_keys_rotate_is_a_setting() {
    let mut place = Place::new();
    let printed = |place: &Place| place.done("config print").out;
    assert!(printed(&place).contains("signing_keys.life_days"));
    place.set("KAVACH_SIGNING_KEY_LIFE_DAYS", "7");
    place.done("config check");
    assert!(printed(&place).contains("KAVACH_SIGNING_KEY_LIFE_DAYS"));
    for wrong in ["0", "366", "a week"] {
        place.set("KAVACH_SIGNING_KEY_LIFE_DAYS", wrong);
        assert_eq!(place.run("config check").code, 1, "{wrong}");
    }
}
